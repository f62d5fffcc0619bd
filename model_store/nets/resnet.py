"""Residual nets that take a channel attention or a selective kernel.

He, Zhang, Ren, Sun (2015), "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
Xie, Girshick, Dollár, Tu, He (2016), "Aggregated Residual Transformations for Deep Neural Networks",
arXiv:1611.05431.

Deviations: the stride of a bottleneck is on its 3x3 convolution, not on the first 1x1; the pooling of the
stem is padded by 1 (the SE and SK papers' released nets round up instead); wherever the shape changes, on
CIFAR too, the shortcut is a 1x1 convolution with batch normalisation. Parts are named and shaped as in
torchvision, so that the weights of its plain ResNets and ResNeXts load unchanged.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from model_store.nets.gate import require_positive

AttentionFactory: TypeAlias = Callable[[int], nn.Module]
"""Number of channels -> a module that keeps the shape [N, C, H, W]."""

ConvFactory: TypeAlias = Callable[[int, int, int], nn.Module]
"""(in_channels, out_channels, stride) -> a 3x3 convolution that does its own normalisation and activation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStyle:
    """What all blocks of a net have in common.

    Attributes:
        groups: groups of the 3x3 convolution of a bottleneck (ResNeXt's cardinality).
        base_width: channels of one group where a stage has 64 planes.
        attention: applied to the residual branch after its last normalisation, before the sum; None: none is.
        conv: replaces the strided 3x3 convolution with its normalisation and activation; None: none does.

    Raises:
        ValueError: a number is below 1.
    """

    groups: int = 1
    base_width: int = 64
    attention: AttentionFactory | None = None
    conv: ConvFactory | None = None

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        require_positive(groups=self.groups, base_width=self.base_width)


class BasicBlock(nn.Module):
    """A block relu(attention(F(x)) + shortcut(x)), with F two 3x3 convolutions.

    Args:
        in_channels: of the features that go in.
        planes: channels inside; `expansion` times as many come out.
        stride: of the first 3x3 convolution and of the shortcut.
        style: its groups and base width do not apply to this block.
    """

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int, style: BlockStyle) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu1 = _spatial(in_channels, planes, stride, 1, style.conv)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.attention = _attention(planes, style)
        self.downsample = _shortcut(in_channels, planes, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map `features` [N, in_channels, H, W] to [N, planes, ceil(H / stride), ceil(W / stride)]."""
        branch = self.relu1(self.bn1(self.conv1(features)))
        branch = self.bn2(self.conv2(branch))
        output: Tensor = self.relu(self.attention(branch) + self.downsample(features))
        return output


class Bottleneck(nn.Module):
    """A block relu(attention(F(x)) + shortcut(x)), with F a 1x1, a 3x3 and a 1x1 convolution.

    Args:
        in_channels: of the features that go in.
        planes: channels inside, before groups and base width; `expansion` times as many come out.
        stride: of the 3x3 convolution and of the shortcut.
        style: the 3x3 convolution has planes * base_width / 64 channels in each of its groups.
    """

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, style: BlockStyle) -> None:
        super().__init__()
        width = planes * style.base_width // 64 * style.groups
        out_channels = planes * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2, self.bn2, self.relu2 = _spatial(width, width, stride, style.groups, style.conv)
        self.conv3 = nn.Conv2d(width, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.attention = _attention(out_channels, style)
        self.downsample = _shortcut(in_channels, out_channels, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map `features` [N, in_channels, H, W] to [N, 4 * planes, ceil(H / stride), ceil(W / stride)]."""
        branch = self.relu1(self.bn1(self.conv1(features)))
        branch = self.relu2(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        output: Tensor = self.relu(self.attention(branch) + self.downsample(features))
        return output


def imagenet_stem(width: int) -> OrderedDict[str, nn.Module]:
    """Return a 7x7 convolution and a 3x3 pooling, both of stride 2: [N, 3, H, W] to [N, width, H/4, W/4]."""
    return OrderedDict(
        conv1=nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )


def cifar_stem(width: int) -> OrderedDict[str, nn.Module]:
    """Return a 3x3 convolution, which keeps the size of small images: [N, 3, H, W] to [N, width, H, W]."""
    return OrderedDict(conv1=_conv3x3(3, width), bn1=nn.BatchNorm2d(width), relu=nn.ReLU(inplace=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet:
    """A recipe of a residual net; `build` makes one.

    Attributes:
        block: the kind of block.
        depths: blocks in each stage; every stage but the first halves height and width.
        planes: the width parameter of each stage's blocks, as long as `depths`.
        style: what the blocks have in common.
        stem: given the first stage's planes, the named parts before it.

    Raises:
        ValueError: `depths` and `planes` differ in length, or a number is below 1.
    """

    block: type[BasicBlock | Bottleneck]
    depths: tuple[int, ...]
    planes: tuple[int, ...] = (64, 128, 256, 512)
    style: BlockStyle = BlockStyle()
    stem: Callable[[int], OrderedDict[str, nn.Module]] = imagenet_stem

    def __post_init__(self) -> None:
        """Refuse a recipe whose stages do not match."""
        if not self.depths or len(self.depths) != len(self.planes):
            raise ValueError(f"depths and planes must be equally long, got {self.depths} and {self.planes}")
        require_positive(depths=min(self.depths), planes=min(self.planes))

    def build(self, classes: int) -> nn.Sequential:
        """Make the net with fresh weights: normalised images FP32 [N, 3, H, W] to logits [N, classes].

        Convolutions are drawn as in He et al. (2015), arXiv:1502.01852, the backward case (over the outputs).

        Raises:
            ValueError: `classes` is below 1.
        """
        require_positive(classes=classes)
        parts = self.stem(self.planes[0])
        channels = self.planes[0]
        for index, (depth, planes) in enumerate(zip(self.depths, self.planes, strict=True)):
            parts[f"layer{index + 1}"] = self._stage(channels, planes, depth, stride=2 if index else 1)
            channels = planes * self.block.expansion
        parts["avgpool"] = nn.AdaptiveAvgPool2d(1)
        parts["flatten"] = nn.Flatten()
        parts["fc"] = nn.Linear(channels, classes)
        net = nn.Sequential(parts)
        net.apply(_initialise)
        return net

    def _stage(self, in_channels: int, planes: int, depth: int, *, stride: int) -> nn.Sequential:
        """Return `depth` blocks, the first with the stride."""
        first = self.block(in_channels, planes, stride, self.style)
        rest = (self.block(planes * self.block.expansion, planes, 1, self.style) for _ in range(depth - 1))
        return nn.Sequential(first, *rest)


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False)


def _spatial(
    in_channels: int, out_channels: int, stride: int, groups: int, factory: ConvFactory | None
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return a block's strided 3x3 convolution, its normalisation and its activation."""
    if factory is not None:
        return factory(in_channels, out_channels, stride), nn.Identity(), nn.Identity()
    conv = _conv3x3(in_channels, out_channels, stride, groups)
    return conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)


def _attention(channels: int, style: BlockStyle) -> nn.Module:
    return nn.Identity() if style.attention is None else style.attention(channels)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return the identity where the shape stays, else a 1x1 convolution (He et al., option B)."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
