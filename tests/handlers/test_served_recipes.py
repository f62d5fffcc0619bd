"""The recipes of a real archive: which is loaded, what it answers, and what happens when one is no good."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handlers import attn_module, classify
from handlers.attn_archive import ArchiveError, read_signature
from handlers.attn_device import Placement
from handlers.attn_gates import Gates
from handlers.attn_machine import machine_of
from handlers.attn_net import Net, NetInput
from handlers.attn_recipes import CPU_BFLOAT16, FUSED_CONVOLUTIONS, Machine

if TYPE_CHECKING:
    from tests.handlers.conftest import Archive, Pack, TinyNet, Unpack

CPU = torch.device("cpu")
FUSED_FILE = "model.cpu-fused.pt"
DESCRIBE = {"attnserve": b'{"version": 1, "describe": true}'}
ABLE = Machine(device="cpu", features=frozenset({CPU_BFLOAT16, FUSED_CONVOLUTIONS}))
needs_bfloat16 = pytest.mark.skipif(
    CPU_BFLOAT16 not in machine_of(CPU).features, reason="this CPU has no avx512_bf16 or amx"
)


class Fused(nn.Module):
    """Stands in for what the builder makes of the net; takes nothing but bfloat16, channels last."""

    def __init__(self, net: nn.Module, *, shift: float = 0.0) -> None:
        super().__init__()
        self.net = net
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N,4] of x [N,3,H,W], shifted."""
        assert x.dtype == torch.bfloat16
        assert x.is_contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.net(x.float()) + self.shift
        return logits.to(torch.bfloat16)


def _entry(name: str, file: str = "model.pt", **changes: object) -> dict[str, object]:
    device, _, dtype = name.partition("-")
    dtypes = {"fused": "bfloat16", "bf16": "bfloat16", "fp16": "float16", "": "float32"}
    entry: dict[str, object] = {
        "name": name,
        "file": file,
        "device": device if dtype else "any",
        "dtype": dtypes.get(dtype, "float32"),
        "tolerance": 0.05 if dtype else 1e-4,
        "max_abs_error": None,
    }
    return entry | changes


RECIPES = (_entry("cpu-fused", FUSED_FILE), _entry("cpu-bf16"), _entry("cuda-fp16"), _entry("portable"))


def _with(archive: Archive, fused: nn.Module | bytes, recipes: Sequence[dict[str, object]] = RECIPES) -> None:
    """Give the archive its recipes and the file of cpu-fused."""
    path = archive.folder / FUSED_FILE
    if isinstance(fused, bytes):
        path.write_bytes(fused)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit's own notice
            torch.jit.save(torch.jit.script(fused.eval()), path)
    archive.rewrite(recipes=list(recipes))


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has all that CPU recipes need, whatever this one has: torch computes them anyway."""
    monkeypatch.setattr(classify, "machine_of", lambda _: ABLE)


def _described(archive: Archive, unpack: Unpack) -> tuple[str, list[str]]:
    classifier, context = archive.load()
    card = unpack(classifier.handle([DESCRIBE], context)[0]).header["describe"]
    assert card["recipe"] == classifier.recipe
    return card["recipe"], card["recipe_reasons"]


@pytest.mark.usefixtures("able")
def test_the_preferred_recipe_is_served_and_described(
    archive: Archive, net: TinyNet, unpack: Unpack, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets its input in bfloat16 channels last, and nothing was passed over."""
    _with(archive, Fused(net))
    assert _described(archive, unpack) == ("cpu-fused", [])
    assert "tiny version 3 is ready on cpu, recipe cpu-fused" in caplog.text


@pytest.mark.usefixtures("able")
def test_answers_do_not_depend_on_what_a_neighbour_asks(
    archive: Archive, net: TinyNet, pack: Pack, unpack: Unpack
) -> None:
    """Logits are the served recipe's, to the bit, with the gates of the portable form and without."""
    _with(archive, Fused(net, shift=0.01))
    classifier, context = archive.load()
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    part, blobs = [{"kind": "input", "shape": [2, 3, 16, 16]}], [x.numpy().tobytes()]
    alone = unpack(classifier.handle([pack(part, blobs, ["logits"])], context)[0]).arrays
    asked = unpack(classifier.handle([pack(part, blobs, ["logits", "attention"])], context)[0]).arrays
    np.testing.assert_array_equal(alone["logits"], asked["logits"])
    with torch.inference_mode():
        logits, gates = net.explain(x)
    np.testing.assert_allclose(asked["attention"], gates.numpy(), rtol=1e-5)
    np.testing.assert_allclose(asked["logits"], logits.numpy() + 0.01, atol=0.01)


