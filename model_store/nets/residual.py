"""The blocks of residual nets, and what all blocks of a net have in common.

He, Zhang, Ren, Sun (2015), "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
Xie, Girshick, Dollár, Tu, He (2016), "Aggregated Residual Transformations for Deep Neural Networks",
arXiv:1611.05431.
Where an attention may stand: Hu, Shen, Albanie, Sun, Wu (2017), arXiv:1709.01507v4, figure 5.

Parts are named and shaped as in torchvision, so that the weights of its plain ResNets and ResNeXts load
unchanged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor, nn

from model_store.nets.gate import require_positive

AttentionFactory: TypeAlias = Callable[[int], nn.Module]
"""Number of channels -> a module that keeps the shape [N, C, H, W]."""

ConvFactory: TypeAlias = Callable[[int, int, int], nn.Module]
"""(in_channels, out_channels, stride) -> a 3x3 convolution that does its own normalisation and activation."""

ShortcutFactory: TypeAlias = Callable[[int, int, int], nn.Module]
"""(in_channels, out_channels, stride) -> what brings a block's input to the shape of its output."""

Position: TypeAlias = Literal["standard", "pre", "post", "identity", "3x3"]
"""Where a block's attention stands (Hu et al., figure 5 and table 15).

"standard": on the residual branch after its last normalisation, before the sum. "pre": on what goes into the
branch. "post": after the sum and its ReLU. "identity": on the shortcut, after its projection where there is
one. "3x3": on the branch after the ReLU of the 3x3 convolution.
"""


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return a strided 1x1 convolution with normalisation (He et al., option B)."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def wide_projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return a 3x3 convolution with normalisation where there is a stride, as SENet-154 has them."""
    if stride == 1:
        return projection(in_channels, out_channels, stride)
    return nn.Sequential(conv3x3(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


def average_projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return a mean over the stride, then a 1x1 convolution with normalisation: the "D" of ResNet-D.

    He, Zhang, Zhang, Zhang, Xie, Li (2018), "Bag of Tricks for Image Classification with Convolutional Neural
    Networks", arXiv:1812.01187, figure 2c.
    """
    pool: nn.Module = nn.Identity()
    if stride > 1:
        pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
    return nn.Sequential(pool, conv, nn.BatchNorm2d(out_channels))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStyle:
    """What all blocks of a net have in common.

    Attributes:
        groups: groups of the 3x3 convolution of a bottleneck (ResNeXt's cardinality).
        base_width: channels of one group where a stage has 64 planes.
        attention: made for the channels at `position`; None: none is.
        position: where the attention stands.
        conv: replaces the strided 3x3 convolution with its normalisation and activation; None: none does.
        stride_on: which convolution of a bottleneck has its stride.
        reduce_first: divides the channels of a bottleneck's first 1x1 convolution.
        shortcut: made wherever a block changes the shape.
        rectified: whether a basic block has a ReLU before its attention, too. No paper has that; the nets
            that timm calls legacy_seresnet18 and legacy_seresnet34 have it.

    Raises:
        ValueError: a number is below 1.
    """

    groups: int = 1
    base_width: int = 64
    attention: AttentionFactory | None = None
    position: Position = "standard"
    conv: ConvFactory | None = None
    stride_on: Literal["3x3", "1x1"] = "3x3"
    reduce_first: int = 1
    shortcut: ShortcutFactory = projection
    rectified: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        require_positive(groups=self.groups, base_width=self.base_width, reduce_first=self.reduce_first)

    def attention_at(self, position: Position, channels: int) -> nn.Module:
        """Return the attention if it stands at `position`, the identity elsewhere."""
        if self.attention is None or self.position != position:
            return nn.Identity()
        return self.attention(channels)

    def shortcut_for(self, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        """Return the identity where the shape stays, else a projection."""
        if stride == 1 and in_channels == out_channels:
            return nn.Identity()
        return self.shortcut(in_channels, out_channels, stride)


class BasicBlock(nn.Module):
    """A block relu(attention(F(x)) + shortcut(x)), with F two 3x3 convolutions.

    Args:
        in_channels: of the features that go in.
        planes: channels inside; `expansion` times as many come out.
        stride: of the first 3x3 convolution and of the shortcut.
        style: its groups, base width, place of the stride and `reduce_first` do not apply to this block.

    Raises:
        ValueError: the attention is to stand anywhere but in its standard place.
    """

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int, style: BlockStyle) -> None:
        super().__init__()
        if style.position != "standard":
            raise ValueError(f"position must be 'standard' in a basic block, got {style.position!r}")
        self.conv1, self.bn1, self.relu1 = _spatial(in_channels, planes, stride, 1, style.conv)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu2 = nn.ReLU(inplace=True) if style.rectified else nn.Identity()
        self.attention = style.attention_at("standard", planes)
        self.downsample = style.shortcut_for(in_channels, planes, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map `features` [N, in_channels, H, W] to [N, planes, ceil(H / stride), ceil(W / stride)]."""
        branch = self.relu1(self.bn1(self.conv1(features)))
        branch = self.relu2(self.bn2(self.conv2(branch)))
        output: Tensor = self.relu(self.attention(branch) + self.downsample(features))
        return output


class Bottleneck(nn.Module):
    """A block relu(attention(F(x)) + shortcut(x)), with F a 1x1, a 3x3 and a 1x1 convolution.

    The attention is in one of five places; the other four are identities.

    Args:
        in_channels: of the features that go in.
        planes: channels inside, before groups and base width; `expansion` times as many come out.
        stride: of the 3x3 convolution, or as `style` says, and of the shortcut.
        style: the 3x3 convolution has planes * base_width / 64 channels in each of its groups.
    """

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, style: BlockStyle) -> None:
        super().__init__()
        width = planes * style.base_width // 64 * style.groups
        first_width = width // style.reduce_first
        first_stride, stride_of_3x3 = (stride, 1) if style.stride_on == "1x1" else (1, stride)
        out_channels = planes * self.expansion
        self.attention_pre = style.attention_at("pre", in_channels)
        self.conv1 = nn.Conv2d(in_channels, first_width, kernel_size=1, stride=first_stride, bias=False)
        self.bn1 = nn.BatchNorm2d(first_width)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2, self.bn2, self.relu2 = _spatial(
            first_width, width, stride_of_3x3, style.groups, style.conv
        )
        self.attention_3x3 = style.attention_at("3x3", width)
        self.conv3 = nn.Conv2d(width, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.attention = style.attention_at("standard", out_channels)
        self.downsample = style.shortcut_for(in_channels, out_channels, stride)
        self.attention_identity = style.attention_at("identity", out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.attention_post = style.attention_at("post", out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map `features` [N, in_channels, H, W] to [N, 4 * planes, ceil(H / stride), ceil(W / stride)]."""
        branch = self.relu1(self.bn1(self.conv1(self.attention_pre(features))))
        branch = self.attention_3x3(self.relu2(self.bn2(self.conv2(branch))))
        branch = self.attention(self.bn3(self.conv3(branch)))
        shortcut = self.attention_identity(self.downsample(features))
        output: Tensor = self.attention_post(self.relu(branch + shortcut))
        return output


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution without bias that keeps the size, but for the stride."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False)


def _spatial(
    in_channels: int, out_channels: int, stride: int, groups: int, factory: ConvFactory | None
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return a block's strided 3x3 convolution, its normalisation and its activation."""
    if factory is not None:
        return factory(in_channels, out_channels, stride), nn.Identity(), nn.Identity()
    conv = conv3x3(in_channels, out_channels, stride, groups)
    return conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
