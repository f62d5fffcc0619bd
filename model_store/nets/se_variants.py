"""The variants of Squeeze-and-Excitation that led to ECA: no reduction, fewer and fewer weights.

Wang, Wu, Zhu, Li, Zuo, Hu (2019), "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
Networks", arXiv:1910.03151v4, section 3.2, table 2.

All of them are w = sigmoid(W y), equation 3, with y the mean of each channel and W a C x C matrix; there are
no biases. They differ in which entries of W are learnt: none, its diagonal or all (equation 4), blocks along
the diagonal (5), or a band around it (6).
Deviations: none. The band is padded with zeros at both ends, as in the authors' code.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_store.nets.eca import require_odd
from model_store.nets.gate import ChannelGate, ChannelScale, require_positive


class IdentityGate(ChannelGate):
    """w = sigmoid(y): W is the identity, and nothing is learnt."""

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, C, H, W] to w [N, C] in (0, 1)."""
        return torch.sigmoid(features.mean((2, 3)))


class BlockGate(ChannelGate):
    """w = sigmoid(W y), equation 3, with W made of G square blocks along its diagonal: weights [C, C / G, 1].

    Args:
        channels: C.
        groups: G, which divides C; 1 learns the whole matrix, C its diagonal.

    Raises:
        ValueError: a number is below 1, or G does not divide C.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels)
        require_positive(groups=groups)
        if channels % groups:
            raise ValueError(f"groups must divide channels={channels}, got {groups}")
        self.conv = nn.Conv1d(channels, channels, kernel_size=1, groups=groups, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, C, H, W] to w [N, C] in (0, 1)."""
        gates: Tensor = self.sigmoid(self.conv(features.mean((2, 3))[:, :, None]))
        return gates.flatten(1)

    def _resized(self, shapes: Mapping[str, tuple[int, ...]]) -> ChannelGate | None:
        """Read the size of the blocks."""
        match shapes.get("conv.weight"):
            case (_, size, _) if size and self.channels % size == 0:
                return BlockGate(self.channels, self.channels // size)
        return None


class OwnBandGate(ChannelGate):
    """w_i = sigmoid(sum_j w_ij y_(i + j)), equations 6 and 7: each channel has k taps of its own, [C, 1, k].

    Args:
        channels: C.
        kernel_size: k, odd.

    Raises:
        ValueError: a number is below 1, or k is even.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels)
        require_odd(kernel_size)
        self.kernel_size = kernel_size
        self.conv = nn.Conv1d(channels, channels, kernel_size, groups=channels, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, C, H, W] to w [N, C] in (0, 1)."""
        half = self.kernel_size // 2
        neighbours = F.pad(features.mean((2, 3)), (half, half)).unfold(1, self.kernel_size, 1)  # [N, C, k]
        gates: Tensor = self.sigmoid(self.conv(neighbours))
        return gates.flatten(1)

    def _resized(self, shapes: Mapping[str, tuple[int, ...]]) -> ChannelGate | None:
        """Read k."""
        match shapes.get("conv.weight"):
            case (_, _, size):
                return OwnBandGate(self.channels, size)
        return None


class SEVar1(ChannelScale):
    """SE-Var1: w = sigmoid(y), without any weights.

    Args:
        channels: C.

    Raises:
        ValueError: `channels` is below 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(IdentityGate(channels))


class SEVar2(ChannelScale):
    """SE-Var2: W is diagonal (equation 4), C weights; each channel decides for itself.

    Args:
        channels: C.

    Raises:
        ValueError: `channels` is below 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(BlockGate(channels, channels))


class SEVar3(ChannelScale):
    """SE-Var3: W is full (equation 4), C x C weights; all channels decide together.

    Args:
        channels: C.

    Raises:
        ValueError: `channels` is below 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(BlockGate(channels, 1))


class SEGC(ChannelScale):
    """SE-GC: W is block-diagonal (equation 5), C x C / G weights; channels decide within their group.

    The paper's GC1 has G = 16, GC2 G = C / 16, and GC3 G = C / 8.

    Args:
        channels: C.
        groups: G, which divides C.

    Raises:
        ValueError: a number is below 1, or G does not divide C.

    Example:
        >>> import torch
        >>> SEGC(64, groups=16)(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 64, 7, 7])
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(BlockGate(channels, groups))


class ECANS(ChannelScale):
    """ECA-NS: W is a band (equation 6), k x C weights; ECA shares the taps, this does not.

    Args:
        channels: C.
        kernel_size: k, odd; the paper's table has 3.

    Raises:
        ValueError: a number is below 1, or k is even.
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__(OwnBandGate(channels, kernel_size))
