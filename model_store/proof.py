"""The proof that a form of a net computes what the net computes.

"The same" is relative: the largest absolute difference over all samples, divided by the largest absolute
value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from model_store.recipe_table import TOLERANCE

Form: TypeAlias = Literal["trace", "script", "given"]
SMALL_BATCHES: Final = (1, 2, 5, 16)
LARGE_BATCHES: Final = (1, 2, 3)
LARGE_SIDE: Final = 128  # pixels; from here on 16 images would cost seconds and show nothing new
KEPT_SAMPLES: Final = 4  # parity.npz: enough to catch a wrong device or kernel, small enough to travel


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far TorchScript strayed from eager, relative to the largest output, and where this was measured."""

    tolerance: float
    max_abs_error: float
    batch_sizes: tuple[int, ...]
    form: Form
    samples: Literal["real", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofInputs:
    """Inputs of the proof: FP32 [n,3,H,W] each, always random ones, and real ones where there are any."""

    random: tuple[Tensor, ...]
    real: tuple[Tensor, ...]

    @property
    def all(self) -> tuple[Tensor, ...]:
        """Random and real batches."""
        return self.random + self.real

    @property
    def kept(self) -> Tensor:
        """The few samples that travel with the archive: real ones if possible, FP32 [n,3,H,W]."""
        return (self.real or self.random)[-1][:KEPT_SAMPLES]

    def parity(self, form: Form, error: float) -> Parity:
        """The record of a proof with these inputs."""
        return Parity(
            tolerance=TOLERANCE,
            max_abs_error=error,
            batch_sizes=tuple(sorted({len(batch) for batch in self.all})),
            form=form,
            samples="real" if self.real else "random",
        )


def proof_inputs(input_size: tuple[int, int], real: Tensor | None = None) -> ProofInputs:
    """Batches of several sizes, so that a size baked into the graph shows.

    Args:
        input_size: (H, W).
        real: FP32 [n,3,H,W]; sizes above n are left out.
    """
    sizes = LARGE_BATCHES if max(input_size) >= LARGE_SIDE else SMALL_BATCHES
    generator = torch.Generator().manual_seed(0)
    random = tuple(torch.randn(size, 3, *input_size, generator=generator) for size in sizes)
    available = () if real is None else tuple(real[:size] for size in sizes if size <= len(real))
    return ProofInputs(random=random, real=available)


@torch.inference_mode()
def max_relative_error(
    expected: nn.Module, found: nn.Module, methods: Sequence[str], batches: Sequence[Tensor]
) -> float:
    """Largest absolute difference of any output, divided by the largest absolute value of that output.

    NaN when an output is not finite, which no tolerance admits.
    """
    differences: dict[tuple[str, int], list[Tensor]] = {}
    magnitudes: dict[tuple[str, int], list[Tensor]] = {}
    for method in methods:
        for batch in batches:
            wanted, got = (_outputs(getattr(module, method)(batch)) for module in (expected, found))
            for index, (left, right) in enumerate(zip(wanted, got, strict=True)):
                differences.setdefault((method, index), []).append((left - right).abs().max())
                magnitudes.setdefault((method, index), []).append(left.abs().max())
    ratios = [
        torch.stack(differences[key]).max() / torch.stack(magnitudes[key]).max().clamp_min(1e-12)
        for key in differences
    ]
    return float(torch.stack(ratios).max())


def _outputs(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)
