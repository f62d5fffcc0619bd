"""From the values that features take on real images to the bytes that stand for them.

r = S (q - Z), with bytes q: equation 1 of Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference" (CVPR 2018, arXiv:1712.05877). The range of features is the whole
one that was seen, and always has zero in it, so that padding is exact; weights are symmetric, with a scale
for each output channel, as Krishnamoorthi found to be enough without further training (arXiv:1806.08342).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

import torch
from torch import Tensor, fx

LEVELS: Final = 255  # of bytes without a sign, from the lowest to the highest
WEIGHT_LEVELS: Final = 127  # -128 is not used: symmetric
_RANGE: Final = "range"
_SMALLEST: Final = 1e-8  # of a scale, of what is zero everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What bytes stand for: scale * (byte - zero).

    Attributes:
        scale: above 0.
        zero: 0..255.
    """

    scale: float
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> Self:
        """Return the range of values from `low` to `high`, widened to have zero in it."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / LEVELS, _SMALLEST)
        return cls(scale=scale, zero=round(-low / scale))


class _Watching(fx.Interpreter):
    """Runs a net, and keeps the smallest and the largest value of each result."""

    def __init__(self, net: fx.GraphModule) -> None:
        super().__init__(net)
        self.limits: dict[fx.Node, tuple[float, float]] = {}

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401  a node may give anything, as fx says
        result = super().run_node(n)
        if isinstance(result, Tensor) and result.is_floating_point():
            low, high = (float(one) for one in result.aminmax())
            before = self.limits.get(n, (low, high))
            self.limits[n] = min(low, before[0]), max(high, before[1])
        return result


@torch.no_grad()
def calibrate(net: fx.GraphModule, batches: Iterable[Tensor]) -> None:
    """Let each node know the range of its result (`range_of`).

    Args:
        net: FP32, without operations in place.
        batches: FP32 [n, 3, H, W] each: images as they are going to be served.
    """
    watching = _Watching(net)
    for batch in batches:
        watching.run(batch.contiguous(memory_format=torch.channels_last))
    for node, limits in watching.limits.items():
        node.meta[_RANGE] = Range.of(*limits)


def range_of(node: fx.Node) -> Range:
    """Return the range of a node's result, or of what the node was put in place of."""
    found: Range = node.meta[_RANGE]
    return found


def quantised_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights [O, ...] as INT8, and the scale [O] of each output channel."""
    scales = weight.flatten(1).abs().amax(dim=1).clamp_min(_SMALLEST) / WEIGHT_LEVELS
    whole = (weight / scales.reshape(-1, *[1] * (weight.dim() - 1))).round_()
    return whole.to(torch.int8), scales
