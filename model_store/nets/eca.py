"""Efficient Channel Attention.

Wang, Wu, Zhu, Li, Zuo, Hu (2019), "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
Networks", arXiv:1910.03151 (equations of v4).

Deviations: none. Where the paper leaves a choice, its authors' code decides: zeros pad the channels at both
ends, the convolution has no bias, and an even integer part rounds up to odd. The released nets do not follow
the formula for k but set it for each stage, so k can be given.
"""

import math
from collections.abc import Mapping

from torch import Tensor, nn

from model_store.nets.gate import ChannelGate, ChannelScale, require_positive


def adaptive_kernel_size(channels: int, gamma: int = 2, b: int = 1) -> int:
    """Return k = |log2(C) / gamma + b / gamma|, rounded to odd (equation 12).

    Args:
        channels: C, at least 1.
        gamma: slope of the relation between k and log2(C), at least 1; the paper sets 2.
        b: its offset; the paper sets 1.

    Returns:
        An odd number: with the paper's settings 3 for 8 to 127 channels, 5 for 128 to 2047, 7 for 2048.

    Raises:
        ValueError: `channels` or `gamma` is below 1.
    """
    require_positive(channels=channels, gamma=gamma)
    size = int(abs((math.log2(channels) + b) / gamma))
    return size if size % 2 else size + 1


def require_odd(kernel_size: int) -> None:
    """Refuse a kernel that is not centred on a channel.

    Raises:
        ValueError: `kernel_size` is below 1 or even.
    """
    require_positive(kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, so that a channel sits at its centre, got {kernel_size}")


class BandGate(ChannelGate):
    """w = sigmoid(conv1d_k(y)), equation 9: k taps [1, 1, k], the same for all channels, slide along them."""

    def __init__(self, channels: int, kernel_size: int | None) -> None:
        super().__init__(channels)
        size = adaptive_kernel_size(channels) if kernel_size is None else kernel_size
        require_odd(size)
        self.conv = nn.Conv1d(1, 1, kernel_size=size, padding=size // 2, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, C, H, W] to w [N, C] in (0, 1)."""
        pooled = features.mean((2, 3))[:, None, :]  # y as a signal of one channel and length C
        gates: Tensor = self.sigmoid(self.conv(pooled))
        return gates.flatten(1)

    def _resized(self, shapes: Mapping[str, tuple[int, ...]]) -> ChannelGate | None:
        """Read k."""
        match shapes.get("conv.weight"):
            case (_, _, size):
                return BandGate(self.channels, size)
        return None


class EfficientChannelAttention(ChannelScale):
    """The ECA module: features [N, C, H, W] times w, channel by channel.

    Args:
        channels: C.
        kernel_size: k, odd; None takes `adaptive_kernel_size(channels)`.

    Raises:
        ValueError: `channels` is below 1, or `kernel_size` is below 1 or even.

    Example:
        >>> import torch
        >>> EfficientChannelAttention(64, kernel_size=3)(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 64, 7, 7])
    """

    def __init__(self, channels: int, kernel_size: int | None = None) -> None:
        super().__init__(BandGate(channels, kernel_size))
