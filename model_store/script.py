"""Eager net -> TorchScript -> frozen, with proof that nothing changed.

The first form of CANDIDATES whose outputs equal the eager net's is taken. Freezing folds batch normalisation
into the convolutions, which moves the last bits, so bitwise equality is not asked: see model_store.proof.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from model_store.errors import ParityError
from model_store.nets.gate import ChannelGate
from model_store.proof import Form, Parity, ProofInputs, max_relative_error, proof_inputs
from model_store.recipe_table import TOLERANCE, Recipe
from model_store.threads import cpu_threads
from model_store.torchscript_bytes import to_bytes

EXPLAIN: Final = "explain"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateBlock:
    """Columns that one attention block contributes to `explain`: channels * branches, branch-major."""

    block: str
    channels: int
    branches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedNet:
    """A proven TorchScript file.

    Attributes:
        model: Bytes of model.pt: forward(x FP32 [N,3,H,W]) -> logits FP32 [N,K], and, where the layout is not
            empty, explain(x) -> (logits [N,K], gates FP32 [N, sum of channels * branches]).
        parity: The proof.
        attention_layout: One entry per attention block in forward order; empty: no `explain`.
        samples: FP32 [n,3,H,W], n <= KEPT_SAMPLES.
        logits: FP32 [n,K], the eager net's answers to the samples.
        recipes: In which forms it can be run, in order of preference; empty: as it is only.
        recipe_files: What other forms need beside model.pt: name in the archive -> bytes.
    """

    model: bytes
    parity: Parity
    attention_layout: tuple[GateBlock, ...]
    samples: Tensor
    logits: Tensor
    recipes: tuple[Recipe, ...] = ()
    recipe_files: Mapping[str, bytes] = field(default_factory=dict)


class Explainable(nn.Module):
    """A net with a second method that also returns what its channel gates said."""

    def __init__(self, net: nn.Module) -> None:
        """Wrap `net`, which maps FP32 [N,3,H,W] to logits FP32 [N,K] and holds at least one ChannelGate."""
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Logits FP32 [N,K] of x FP32 [N,3,H,W]."""
        logits: Tensor = self.net(x)
        return logits

    def explain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits FP32 [N,K] and all gates FP32 [N,C]: blocks in forward order, each flattened."""
        seen: list[Tensor] = []
        with _gates_reported(self.net, lambda _gate, weights: seen.append(weights.flatten(1))):
            logits: Tensor = self.net(x)
        return logits, torch.cat(seen, dim=1)


def export(net: nn.Module, *, input_size: tuple[int, int], real: Tensor | None = None) -> ExportedNet:
    """Turn an eager net into a frozen TorchScript file.

    Args:
        net: Any module from FP32 [N,3,H,W] to logits FP32 [N,K]; it is put into eval mode.
        input_size: (H, W).
        real: Preprocessed real inputs FP32 [n,3,H,W], where there are any.

    Raises:
        ParityError: No form computes what the eager net computes; the message gives each form's figure.
    """
    # One thread: with more, the last bits depend on how many, and thereby the archive's bytes on the machine;
    # and on a busy one they wait for each other so long that a build takes six times as long.
    with cpu_threads(1):
        return _export(net.eval(), proof_inputs(input_size, real))


def _export(net: nn.Module, inputs: ProofInputs) -> ExportedNet:
    example = inputs.random[1]
    layout = attention_layout(net, example)
    eager = Explainable(net).eval() if layout else net
    methods = {"forward": example} | ({EXPLAIN: example} if layout else {})
    refusals = []
    for form in CANDIDATES:
        try:
            model = _frozen(form, eager, methods)
            error = max_relative_error(eager, load(model), list(methods), inputs.all)
        except (RuntimeError, TypeError, AttributeError) as failure:
            # What torch.jit raises for Python that it cannot read; the next form may be able to.
            refusals.append(f"{form}: {str(failure).strip().splitlines()[0]}")
            continue
        if error <= TOLERANCE:
            return exported(net, model, inputs, parity=inputs.parity(form, error), layout=layout)
        refusals.append(f"{form}: relative error {error:.3g}")
    raise ParityError(
        f"no TorchScript form equals the eager net (tolerance {TOLERANCE:g}): {'; '.join(refusals)}"
    )


def exported(
    net: nn.Module, model: bytes, inputs: ProofInputs, *, parity: Parity, layout: tuple[GateBlock, ...] = ()
) -> ExportedNet:
    """Put a proven file together with the samples that let others repeat the proof."""
    with torch.inference_mode():
        logits = net(inputs.kept)
    return ExportedNet(
        model=model, parity=parity, attention_layout=layout, samples=inputs.kept, logits=logits
    )


def attention_layout(net: nn.Module, x: Tensor) -> tuple[GateBlock, ...]:
    """The gates of a net in the order in which a forward pass of x FP32 [N,3,H,W] calls them."""
    names = {module: name.removesuffix(".gate") for name, module in net.named_modules()}
    seen: list[GateBlock] = []

    def note(gate: ChannelGate, _weights: Tensor) -> None:
        seen.append(GateBlock(block=names[gate], channels=gate.channels, branches=gate.branches))

    with _gates_reported(net, note), torch.inference_mode():
        net(x)
    return tuple(seen)


def load(model: bytes) -> torch.jit.ScriptModule:
    """Load a TorchScript file's bytes on the CPU."""
    with quiet_jit():
        module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call] # torch's lack
            io.BytesIO(model), map_location="cpu"
        )
    return module


