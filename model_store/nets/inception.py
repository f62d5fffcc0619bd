"""BN-Inception, which takes a channel attention.

Ioffe, Szegedy (2015), "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", arXiv:1502.03167, figure 5; its stem is that of GoogLeNet, arXiv:1409.4842.
The attention stands as in Hu et al. (2017), arXiv:1709.01507, figure 2: after a module's
branches are joined.

Widths and poolings are those of the SE paper's released SE-BN-Inception. It exists in Caffe's form only:
pooling of stride 2 is unpadded and rounds up, so height and width of the images must be multiples of 32, or
the branches of a module would differ in size.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from model_store.nets.gate import require_positive
from model_store.nets.residual import AttentionFactory
from model_store.nets.resnet import initialise, stem_pooling

Pooling: TypeAlias = Literal["mean", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """The output channels of one module's convolutions.

    Attributes:
        single: of the 1x1 branch; None: the module has stride 2, and no such branch.
        three: of the 1x1 and the 3x3 convolution of the second branch.
        double: of the 1x1 and of each of the two 3x3 convolutions of the third branch.
        projection: of the 1x1 convolution after the pooling; None: the module has stride 2, and none.
        pooling: of the fourth branch, 3x3.
    """

    single: int | None
    three: tuple[int, int]
    double: tuple[int, int]
    projection: int | None
    pooling: Pooling = "mean"

    @property
    def stride(self) -> int:
        """Of the last 3x3 convolutions and of the pooling."""
        return 1 if self.single else 2


def _keeping(
    single: int, three: tuple[int, int], double: tuple[int, int], projection: int, pooling: Pooling = "mean"
) -> Widths:
    """Return the widths of a module that keeps the size."""
    return Widths(single=single, three=three, double=double, projection=projection, pooling=pooling)


def _halving(three: tuple[int, int], double: tuple[int, int]) -> Widths:
    """Return the widths of a module of stride 2."""
    return Widths(single=None, three=three, double=double, projection=None, pooling="max")


MODULES: Mapping[str, Widths] = MappingProxyType(
    {
        "3a": _keeping(64, (64, 64), (64, 96), 32),
        "3b": _keeping(64, (64, 96), (64, 96), 64),
        "3c": _halving((128, 160), (64, 96)),
        "4a": _keeping(224, (64, 96), (96, 128), 128),
        "4b": _keeping(192, (96, 128), (96, 128), 128),
        "4c": _keeping(160, (128, 160), (128, 160), 128),
        "4d": _keeping(96, (128, 192), (160, 192), 128),
        "4e": _halving((128, 192), (192, 256)),
        "5a": _keeping(352, (192, 320), (160, 224), 128),
        "5b": _keeping(352, (192, 320), (192, 224), 128, pooling="max"),
    }
)
"""Name -> widths, in forward order."""

STEM_WIDTH: Final = 192


class Inception(nn.Module):
    """A module: four branches (three where it has stride 2), side by side, then the attention.

    Args:
        in_channels: of the features that go in.
        widths: of the branches.
        attention: made for the joined channels; None: none is.

    Attributes:
        out_channels: of the features that come out.
    """

    def __init__(self, in_channels: int, widths: Widths, attention: AttentionFactory | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleDict(dict(_branches(in_channels, widths)))
        outputs = (widths.single, widths.three[1], widths.double[1], widths.projection or in_channels)
        self.out_channels = sum(width or 0 for width in outputs)
        self.attention = nn.Identity() if attention is None else attention(self.out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map `features` [N, in_channels, H, W] to [N, out_channels, H / stride, W / stride]."""
        outputs = [branch(features) for branch in self.branches.values()]
        joined: Tensor = self.attention(torch.cat(outputs, dim=1))
        return joined


@dataclass(frozen=True, slots=True, kw_only=True)
class BNInception:
    """A recipe of BN-Inception; `build` makes one.

    Attributes:
        attention: made for the joined channels of each of the ten modules; None: none is.
    """

    attention: AttentionFactory | None = None

    def build(self, classes: int) -> nn.Sequential:
        """Make the net with fresh weights: normalised images FP32 [N, 3, H, W] to logits [N, classes].

        H and W are multiples of 32.

        Raises:
            ValueError: `classes` is below 1.
        """
        require_positive(classes=classes)
        parts = OrderedDict[str, nn.Module](
            conv1=conv_norm_relu(3, 64, 7, stride=2),
            pool1=stem_pooling(ceil=True),
            conv2_reduce=conv_norm_relu(64, 64, 1),
            conv2=conv_norm_relu(64, STEM_WIDTH, 3),
            pool2=stem_pooling(ceil=True),
        )
        channels = STEM_WIDTH
        for name, widths in MODULES.items():
            module = Inception(channels, widths, self.attention)
            parts[f"inception_{name}"] = module
            channels = module.out_channels
        parts["avgpool"] = nn.AdaptiveAvgPool2d(1)
        parts["flatten"] = nn.Flatten()
        parts["fc"] = nn.Linear(channels, classes)
        net = nn.Sequential(parts)
        net.apply(initialise)
        return net


def conv_norm_relu(in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1) -> nn.Module:
    """Return a convolution without bias that keeps the size but for the stride, normalisation and ReLU."""
    padding = kernel_size // 2
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv=nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=padding, bias=False),
            bn=nn.BatchNorm2d(out_channels),
            relu=nn.ReLU(inplace=True),
        )
    )


def _branches(in_channels: int, widths: Widths) -> Iterator[tuple[str, nn.Module]]:
    """Give the named branches of a module, in the order in which their channels are joined."""
    if widths.single:
        yield "1x1", conv_norm_relu(in_channels, widths.single, 1)
    reduced, three = widths.three
    yield (
        "3x3",
        nn.Sequential(
            conv_norm_relu(in_channels, reduced, 1),
            conv_norm_relu(reduced, three, 3, stride=widths.stride),
        ),
    )
    reduced, double = widths.double
    yield (
        "double_3x3",
        nn.Sequential(
            conv_norm_relu(in_channels, reduced, 1),
            conv_norm_relu(reduced, double, 3),
            conv_norm_relu(double, double, 3, stride=widths.stride),
        ),
    )
    yield "pool", _pooling_branch(in_channels, widths)


def _pooling_branch(in_channels: int, widths: Widths) -> nn.Module:
    """Return the pooling, and the 1x1 convolution where there is one."""
    if widths.projection is None:
        return stem_pooling(ceil=True)
    pool: nn.Module = nn.AvgPool2d(3, stride=1, padding=1)  # counts the zeros of the padding, as Caffe does
    if widths.pooling == "max":
        pool = nn.MaxPool2d(3, stride=1, padding=1)
    return nn.Sequential(pool, conv_norm_relu(in_channels, widths.projection, 1))
