"""Residual nets of any depth that take a channel attention or a selective kernel.

The forms of He et al. (2015), Xie et al. (2016) and of SENet-154; their blocks are in
`model_store.nets.residual`. Two things that no weight's shape tells differ between published nets, so each is
a setting: the stride of a bottleneck is on its 3x3 convolution here, on the first 1x1 in the SE paper's Caffe
nets; the stem's pooling is padded by 1 here, and rounds up there.

On CIFAR, too, the shortcut is a 1x1 convolution with batch normalisation wherever the shape changes.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from torch import nn

from model_store.nets.gate import require_positive
from model_store.nets.residual import AttentionFactory, BasicBlock, BlockStyle, Bottleneck, conv3x3

Stem: TypeAlias = Callable[[int], OrderedDict[str, nn.Module]]
"""Width -> the named parts before the first stage, which give that many channels."""


def stem_pooling(*, ceil: bool = False) -> nn.MaxPool2d:
    """Return the stem's 3x3 pooling of stride 2: padded by 1, or, as in Caffe, unpadded and rounded up."""
    return nn.MaxPool2d(kernel_size=3, stride=2, padding=0 if ceil else 1, ceil_mode=ceil)


def imagenet_stem(width: int, *, ceil: bool = False) -> OrderedDict[str, nn.Module]:
    """Return a 7x7 convolution and a 3x3 pooling, both of stride 2: [N, 3, H, W] to [N, width, H/4, W/4]."""
    return OrderedDict(
        conv1=nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
        maxpool=stem_pooling(ceil=ceil),
    )


caffe_stem: Stem = partial(imagenet_stem, ceil=True)
"""The same with Caffe's pooling."""


def deep_stem(
    width: int, *, inner: tuple[int, int] = (32, 32), ceil: bool = False
) -> OrderedDict[str, nn.Module]:
    """Return three 3x3 convolutions, the first of stride 2, instead of the 7x7 one.

    Args:
        width: channels that come out.
        inner: channels after the first and the second convolution.
        ceil: whether the pooling is Caffe's.
    """
    first, second = inner
    convolutions = nn.Sequential(
        conv3x3(3, first, stride=2),
        nn.BatchNorm2d(first),
        nn.ReLU(inplace=True),
        conv3x3(first, second),
        nn.BatchNorm2d(second),
        nn.ReLU(inplace=True),
        conv3x3(second, width),
    )
    return OrderedDict(
        conv1=convolutions,
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
        maxpool=stem_pooling(ceil=ceil),
    )


def cifar_stem(width: int) -> OrderedDict[str, nn.Module]:
    """Return a 3x3 convolution, which keeps the size of small images: [N, 3, H, W] to [N, width, H, W]."""
    return OrderedDict(conv1=conv3x3(3, width), bn1=nn.BatchNorm2d(width), relu=nn.ReLU(inplace=True))


_PLAIN = BlockStyle()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet:
    """A recipe of a residual net; `build` makes one.

    Attributes:
        block: the kind of block.
        depths: blocks in each stage; every stage but the first halves height and width.
        planes: the width parameter of each stage's blocks, as long as `depths`.
        style: what the blocks have in common.
        stem: given its width, the named parts before the stages.
        stem_width: channels that the stem gives; None: the first stage's planes.
        attention_stages: the stages, from 1, whose blocks have the style's attention; None: all.
        between: made for the channels of each stage but the last, and put after it; None: nothing is.
        dropout: share of the pooled features that training drops.

    Raises:
        ValueError: `depths` and `planes` differ in length, or a number is below 1.
    """

    block: type[BasicBlock | Bottleneck]
    depths: tuple[int, ...]
    planes: tuple[int, ...] = (64, 128, 256, 512)
    style: BlockStyle = _PLAIN
    stem: Stem = imagenet_stem
    stem_width: int | None = None
    attention_stages: frozenset[int] | None = None
    between: AttentionFactory | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a recipe whose stages do not match."""
        if not self.depths or len(self.depths) != len(self.planes):
            raise ValueError(f"depths and planes must be equally long, got {self.depths} and {self.planes}")
        require_positive(depths=min(self.depths), planes=min(self.planes), stem_width=self.stem_width or 1)

    def build(self, classes: int) -> nn.Sequential:
        """Make the net with fresh weights: normalised images FP32 [N, 3, H, W] to logits [N, classes].

        Convolutions are drawn as in He et al. (2015), arXiv:1502.01852, the backward case (over the outputs).

        Raises:
            ValueError: `classes` is below 1.
        """
        require_positive(classes=classes)
        channels = self.stem_width or self.planes[0]
        parts = self.stem(channels)
        for index, (depth, planes) in enumerate(zip(self.depths, self.planes, strict=True), start=1):
            stride = 1 if index == 1 else 2
            parts[f"layer{index}"] = self._stage(channels, planes, depth, stride, self._style(index))
            channels = planes * self.block.expansion
            if self.between is not None and index < len(self.depths):
                parts[f"attention{index}"] = self.between(channels)
        parts["avgpool"] = nn.AdaptiveAvgPool2d(1)
        parts["flatten"] = nn.Flatten()
        if self.dropout:
            parts["dropout"] = nn.Dropout(self.dropout)
        parts["fc"] = nn.Linear(channels, classes)
        net = nn.Sequential(parts)
        net.apply(initialise)
        return net

    def _style(self, stage: int) -> BlockStyle:
        """Return the style of the blocks of a stage, from 1."""
        if self.attention_stages is None or stage in self.attention_stages:
            return self.style
        return replace(self.style, attention=None)

    def _stage(
        self, in_channels: int, planes: int, depth: int, stride: int, style: BlockStyle
    ) -> nn.Sequential:
        """Return `depth` blocks, the first with the stride."""
        first = self.block(in_channels, planes, stride, style)
        rest = (self.block(planes * self.block.expansion, planes, 1, style) for _ in range(depth - 1))
        return nn.Sequential(first, *rest)


def initialise(module: nn.Module) -> None:
    """Draw a convolution's weights as He et al. (2015), arXiv:1502.01852, do in the backward case.

    One with a single output, which weighs places, stays as PyTorch draws it: over a single output the draw is
    so wide that fresh weights of places would be all but 0 or 1.
    """
    if isinstance(module, nn.Conv2d) and module.out_channels > 1:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