@contextmanager
def quiet_jit() -> Iterator[None]:
    """Hold back torch.jit's deprecation notice and the tracer's doubts, here and nowhere else.

    The notice asks for torch.export, whose files need the net's Python or a compiler where they are served.
    """
    with warnings.catch_warnings():
        # Whether a trace has baked in a value is decided by the proof, not by the tracer's guess.
        warnings.filterwarnings("ignore", category=TracerWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=r".*torch\.jit")
        yield


def _traced(module: nn.Module, methods: Mapping[str, Tensor]) -> torch.jit.ScriptModule:
    traced: torch.jit.ScriptModule = torch.jit.trace_module(  # type: ignore[no-untyped-call] # torch's lack
        module, dict(methods), check_trace=False
    )
    return traced


def _scripted(module: nn.Module, methods: Mapping[str, Tensor]) -> torch.jit.ScriptModule:
    if EXPLAIN in methods:
        raise TypeError("the gates are read by forward hooks, which cannot be scripted")
    scripted: torch.jit.ScriptModule = torch.jit.script(module)
    return scripted


# Tracing first: it needs nothing of the net's code, and a trace that baked in a batch size fails the proof.
CANDIDATES: Final[dict[Form, Callable[[nn.Module, Mapping[str, Tensor]], torch.jit.ScriptModule]]] = {
    "trace": _traced,
    "script": _scripted,
}


def _frozen(form: Form, module: nn.Module, methods: Mapping[str, Tensor]) -> bytes:
    with quiet_jit(), torch.no_grad():
        converted = _apart(CANDIDATES[form](module, methods))
        # One frozen file holds both methods and each weight once: `explain` adds a few kB of code.
        frozen: torch.jit.ScriptModule = torch.jit.freeze(
            converted, preserved_attrs=[name for name in methods if name == EXPLAIN]
        )
        return to_bytes(frozen)


def _apart(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """A copy that is a file's, not this process's: of the latter torch keeps for ever what freezing makes."""
    written = io.BytesIO()
    torch.jit.save(module, written)
    return load(written.getvalue())


@contextmanager
def _gates_reported(net: nn.Module, report: Callable[[ChannelGate, Tensor], None]) -> Iterator[None]:
    def hook(gate: nn.Module, _inputs: object, weights: Tensor) -> None:
        assert isinstance(gate, ChannelGate), "only gates are hooked"  # noqa: S101 # our own invariant
        report(gate, weights)

    hooks = [gate.register_forward_hook(hook) for gate in net.modules() if isinstance(gate, ChannelGate)]
    try:
        yield
    finally:
        for installed in hooks:
            installed.remove()
