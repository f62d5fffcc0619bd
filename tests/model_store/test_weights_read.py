"""Reading weights: every format and wrapping that people have, and nothing of a file is ever executed."""

import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from model_store import checkpoint
from model_store.errors import InputError
from model_store.weights.read import read

WEIGHTS = {"conv1.weight": torch.arange(4.0), "fc.bias": torch.tensor([-1.5, 2.0])}


def saved(folder: Path, document: object) -> Path:
    """A file of torch.save."""
    path = folder / "w.pth"
    torch.save(document, path)
    return path


def require_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor] = WEIGHTS) -> None:
    """Refuse other names, values or types."""
    assert list(found) == list(expected)
    for name, value in found.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[name])


@pytest.mark.parametrize(
    "write",
    [
        torch.save,
        lambda weights, path: torch.save(weights, path, _use_new_zipfile_serialization=False),
        safetensors.torch.save_file,
    ],
    ids=["torch", "torch before 1.6", "safetensors"],
)
@pytest.mark.parametrize("name", ["w.pth", "w.pth.tar", "w.pkl", "w.bin"])
def test_each_format_is_told_by_its_contents(
    tmp_path: Path, write: Callable[[dict[str, Tensor], Path], None], name: str
) -> None:
    """Whatever the file is called; its hash is that of its bytes."""
    write(WEIGHTS, tmp_path / name)
    found = read(tmp_path / name)
    require_same(found.tensors)
    assert found.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert found.architecture is None


@pytest.mark.parametrize(
    "document",
    [
        {"epoch": 3, "arch": "resnet", "state_dict": WEIGHTS, "optimizer": {"state": {0: {"step": 1}}}},
        {"model": WEIGHTS, "best": 0.7},
        {"model_ema": WEIGHTS, "lr": None},
        {"net": WEIGHTS, "acc": 93.1},
        {"model": {"state_dict": WEIGHTS}},
    ],
    ids=["state_dict", "model", "model_ema", "net", "nested"],
)
def test_what_training_keeps_beside_the_weights_is_left_out(tmp_path: Path, document: dict[str, Any]) -> None:
    """Epochs, optimisers and scores do not matter."""
    require_same(read(saved(tmp_path, document)).tensors)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "_orig_mod.module.model."]
)
def test_a_prefix_of_all_names_is_stripped(tmp_path: Path, prefix: str) -> None:
    """Such as DataParallel and torch.compile write."""
    require_same(read(saved(tmp_path, {prefix + name: value for name, value in WEIGHTS.items()})).tensors)


def test_a_prefix_of_some_names_stays(tmp_path: Path) -> None:
    """A net may have a part that is called `model`."""
    weights = {"model.conv.weight": torch.ones(1), "fc.weight": torch.ones(2)}
    require_same(read(saved(tmp_path, weights)).tensors, weights)