@pytest.mark.usefixtures("able")
@pytest.mark.parametrize(
    ("fused", "words"),
    [
        (b"not a zip", "cpu-fused: model.cpu-fused.pt: torch cannot load it"),
        (Fused(nn.Sequential(nn.Flatten(), nn.Linear(768, 4))), "cpu-fused: parity.npz: on this machine"),
        (
            Fused(nn.Sequential(nn.Flatten(), nn.Linear(768, 5))),
            "cpu-fused: model.cpu-fused.pt: 5 logits for",
        ),
        (Fused(nn.Linear(3, 4)), "cpu-fused: "),
    ],
    ids=["no TorchScript", "another net", "other classes", "fails when run"],
)
def test_a_recipe_that_is_no_good_is_passed_over(
    archive: Archive,
    unpack: Unpack,
    caplog: pytest.LogCaptureFixture,
    fused: nn.Module | bytes,
    words: str,
) -> None:
    """The next one serves, and the reason is told to whoever asks and logged."""
    _with(archive, fused)
    recipe, reasons = _described(archive, unpack)
    assert recipe == "cpu-bf16"
    assert [reason.startswith(words) for reason in reasons] == [True]
    assert f"recipe cpu-bf16 is served: {reasons[0]}" in caplog.text


@pytest.mark.usefixtures("able")
def test_the_figure_of_a_failed_parity_is_told(archive: Archive, net: TinyNet, unpack: Unpack) -> None:
    """With the tolerance that the recipe has, not the one of float32."""
    with np.load(archive.folder / "parity.npz") as file:
        largest = float(np.abs(file["logits"]).max())
    _with(archive, Fused(net, shift=0.3 * largest))
    _, (reason,) = _described(archive, unpack)
    assert "logits differ by 0.3" in reason
    assert "at most 0.05" in reason


