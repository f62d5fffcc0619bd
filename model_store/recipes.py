"""The recipes of a net: made, proven against the net itself, and put in order of preference.

What cannot be made, strays too far or gains nothing is left out with its reason; `portable` is always there.
No GPU is needed: recipes for one are proven where they are served, on the samples of parity.npz, as all are
again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn

from model_store import script
from model_store.options import CudaDtype, ServingOptions
from model_store.proof import KEPT_SAMPLES, ProofInputs
from model_store.recipe_table import ALONE, KINDS, MODEL, PORTABLE, Recipe, RecipeName
from model_store.script import ExportedNet
from model_store.threads import cpu_threads
from model_store.tuning import BATCHES, Contender, Timing, decide, lack, measure

MAKING: Final = "making faster forms of it, proving each"
MEASURING: Final = "measuring them"
IMAGE_DIMENSIONS: Final = 4
Maker: TypeAlias = Callable[[nn.Module, tuple[int, int]], bytes]
_CLOSED: Final = "TorchScript cannot be taken apart; it takes a net of the zoo or of timm"
_UNCALIBRATED: Final = "it takes --calibration, a folder of real images, and a net of the zoo or of timm"
_DTYPES: Final = MappingProxyType(
    {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What recipes are made from.

    Attributes:
        net: FP32 [N,3,H,W] -> logits FP32 [N,K], in eval mode: what every recipe is held against.
        inputs: Of the proof.
        macs: Multiply-adds for an image; None: unknown.
        makers: Recipe with a file of its own -> (net, (H, W)) -> that file. A user's TorchScript has none: it
            cannot be taken apart.
    """

    net: nn.Module
    inputs: ProofInputs
    macs: int | None = None
    makers: Mapping[RecipeName, Maker] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How near a recipe came on the proof's N samples.

    Attributes:
        error: Largest difference from the net's logits, relative to the largest of them; NaN: not finite.
        agreeing: Samples whose most probable class is the net's.
        samples: N.
    """

    error: float
    agreeing: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a net is to be served, and why.

    Attributes:
        net: With its recipes.
        threads: CPU threads of the forward pass; None: all cores.
        cuda_dtype: What it computes in on CUDA.
        proofs: Of the recipes that were made here.
        left_out: Recipe -> why it is not offered.
        unmeasured: Recipe that is offered -> why nobody knows how fast it is.
        timings: What was measured; empty: nothing had to be.
        gains: How many times as fast as `portable` the measured recipes are.
    """

    net: ExportedNet
    threads: int | None
    cuda_dtype: CudaDtype
    proofs: Mapping[RecipeName, Proof] = field(default_factory=dict)
    left_out: Mapping[RecipeName, str] = field(default_factory=dict)
    unmeasured: Mapping[RecipeName, str] = field(default_factory=dict)
    timings: tuple[Timing, ...] = ()
    gains: Mapping[RecipeName, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A proven recipe, the module that a worker gets of it, and its file where it has one of its own."""

    recipe: Recipe
    proof: Proof
    module: nn.Module
    file: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forms:
    """What came of the recipes that were asked for; those for a GPU are neither made nor left out."""

    names: tuple[RecipeName, ...]
    made: Mapping[RecipeName, _Made]
    left_out: Mapping[RecipeName, str]


class _NotOfferedError(Exception):
    """This net has not this recipe; the text says why."""


def choose(
    exported: ExportedNet,
    origin: Origin,
    options: ServingOptions,
    *,
    on_step: Callable[[str], None] = lambda _: None,
) -> Choice:
    """Make the recipes that are asked for, and decide what is left to a measurement.

    Args:
        exported: The net's portable form.
        origin: What it was made from.
        options: What is asked for.
        on_step: Told MAKING and MEASURING before each.
    """
    settled = options.settled(origin.macs)
    names = settled.recipe_names()
    if settled.recipes == "auto":
        names = tuple(name for name in names if KINDS[name].file == MODEL or name in origin.makers)
    if names != ALONE:
        on_step(MAKING)
    forms = _forms(exported, origin, names)
    timings: tuple[Timing, ...] = ()
    runnable = [name for name in forms.made if lack(name) is None]
    if settled.threads == "auto" or (settled.recipes == "auto" and runnable):
        on_step(MEASURING)
        portable = Contender(
            name=PORTABLE, module=script.load(exported.model), inputs=_batches(PORTABLE, origin)
        )
        others = [
            Contender(name=name, module=forms.made[name].module, inputs=_batches(name, origin))
            for name in runnable
        ]
        timings = measure([*others, portable], _thread_counts(settled))
    return _decided(exported, forms, settled, timings)


def cast(module: torch.jit.ScriptModule, dtype: torch.dtype) -> torch.jit.ScriptModule:
    """Change precision and memory layout of a TorchScript module as a worker does, before its first run.

    Freezing turned its weights into constants of the graph, which `Module.to` does not reach.
    """
    module.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's lack
    for node in module.graph.findAllNodes("prim::Constant"):  # type: ignore[attr-defined] # torch's lack
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            value = node.t("value")
            node.t_("value", _changed(value, dtype) if value.is_floating_point() else value)
    return module


def as_input(x: Tensor, name: RecipeName) -> Tensor:
    """FP32 [N,3,H,W] as a recipe wants it: in its precision, and with a pixel's channels side by side."""
    return x if name == PORTABLE else _changed(x, _DTYPES[KINDS[name].dtype])


def _changed(x: Tensor, dtype: torch.dtype) -> Tensor:
    images = x.dim() == IMAGE_DIMENSIONS
    return x.to(dtype, memory_format=torch.channels_last if images else torch.preserve_format)


def _forms(exported: ExportedNet, origin: Origin, names: Sequence[RecipeName]) -> _Forms:
    made: dict[RecipeName, _Made] = {}
    left_out: dict[RecipeName, str] = {}
    wanted = [name for name in names if KINDS[name].device == "cpu"]
    # One thread, for the reason that `script.export` has.
    with cpu_threads(1):
        expected = _logits(origin.net, origin.inputs.all) if wanted else []
        for name in wanted:
            try:
                made[name] = _made(name, exported, origin, expected)
            except Exception as error:  # noqa: BLE001  torch raises anything for nets that it cannot read
                left_out[name] = (str(error).strip() or type(error).__name__).splitlines()[-1]
    return _Forms(names=tuple(names), made=made, left_out=left_out)


def _made(name: RecipeName, exported: ExportedNet, origin: Origin, expected: Sequence[Tensor]) -> _Made:
    """Make a recipe and prove it.

    Raises:
        _NotOfferedError: Its logits are too far from the net's, or nothing makes it of this net.
    """
    kind, file = KINDS[name], None
    if kind.file == MODEL:
        module = cast(script.load(exported.model), _DTYPES[kind.dtype])
    elif name in origin.makers:
        height, width = origin.inputs.kept.shape[-2:]
        file = origin.makers[name](origin.net, (height, width))
        module = script.load(file)
    else:
        raise _NotOfferedError(_UNCALIBRATED if kind.calibrated else _CLOSED)
    # Features on noise are not those that a calibrated net has room for.
    noise = len(origin.inputs.random) if kind.calibrated else 0
    batches = [as_input(batch, name) for batch in origin.inputs.all[noise:]]
    proof = _proof(expected[noise:], _logits(module, batches))
    if not proof.error <= kind.tolerance:
        raise _NotOfferedError(
            f"its logits differ by {proof.error:.3g} of the largest, at most {kind.tolerance:g} are allowed; "
            f"{proof.agreeing} of {proof.samples} samples get the same class"
        )
    return _Made(recipe=Recipe.of(name, proof.error), proof=proof, module=module, file=file)


@torch.inference_mode()
def _logits(module: nn.Module, batches: Sequence[Tensor]) -> list[Tensor]:
    return [module(batch).float() for batch in batches]


def _proof(expected: Sequence[Tensor], found: Sequence[Tensor]) -> Proof:
    """Compare the logits of all batches; the last one's first rows also alone, as a worker will."""
    if [one.shape for one in expected] != [one.shape for one in found]:
        raise _NotOfferedError("its logits have another shape than the net's")
    wanted, got = torch.cat(list(expected)), torch.cat(list(found))
    errors = [_error(wanted, got), _error(expected[-1][:KEPT_SAMPLES], found[-1][:KEPT_SAMPLES])]
    # NaN, which `max` may pass over, is no error that any tolerance admits.
    error = float(torch.tensor(errors).max())
    agreeing = int((wanted.argmax(dim=1) == got.argmax(dim=1)).sum())
    return Proof(error=error, agreeing=agreeing, samples=len(wanted))


def _error(expected: Tensor, found: Tensor) -> float:
    return float((expected - found).abs().max() / expected.abs().max().clamp_min(1e-12))


def _batches(name: RecipeName, origin: Origin) -> dict[int, Tensor]:
    images = torch.cat([*origin.inputs.all] * max(BATCHES))[: max(BATCHES)]
    return {size: as_input(images[:size], name) for size in BATCHES}


def _thread_counts(settled: ServingOptions) -> tuple[int | None, ...]:
    if settled.threads != "auto":
        return (_fixed_threads(settled),)
    return (1, None) if torch.get_num_threads() > 1 else (None,)


def _fixed_threads(settled: ServingOptions) -> int | None:
    return settled.threads if isinstance(settled.threads, int) else None


def _decided(
    exported: ExportedNet, forms: _Forms, settled: ServingOptions, timings: tuple[Timing, ...]
) -> Choice:
    tuned = decide(timings) if timings else None
    names, left_out = forms.names, dict(forms.left_out)
    if settled.recipes == "auto" and tuned is not None:
        left_out |= {name: _slow(gain) for name, gain in tuned.gains.items() if name not in tuned.order}
        # Those that could not be measured keep their place behind those that were.
        names = (*tuned.order[:-1], *(name for name in names if name not in tuned.gains), PORTABLE)
    offered = [name for name in names if name not in left_out]
    unmeasured = {name: lack(name) for name in offered if name in forms.made}
    return Choice(
        net=_listing(exported, forms, offered),
        threads=tuned.threads if tuned and settled.threads == "auto" else _fixed_threads(settled),
        cuda_dtype=settled.precision_on_cuda(offered),
        proofs={name: made.proof for name, made in forms.made.items()},
        left_out=left_out,
        unmeasured={name: why for name, why in unmeasured.items() if why is not None},
        timings=timings,
        gains=tuned.gains if tuned else {},
    )


def _slow(gain: float) -> str:
    return f"here it is {gain:.2f} times as fast as {PORTABLE}, too little to give up float32 for"


def _listing(exported: ExportedNet, forms: _Forms, offered: Collection[RecipeName]) -> ExportedNet:
    if tuple(offered) == ALONE:
        return exported
    portable = Recipe.of(PORTABLE, exported.parity.max_abs_error)
    recipes = [forms.made[name].recipe if name in forms.made else Recipe.of(name, None) for name in offered]
    files = {
        made.recipe.file: made.file
        for name, made in forms.made.items()
        if name in offered and made.file is not None
    }
    return replace(exported, recipes=(*recipes[:-1], portable), recipe_files=files)
