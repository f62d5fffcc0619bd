"""Recipes are made, proven against the net, put in order, packed, and shown."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from handlers.attn_archive import read_signature, verify_sums
from model_store import recipes as recipes_module
from model_store import tuning
from model_store.build import Order, build_untrained
from model_store.errors import FuseError, InputError
from model_store.inspect_archive import inspect
from model_store.options import ServingOptions, read_recipes
from model_store.pack import is_current, pack
from model_store.proof import proof_inputs
from model_store.recipe_table import RecipeName
from model_store.recipes import Choice, Maker, Origin, choose
from model_store.script import export
from model_store.torchscript_bytes import to_bytes
from serve.archive import open_archive, read_sums
from tests.model_store.building import SCHEMA, run
from tests.model_store.test_pack import NET, SIGNATURE

SIZE = (16, 16)
LARGE = 100_000_000
"""Multiply-adds of a net that is measured, with one thread and with all."""


class Small(nn.Module):
    """A net whose logits are far apart."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.factor = factor
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean(dim=(2, 3)))
        return logits * self.factor


def in_bfloat16(net: nn.Module, _size: tuple[int, int]) -> bytes:
    """Stand in for the fused form: a file of its own whose net takes bfloat16."""
    copy = Small(net.factor).eval()  # type: ignore[arg-type] # Small has it
    return to_bytes(torch.jit.freeze(torch.jit.script(copy.to(torch.bfloat16))))


def chosen(
    options: ServingOptions,
    *,
    macs: int | None = LARGE,
    fuse: Maker | None = in_bfloat16,
    net: nn.Module | None = None,
) -> Choice:
    """Choose the recipes of Small."""
    eager = (net or Small()).eval()
    makers: dict[RecipeName, Maker] = {} if fuse is None else {"cpu-fused": fuse}
    origin = Origin(net=eager, inputs=proof_inputs(SIZE), macs=macs, makers=makers)
    return choose(export(eager, input_size=SIZE), origin, options)


def asked(text: str) -> ServingOptions:
    """Ask for recipes by name."""
    return ServingOptions(recipes=read_recipes(text))


def names(choice: Choice) -> list[str]:
    """Names of the recipes that are listed."""
    return [recipe.name for recipe in choice.net.recipes]


def test_portable_alone_is_the_net_as_it_was() -> None:
    """By default nothing is made, listed or measured."""
    choice = chosen(ServingOptions())
    assert (choice.net.recipes, choice.net.recipe_files) == ((), {})
    assert (choice.proofs, choice.left_out, choice.timings) == ({}, {}, ())
    assert (choice.threads, choice.cuda_dtype) == (None, "float32")


def test_what_is_asked_for_is_made_in_that_order() -> None:
    """Each with its measured error; bfloat16 keeps 8 bits, float32 24: far more than 2^-24, and below 5 %."""
    choice = chosen(asked("cpu-bf16,cuda-fp16,cpu-fused"))
    assert names(choice) == ["cpu-bf16", "cuda-fp16", "cpu-fused", "portable"]
    errors = {recipe.name: recipe.max_abs_error for recipe in choice.net.recipes}
    assert errors["cuda-fp16"] is None
    for name in ("cpu-bf16", "cpu-fused"):
        assert 2**-14 < (errors[name] or 0) < 0.05
    assert list(choice.net.recipe_files) == ["model.cpu-fused.pt"]
    assert choice.cuda_dtype == "float16"
    assert choice.timings == ()
    assert 0.8 * 24 <= choice.proofs["cpu-bf16"].agreeing <= choice.proofs["cpu-bf16"].samples == 24


def refuse(_net: nn.Module, _size: tuple[int, int]) -> bytes:
    """Refuse as the fusing pass does."""
    raise FuseError("the net has no convolution")


def of_another_net(_net: nn.Module, size: tuple[int, int]) -> bytes:
    """Compute something else."""
    return in_bfloat16(Small(factor=-1.0), size)