@pytest.mark.usefixtures("able")
def test_a_wish_of_the_environment_is_granted(
    archive: Archive, net: TinyNet, unpack: Unpack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what would have been taken without it is named."""
    _with(archive, Fused(net))
    monkeypatch.setenv("ATTNSERVE_RECIPE", "cpu-bf16")
    assert _described(archive, unpack) == ("cpu-bf16", ["cpu-fused: ATTNSERVE_RECIPE asks for cpu-bf16"])


@pytest.mark.usefixtures("able")
def test_a_wish_of_the_configuration_that_cannot_be_granted(
    archive: Archive, net: TinyNet, caplog: pytest.LogCaptureFixture
) -> None:
    """The best of the others serves, and the log says what was asked for, where, and what there is."""
    _with(archive, Fused(net))
    classifier, _ = archive.load(config={"handler": {"recipe": "cpu-int8"}})
    assert classifier.recipe == "cpu-fused"
    assert (
        "cpu-int8: this archive has no such recipe, only cpu-fused, cpu-bf16, cuda-fp16, portable "
        "(handler.recipe in model-config.yaml asks for it)"
    ) in caplog.text


def test_a_machine_without_the_instructions_serves_portable(
    archive: Archive, unpack: Unpack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that it lacks is tried; the answer is that of an archive without recipes."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    _with(archive, b"never read")
    recipe, reasons = _described(archive, unpack)
    assert recipe == "portable"
    assert [reason.split(" ")[0] for reason in reasons] == ["cpu-fused:", "cpu-bf16:"]
    assert all("torch finds no avx512_bf16 or amx" in reason for reason in reasons)


def test_an_older_torch_that_cannot_tell_serves_portable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stock TorchServe may bring a torch without these questions."""
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert CPU_BFLOAT16 not in machine_of(CPU).features


@needs_bfloat16
def test_bfloat16_is_served_on_this_cpu(archive: Archive, net: TinyNet, unpack: Unpack) -> None:
    """From model.pt alone, with answers within bfloat16's rounding: 8 significant bits (IEEE 754's style)."""
    archive.rewrite(recipes=[_entry("cpu-bf16"), _entry("portable")])
    assert _described(archive, unpack) == ("cpu-bf16", [])
    classifier, _ = archive.load()
    x = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = classifier.run(list(x.numpy()), explain=False).results.arrays["logits"]
    with torch.inference_mode():
        expected = net(x).numpy()
    assert 0 < np.abs(found - expected).max() < 4 * 2**-8 * np.abs(expected).max()


@pytest.mark.usefixtures("able")
def test_the_portable_form_is_in_memory_only_once_it_is_asked_for(
    archive: Archive, net: TinyNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried when the archive is loaded, forgotten, and loaded again by the first who wants gates."""
    _with(archive, Fused(net))
    loads: list[str] = []
    load = attn_module.load

    def counted(path: object, device: torch.device) -> torch.jit.ScriptModule:
        loads.append(str(path).rpartition("/")[2])
        return load(path, device)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr("handlers.attn_gates.load", counted)
    classifier, _ = archive.load()
    assert loads == ["model.pt"]
    x = [np.zeros((3, 16, 16), np.float32)]
    classifier.run(x, explain=False)
    assert loads == ["model.pt"]
    for _ in range(2):
        classifier.run(x, explain=True)
    assert loads == ["model.pt", "model.pt"]


def test_gates_are_loaded_once_for_all_threads(archive: Archive) -> None:
    """However many ask at the same moment."""
    gates = Gates(archive.folder, CPU)
    together = threading.Barrier(4)
    found: list[object] = []

    def ask() -> None:
        together.wait()
        with torch.inference_mode():
            gates(torch.zeros(1, 3, 16, 16))
        found.append(gates._explain)  # noqa: SLF001 # the module itself

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in found}) == 1


@pytest.mark.usefixtures("able")
def test_gates_that_cannot_be_loaded_again_are_told_in_the_log(
    archive: Archive, net: TinyNet, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever does not ask for them is not concerned."""
    _with(archive, Fused(net))
    classifier, _ = archive.load()
    (archive.folder / "model.pt").unlink()
    x = [np.zeros((3, 16, 16), np.float32)]
    with pytest.raises(RuntimeError, match="the forward pass failed"):
        classifier.run(x, explain=True)
    assert "model.pt: torch cannot load it" in caplog.text
    assert np.isfinite(classifier.run(x, explain=False).results.arrays["logits"]).all()


@pytest.mark.usefixtures("able")
def test_a_recipe_does_not_excuse_missing_gates(archive: Archive, net: TinyNet) -> None:
    """What the signature promises is tried whatever is served."""
    _with(archive, Fused(net))
    archive.rewrite(attention_layout=[{"block": "gate", "channels": 3, "branches": 1}])
    with pytest.raises(ArchiveError, match=r"model\.pt: 2 gates for 3 columns"):
        archive.load()


def test_pixels_reach_half_precision_rounded_once(archive: Archive) -> None:
    """As if each had been normalised in float32 and rounded to bfloat16 in the end."""
    _with(archive, Fused(nn.Sequential(nn.Flatten(), nn.Identity())))
    half = Net(
        archive.folder, read_signature(archive.folder), Placement.of_dtype(CPU, "bfloat16"), file=FUSED_FILE
    )
    pixels = torch.arange(16 * 16 * 3, dtype=torch.int32).remainder(256).to(torch.uint8).view(1, 16, 16, 3)
    batch = NetInput(pixels=pixels, tensors=torch.zeros(0, 3, 16, 16))
    found = half(batch).logits.reshape(3, 16, 16)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])
    exact = ((pixels[0].numpy() / 255 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(found, exact, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize(
    ("recipes", "words"),
    [
        ([], "recipes: the last must be portable, got []"),
        ([_entry("cpu-bf16")], "recipes: the last must be portable, got ['cpu-bf16']"),
        ([_entry("portable", "../x.pt")], "recipes[].file: must be a file's name, got '../x.pt'"),
        ([_entry("portable", device="tpu")], "recipes[].device: must be one of cpu, cuda, any, got 'tpu'"),
        ([_entry("portable", dtype="int4")], "recipes[].dtype: must be one of float32, float16, bfloat16"),
        ([_entry("portable", tolerance=0)], "recipes[].tolerance: must be a number above 0, got 0"),
        ([{"name": "portable"}], "the key 'recipes[].file' is missing"),
        (["portable"], "the key 'recipes[].file' is missing"),
        ("all", "recipes: must be a list, got 'all'"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(archive: Archive, recipes: object, words: str) -> None:
    """The message names the key, the value and the rule."""
    archive.rewrite(recipes=recipes)
    with pytest.raises(ArchiveError) as refused:
        archive.load()
    assert words in str(refused.value)