def test_counters_are_dropped(tmp_path: Path) -> None:
    """They are no weights, and some projects leave them out."""
    counters = {
        "bn1.num_batches_tracked": torch.tensor(7),
        "n_averaged": torch.tensor(3),
        "total_ops": torch.zeros(1, dtype=torch.float64),
        "module.conv1.total_params": torch.zeros(1),
    }
    weights = {f"module.{name}": value for name, value in WEIGHTS.items()}
    require_same(read(saved(tmp_path, {**weights, **counters})).tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("write", [torch.save, safetensors.torch.save_file], ids=["torch", "safetensors"])
def test_other_precisions_become_single(
    tmp_path: Path, dtype: torch.dtype, write: Callable[[dict[str, Tensor], Path], None]
) -> None:
    """The values here are exact in all of them."""
    path = tmp_path / "w"
    write({name: value.to(dtype) for name, value in WEIGHTS.items()}, path)
    require_same(read(path).tensors)


def test_a_checkpoint_of_ours_says_more(tmp_path: Path) -> None:
    """The row's name, and what is to stand on the card."""
    kept = checkpoint.Checkpoint(architecture="digits_se", state_dict=WEIGHTS, card={"note": "mine"})
    checkpoint.save(tmp_path / "w.pt", kept)
    found = read(tmp_path / "w.pt")
    require_same(found.tensors)
    assert (found.architecture, found.card) == ("digits_se", {"note": "mine"})


@pytest.mark.parametrize("start", ["", "module."])
def test_what_a_loss_holds_is_left_out(tmp_path: Path, start: str) -> None:
    """A trainer that holds net and loss keeps the weights of the classes, too (PyTorch Lightning does)."""
    weights = {f"{start}model.{name}": value for name, value in WEIGHTS.items()}
    losses = {f"{start}criterion.weight": torch.ones(2), f"{start}loss_fn.pos_weight": torch.ones(2)}
    require_same(read(saved(tmp_path, {"state_dict": weights | losses, "epoch": 3})).tensors)


@pytest.mark.parametrize(
    ("first", "second"),
    [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model_state_dict", "ema_state_dict")],
)
def test_weights_of_two_nets_are_not_chosen_from(tmp_path: Path, first: str, second: str) -> None:
    """Those of the last step and their mean over training differ, and so do the answers."""
    mean = {name: value / 2 for name, value in WEIGHTS.items()}
    with pytest.raises(InputError, match=rf"holds weights under {first} and under {second}; save those"):
        read(saved(tmp_path, {first: WEIGHTS, second: mean, "epoch": 3}))
    require_same(read(saved(tmp_path, {second: mean, "epoch": 3})).tensors, mean)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new", [True, False], ids=["torch", "torch before 1.6"])
def test_nothing_of_a_file_is_executed(tmp_path: Path, new: bool) -> None:
    """A file whose unpickling would run code is refused, and the code has not run."""
    path = tmp_path / "w.pth"
    document = {"state_dict": WEIGHTS, "trap": Trap(tmp_path / "sprung")}
    torch.save(document, path, _use_new_zipfile_serialization=new)
    with pytest.raises(InputError, match="mkdir, and unpickling that would execute code; save the weights"):
        read(path)
    assert not (tmp_path / "sprung").exists()
    torch.load(path, weights_only=False)  # the trap is a real one: were it unpickled, it would spring
    assert (tmp_path / "sprung").exists()


def test_a_plain_pickle_is_not_read(tmp_path: Path) -> None:
    """It is not what torch.save writes."""
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps({"trap": Trap(tmp_path / "sprung")}))
    with pytest.raises(InputError):
        read(path)
    assert not (tmp_path / "sprung").exists()


def with_itself() -> dict[str, Any]:
    """A dict in which one finds itself for ever."""
    document: dict[str, Any] = {}
    document["model"] = document
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (nn.Linear(1, 1), r"object of torch\.nn\.modules\.linear\.Linear.*torch\.save\(net\.state_dict\(\)"),
        ([1, 2], "must hold a dict of names and tensors, got list"),
        ({}, "must hold weights, found none"),
        ({"bn1.num_batches_tracked": torch.tensor(1)}, "must hold weights, found none"),
        ({"epoch": 3, "weights": WEIGHTS}, "'epoch' must be a tensor with a name, got int; weights lie at"),
        ({3: torch.ones(1)}, "3 must be a tensor with a name"),
        (with_itself(), "'model' must be a tensor with a name, got dict"),
        ({"fc.weight": torch.ones(2, dtype=torch.int8)}, "fc.weight must hold floating-point numbers, got"),
        ({"fc.weight": torch.eye(2).to_sparse()}, "fc.weight must hold floating-point numbers"),
        (
            {"fc.weight": torch.zeros(1).expand(10**15)},
            f"must hold a number for each of its {10**15} elements",
        ),
        (
            {"fc.weight": torch.ones(3, device="meta")},
            "fc.weight must hold a number for each of its 3 elements",
        ),
        (
            {"module.fc.bias": torch.tensor([1.0, float("nan"), float("inf")])},
            "fc.bias must hold finite numbers, 2 of 3 are not",
        ),
        ({"format": "attnserve/1", "architecture": "resnet18", "card": {}}, "lacks the key 'state_dict'"),
    ],
    ids=[
        "module",
        "list",
        "nothing",
        "only counters",
        "unknown wrapper",
        "number",
        "cycle",
        "integers",
        "sparse",
        "a single number repeated",
        "meta",
        "nan",
        "ours",
    ],
)
def test_what_holds_no_weights_is_refused(tmp_path: Path, document: object, message: str) -> None:
    """The message says what was found, and where."""
    with pytest.raises(InputError, match=message):
        read(saved(tmp_path, document))


@pytest.mark.parametrize("data", [b"", b"# readme\n", b"PK\x03\x04", b"\x80\x02}", b"\x08" + bytes(7) + b"{"])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, data: bytes, name: str) -> None:
    """Empty, text, a damaged zip, half a pickle, half a header: all are answered in a line."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=r"must be a (?:torch.save or )?safetensors file"):
        read(tmp_path / name)


def test_a_file_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    """Else a few kilobytes could fill the memory; torch would unpack them, though it never packs any."""
    path, packed = saved(tmp_path, {"conv1.weight": torch.zeros(100_000)}), tmp_path / "packed.pth"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert torch.load(packed, weights_only=True)["conv1.weight"].shape == (100_000,)
    with pytest.raises(InputError, match=r"must not be compressed: its \d{4} bytes would unpack to 40\d{4}$"):
        read(packed)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("write", [torch.save, safetensors.torch.save_file], ids=["torch", "safetensors"])
def test_a_file_cut_short_is_refused(
    tmp_path: Path, write: Callable[[dict[str, Tensor], Path], None], share: float
) -> None:
    """A download that broke off is no checkpoint."""
    path = tmp_path / "w"
    write(WEIGHTS, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError):
        read(path)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    """It has a way of its own to become an archive."""
    path = tmp_path / "net.pt"
    torch.jit.script(nn.Linear(1, 1)).save(str(path))  # type: ignore[no-untyped-call] # torch's lack
    with pytest.raises(InputError, match=r"must be a torch\.save or safetensors file"):
        read(path)


@pytest.mark.parametrize("name", ["nowhere.pth", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    """One that is missing, and a folder."""
    with pytest.raises(InputError, match="cannot read"):
        read(tmp_path / name)
