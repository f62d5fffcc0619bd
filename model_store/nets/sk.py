"""Selective Kernel convolution.

Li, Wang, Hu, Yang (2019), "Selective Kernel Networks", arXiv:1903.06586 (equations of v2).

As in the paper and its released definitions, the larger kernels are dilated 3x3 kernels, the layers of the
attention have no biases, and no normalisation follows the selection. Deviations: none in the block. What
others have changed is a setting: `kernels` (the paper's CIFAR nets have 3x3 and 1x1), `minimum` (the released
SKNet-101 has no lower limit L), and `split` (timm's nets give each branch its share of the channels).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from model_store.nets.gate import ChannelGate, require_positive

Kernel: TypeAlias = tuple[int, int]
"""Size and dilation of a branch's kernel: (3, 2) is the paper's 5x5, (5, 1) a true one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectiveKernel:
    """The setting that the paper writes SK[M, G, r], with the lower limit L.

    Attributes:
        branches: M, the number of kernels.
        groups: G, the groups of each convolution.
        reduction: r, the divisor of the channels.
        minimum: L, the lower limit of the attention's hidden width; 1 leaves C / r as it is.
        kernels: the kernel of each branch; None: the i-th, from 1, is 3x3 with dilation i.
        split: whether each branch sees only its share of the input channels, the first branch the first.

    Raises:
        ValueError: a number is below 1, a kernel is even, or there are not as many kernels as branches.
    """

    branches: int = 2
    groups: int = 32
    reduction: int = 16
    minimum: int = 32
    kernels: tuple[Kernel, ...] | None = None
    split: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers below 1 and kernels that do not match."""
        require_positive(
            branches=self.branches, groups=self.groups, reduction=self.reduction, minimum=self.minimum
        )
        if len(self.paths) != self.branches:
            raise ValueError(f"kernels must be as many as the branches, {self.branches}, got {self.kernels}")
        for size, dilation in self.paths:
            require_positive(size=size, dilation=dilation)
            if size % 2 == 0:
                raise ValueError(f"kernels must have odd sizes, to keep height and width, got {size}")

    @property
    def paths(self) -> tuple[Kernel, ...]:
        """The kernel of each branch."""
        if self.kernels is None:
            return tuple((3, dilation) for dilation in range(1, self.branches + 1))
        return self.kernels

    def hidden_width(self, channels: int) -> int:
        """Return d = max(C / r, L), equation 4, with C / r rounded down."""
        return max(channels // self.reduction, self.minimum)


class SelectionGate(ChannelGate):
    """Fuse and select: z = relu(BN(W s)), softmax over the branches of A z; W [d, C], A [M * C, d].

    Args:
        channels: C.
        branches: M.
        hidden: d.
        bias: whether A has biases: the paper's and its authors' has none, many another implementation's has.

    Raises:
        ValueError: a number is below 1.
    """

    def __init__(self, channels: int, branches: int, hidden: int, *, bias: bool = False) -> None:
        super().__init__(channels, branches)
        require_positive(hidden=hidden)
        self.fc1 = nn.Linear(channels, hidden, bias=False)
        self.bn = nn.BatchNorm1d(hidden)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(hidden, branches * channels, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map the fused U [N, C, H, W] to gates [N, M * C], of which the M of any channel sum to 1."""
        squeezed = features.mean((2, 3))  # equation 2
        compact = self.relu(self.bn(self.fc1(squeezed)))  # equation 3
        logits: Tensor = self.fc2(compact)
        return logits.reshape(-1, self.branches, self.channels).softmax(1).flatten(1)  # equation 5

    def _resized(self, shapes: Mapping[str, tuple[int, ...]]) -> ChannelGate | None:
        """Read d, and whether there are biases."""
        match shapes.get("fc1.weight"):
            case (hidden, _):
                return SelectionGate(self.channels, self.branches, hidden, bias="fc2.bias" in shapes)
        return None


class SelectiveKernelConv(nn.Module):
    """The SK convolution: split, fuse, select.

    Features [N, C_in, H, W] become [N, C_out, ceil(H / stride), ceil(W / stride)], none of them negative.

    Args:
        in_channels: C_in, a multiple of the groups; where it is split, each branch's share is one.
        out_channels: C_out, a multiple of the groups.
        stride: of every branch.
        kernel: M, G, r, L and the kernels; the default is the paper's SK[2, 32, 16] with L = 32.

    Raises:
        ValueError: a number is below 1, or the groups or the branches do not divide the channels.

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
        self.split = kernel.split
        sources = _share(in_channels, kernel.branches) if kernel.split else in_channels
        self.paths = nn.ModuleList(
            _path(sources, out_channels, stride, shape, kernel.groups) for shape in kernel.paths
        )
        self.gate = SelectionGate(out_channels, kernel.branches, kernel.hidden_width(out_channels))

    def forward(self, features: Tensor) -> Tensor:
        """Apply all kernels to `features` and select among them, channel by channel."""
        outputs = [path(self._seen(features, i)) for i, path in enumerate(self.paths)]
        branches = torch.stack(outputs, dim=1)  # [N, M, C, H, W]
        gates: Tensor = self.gate(branches.sum(1))  # equation 1
        weights = gates.reshape(-1, self.gate.branches, self.gate.channels, 1, 1)
        return (branches * weights).sum(1)  # equation 6

    def _seen(self, features: Tensor, branch: int) -> Tensor:
        """Return what a branch, from 0, sees of the input."""
        if not self.split:
            return features
        return features.chunk(self.gate.branches, 1)[branch]


def _share(in_channels: int, branches: int) -> int:
    """Return the input channels of each branch where they are split."""
    if in_channels % branches:
        raise ValueError(f"branches must divide in_channels={in_channels} to split them, got {branches}")
    return in_channels // branches


def _path(in_channels: int, out_channels: int, stride: int, kernel: Kernel, groups: int) -> nn.Sequential:
    """Return one branch: convolution, batch normalisation, ReLU."""
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups must divide in_channels={in_channels} and out_channels={out_channels}, got {groups}"
        )
    size, dilation = kernel
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        size,
        stride,
        padding=dilation * (size // 2),
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
