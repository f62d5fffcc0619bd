"""What the gates of one block look like: spread, entropy and saturation.

A gate g in [0, 1] is read as the probability that its channel is let through. Its entropy, in bits, is

    H(g) = -g log2 g - (1 - g) log2(1 - g)        (Shannon 1948, section 6; 0 log2 0 = 0)

1 where g = 1/2, 0 where the gate is fully open or shut; a block's is the mean over its channels. Where M
branches compete for a channel (SK), their weights a_1 ... a_M sum to 1, and the channel's entropy is

    H(a) = -(a_1 log2 a_1 + ... + a_M log2 a_M) / log2 M

1 where all weigh the same, 0 where one has it all. A gate is saturated below 0.05 or above 0.95; a channel
with branches where its largest weight is above 0.95. A block's saturation is the share of such channels.

Both say how decided a block is. Neither says whether it decides well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating]

SHUT, OPEN = 0.05, 0.95
"""Outside of these a gate is saturated."""

BINS: Final = 20
"""Of the histogram over [0, 1]."""

# A softmax in half precision misses 1 by so much.
_TOLERANCE: Final = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFigures:
    """Figures of one block's gates for one image.

    Attributes:
        mean: Of all gates; of M competing branches it is 1 / M whatever they do.
        minimum: The smallest gate.
        maximum: The largest gate.
        entropy: Mean over the channels, 0 to 1.
        saturation: Share of the channels, 0 to 1.
        histogram: Gates in each of `BINS` equal parts of [0, 1]; of two branches those of the first alone, as
            the second mirrors it.
        branch_means: Mean weight of each branch; empty where nothing competes.
    """

    mean: float
    minimum: float
    maximum: float
    entropy: float
    saturation: float
    histogram: tuple[int, ...]
    branch_means: tuple[float, ...]


def figures(gates: Floats) -> GateFigures:
    """Describe the gates of one block.

    Args:
        gates: [M, C], M branches by C channels; M = 1 where gates only scale.

    Raises:
        ValueError: it is empty or not [M, C], a gate is not in [0, 1], or branches do not sum to 1.
    """
    exact = np.asarray(gates, dtype=np.float64)
    _require_gates(exact)
    branches = len(exact)
    shown = exact[0] if branches == 2 else exact  # noqa: PLR2004  see the class's docstring
    return GateFigures(
        mean=float(exact.mean()),
        minimum=float(exact.min()),
        maximum=float(exact.max()),
        entropy=entropy(exact),
        saturation=saturation(exact),
        histogram=tuple(int(count) for count in np.histogram(shown, BINS, (0, 1))[0]),
        branch_means=tuple(float(mean) for mean in exact.mean(axis=1)) if branches > 1 else (),
    )


def entropy(gates: Floats) -> float:
    """Return the mean entropy of the channels of gates [M, C], in bits, divided by log2 M where M > 1."""
    chances = np.stack([gates[0], 1 - gates[0]]) if len(gates) == 1 else gates
    # 0 log 0 is 0, and so is 1 log 1, which stands in for it.
    logarithms = np.log2(np.where(chances > 0, chances, 1))
    bits = -(chances * logarithms).sum(axis=0)
    return float(bits.mean() / np.log2(len(chances)))


def saturation(gates: Floats) -> float:
    """Return the share of the channels of gates [M, C] that are decided."""
    if len(gates) > 1:
        return float((gates.max(axis=0) > OPEN).mean())
    return float(((gates < SHUT) | (gates > OPEN)).mean())


def _require_gates(gates: Floats) -> None:
    if gates.ndim != 2 or not gates.size:  # noqa: PLR2004  branches and channels
        raise ValueError(f"gates must be [branches, channels], got the shape {list(gates.shape)}")
    if not ((gates >= 0) & (gates <= 1)).all():
        raise ValueError(f"gates must be from 0 to 1, got {gates.min():g} to {gates.max():g}")
    sums = gates.sum(axis=0)
    if len(gates) > 1 and np.abs(sums - 1).max() > _TOLERANCE:
        worst = sums[np.abs(sums - 1).argmax()]
        raise ValueError(f"gates of competing branches must sum to 1, got {worst:g}")
