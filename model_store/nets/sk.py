"""Selective Kernel convolution.

Li, Wang, Hu, Yang (2019), "Selective Kernel Networks", arXiv:1903.06586 (equations of v2).

As in the paper and its released definitions, the larger kernels are dilated 3x3 kernels, the layers of the
attention have no biases, and no normalisation follows the selection. Deviations: none in the block. (The
released definition of SKNet-101 drops the lower limit L of equation 4; here it holds everywhere.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_store.nets.gate import ChannelGate, require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectiveKernel:
    """The setting that the paper writes SK[M, G, r], with the lower limit L.

    Attributes:
        branches: M, the number of kernels; kernel i, from 1, is 3x3 with dilation i.
        groups: G, the groups of each convolution.
        reduction: r, the divisor of the channels.
        minimum: L, the lower limit of the attention's hidden width.

    Raises:
        ValueError: a number is below 1.
    """

    branches: int = 2
    groups: int = 32
    reduction: int = 16
    minimum: int = 32

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        require_positive(
            branches=self.branches, groups=self.groups, reduction=self.reduction, minimum=self.minimum
        )

    def hidden_width(self, channels: int) -> int:
        """Return d = max(C / r, L), equation 4, with C / r rounded down."""
        return max(channels // self.reduction, self.minimum)


class SelectionGate(ChannelGate):
    """Fuse and select: z = relu(BN(W s)), softmax over the branches of A z; W [d, C], A [M * C, d].

    Args:
        channels: C.
        kernel: M, r and L.
    """

    def __init__(self, channels: int, kernel: SelectiveKernel) -> None:
        super().__init__(channels, kernel.branches)
        hidden = kernel.hidden_width(channels)
        self.fc1 = nn.Linear(channels, hidden, bias=False)
        self.bn = nn.BatchNorm1d(hidden)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(hidden, kernel.branches * channels, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map the fused U [N, C, H, W] to gates [N, M * C], of which the M of any channel sum to 1."""
        squeezed = features.mean((2, 3))  # equation 2
        compact = self.relu(self.bn(self.fc1(squeezed)))  # equation 3
        logits: Tensor = self.fc2(compact)
        return logits.reshape(-1, self.branches, self.channels).softmax(1).flatten(1)  # equation 5


class SelectiveKernelConv(nn.Module):
    """The SK convolution: split, fuse, select.

    Features [N, C_in, H, W] become [N, C_out, ceil(H / stride), ceil(W / stride)], none of them negative.

    Args:
        in_channels: C_in, a multiple of the groups.
        out_channels: C_out, a multiple of the groups.
        stride: of every branch.
        kernel: M, G, r and L; the default is the paper's SK[2, 32, 16] with L = 32.

    Raises:
        ValueError: a number is below 1, or the groups do not divide the channels.

    Example:
        >>> SelectiveKernelConv(64, 128, stride=2)(torch.rand(2, 64, 8, 8)).shape
        torch.Size([2, 128, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        kernel: SelectiveKernel = SelectiveKernel(),
    ) -> None:
        super().__init__()
        require_positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
        self.paths = nn.ModuleList(
            _path(in_channels, out_channels, stride, dilation, kernel.groups)
            for dilation in range(1, kernel.branches + 1)
        )
        self.gate = SelectionGate(out_channels, kernel)

    def forward(self, features: Tensor) -> Tensor:
        """Apply all kernels to `features` and select among them, channel by channel."""
        branches = torch.stack([path(features) for path in self.paths], dim=1)  # [N, M, C, H, W]
        gates: Tensor = self.gate(branches.sum(1))  # equation 1
        weights = gates.reshape(-1, self.gate.branches, self.gate.channels, 1, 1)
        return (branches * weights).sum(1)  # equation 6


def _path(in_channels: int, out_channels: int, stride: int, dilation: int, groups: int) -> nn.Sequential:
    """Return one branch: dilated 3x3 convolution, batch normalisation, ReLU."""
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups must divide in_channels={in_channels} and out_channels={out_channels}, got {groups}"
        )
    conv = nn.Conv2d(
        in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, groups=groups, bias=False
    )
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