def not_finite(_net: nn.Module, size: tuple[int, int]) -> bytes:
    """Overflow."""
    return in_bfloat16(Small(factor=float("inf")), size)


@pytest.mark.parametrize(
    ("fuse", "why"),
    [
        (refuse, "the net has no convolution"),
        (of_another_net, "its logits differ by 2 of the largest, at most 0.05 are allowed; "),
        (not_finite, "its logits differ by "),
        (None, "TorchScript cannot be taken apart; it takes a net of the zoo or of timm"),
    ],
)
def test_what_cannot_be_made_or_strays_is_left_out_with_its_reason(fuse: Maker | None, why: str) -> None:
    """The others stay, and no file of it is packed."""
    choice = chosen(asked("cpu-fused,cpu-bf16"), fuse=fuse)
    assert names(choice) == ["cpu-bf16", "portable"]
    assert list(choice.left_out) == ["cpu-fused"]
    assert why in choice.left_out["cpu-fused"]
    assert choice.net.recipe_files == {}


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Measure without a clock: milliseconds by recipe; returns what was measured with which threads."""

    def install(milliseconds: dict[RecipeName, float]) -> list[Any]:
        seen: list[Any] = []

        def measure(
            contenders: list[tuning.Contender], threads: tuple[int | None, ...]
        ) -> tuple[tuning.Timing, ...]:
            seen.append(([one.name for one in contenders], threads))
            assert all(len(x) == batch for one in contenders for batch, x in one.inputs.items())
            return tuple(
                tuning.Timing(name=one.name, threads=count, batch=1, seconds=milliseconds[one.name] / 1e3)
                for one in contenders
                for count in threads
            )

        monkeypatch.setattr(recipes_module, "measure", measure)
        monkeypatch.setattr(recipes_module, "lack", lambda _name: None)
        return seen

    return install


def test_auto_lists_what_is_faster_here(timed: Callable[..., list[Any]]) -> None:
    """The fastest first; what gains nothing is left out with its figure; those for a GPU stay."""
    seen = timed({"cpu-fused": 20.0, "cpu-bf16": 39.0, "portable": 40.0})
    choice = chosen(ServingOptions(recipes="auto"))
    assert seen == [(["cpu-fused", "cpu-bf16", "portable"], (None,))]
    assert names(choice) == ["cpu-fused", "cuda-fp16", "cuda-bf16", "portable"]
    assert choice.left_out == {
        "cpu-bf16": "here it is 1.03 times as fast as portable, too little to give up float32 for"
    }


def test_auto_keeps_what_this_machine_cannot_run(
    timed: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is proven all the same, and stands behind what was measured, with the reason."""
    seen = timed({})
    monkeypatch.setattr(
        recipes_module, "lack", lambda name: "this CPU has no avx512_bf16 or amx" if "cpu" in name else None
    )
    choice = chosen(ServingOptions(recipes="auto"))
    assert seen == []
    assert names(choice) == ["cpu-fused", "cpu-bf16", "cuda-fp16", "cuda-bf16", "portable"]
    assert set(choice.unmeasured) == {"cpu-fused", "cpu-bf16"}
    assert choice.net.recipes[0].max_abs_error is not None


def test_a_tiny_net_and_a_user_s_own_get_what_suits_them(timed: Callable[..., list[Any]]) -> None:
    """A tiny net is served as it is; TorchScript is not taken apart, which `auto` does not even try."""
    timed({"cpu-bf16": 10.0, "portable": 40.0})
    tiny = chosen(ServingOptions(recipes="auto", threads="auto"), macs=1000)
    assert (names(tiny), tiny.threads) == ([], 1)
    own = chosen(ServingOptions(recipes="auto"), macs=None, fuse=None)
    assert names(own) == ["cpu-bf16", "cuda-fp16", "cuda-bf16", "portable"]
    assert own.left_out == {}


def test_threads_alone_can_be_measured(
    timed: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that was asked for stays; a tie goes to one thread."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    seen = timed({"cpu-bf16": 90.0, "portable": 40.0})
    choice = chosen(ServingOptions(recipes=("cpu-bf16", "portable"), threads="auto"))
    assert seen == [(["cpu-bf16", "portable"], (1, None))]
    assert (names(choice), choice.threads) == (["cpu-bf16", "portable"], 1)


def test_a_recipe_s_file_must_be_there_and_no_other() -> None:
    """Whoever packs by hand is told which file."""
    made = chosen(asked("cpu-fused")).net
    listed = replace(SIGNATURE, recipes=made.recipes)
    with pytest.raises(InputError, match=r"'model\.cpu-fused\.pt' is not in the archive"):
        pack(listed, NET)
    with pytest.raises(InputError, match=r"'model\.x\.pt' is in the archive, but no recipe's file"):
        pack(SIGNATURE, replace(NET, recipe_files={"model.x.pt": b""}))
    with zipfile.ZipFile(io.BytesIO(pack(listed, replace(NET, recipe_files=made.recipe_files)).data)) as file:
        assert {"model.pt", "model.cpu-fused.pt"} <= set(file.namelist())
        assert b"model.cpu-fused.pt" in file.read("SHA256SUMS")


EXPLICIT = ("--threads", "1", "--spin", "500", "--cuda-dtype", "float16")


@pytest.mark.parametrize(
    "wanted",
    ["cpu-bf16", pytest.param("cpu-fused,cpu-bf16", marks=pytest.mark.slow)],  # it compiles TorchScript
)
def test_an_explicit_choice_gives_the_same_archive_that_all_three_houses_read(
    tmp_path: Path, wanted: str
) -> None:
    """Equal bytes twice; the gateway opens it, the worker reads it, and the page shows its recipes."""
    for folder in ("one", "two"):
        result = run(
            "build",
            "--arch",
            "digits_se",
            "--untrained",
            "--recipes",
            wanted,
            "--output",
            tmp_path / folder,
            *EXPLICIT,
        )
        assert result.exit_code == 0, result.output
    path = tmp_path / "one" / "digits_se.mar"
    assert path.read_bytes() == (tmp_path / "two" / "digits_se.mar").read_bytes()
    found = inspect(path)
    assert found.intact
    assert not list(SCHEMA.iter_errors(found.signature))
    assert (found.signature["threads"], found.signature["spin"]) == (1, 500)
    assert open_archive(path, read_sums(path.parent)).card.signature == found.signature
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    verify_sums(tmp_path / "unpacked")
    listed = [one["name"] for one in found.signature["recipes"]]
    assert [one.name for one in read_signature(tmp_path / "unpacked").net_recipes] == listed
    # A CPU that cannot run the fused form cannot prove it either.
    assert listed[-3:] == ["cpu-bf16", "cuda-fp16", "portable"]
    assert f"recipes, the preferred one first: {', '.join(listed)}" in result.stderr
    page = run("inspect", path).stdout
    assert all(f"\n{name} " in page for name in listed)
    assert "not measured" in page
    assert "looks 500 times for work" in page


def test_other_choices_are_noticed(tmp_path: Path) -> None:
    """An archive is current for the choices that it was built with, and for no others."""
    options = ServingOptions(recipes=("cpu-bf16", "portable"), threads=1, spin=5)
    path = build_untrained("digits_se", None, Order(options=options), tmp_path)
    assert is_current(path, options)
    assert is_current(path, replace(options, threads=None))  # which is one thread for so small a net
    for other in (
        replace(options, recipes=("portable",)),
        replace(options, recipes="auto"),
        replace(options, threads=2),
        replace(options, threads="all"),
        replace(options, spin=None),
        replace(options, cuda_dtype="float16"),
    ):
        assert not is_current(path, other)
