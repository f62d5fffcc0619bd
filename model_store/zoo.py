"""Every net that can be built by name: a table of builders, recipes and what the papers report.

Only facts live here, one row a net; how a net is made is in `model_store.nets`. `parameters` is written down,
not computed: the tests count and compare. An accuracy is the papers' own, of nets that differ from these only
as the header of `model_store.nets.resnet` says (place of the stride, pooling, shortcuts). ECA with k by the
formula has none, because its authors' figures are of nets with k set for each stage.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from torch import nn

from model_store.errors import InputError
from model_store.nets.eca import EfficientChannelAttention
from model_store.nets.resnet import (
    AttentionFactory,
    BasicBlock,
    BlockStyle,
    Bottleneck,
    ConvFactory,
    ResNet,
    cifar_stem,
)
from model_store.nets.se import SqueezeExcitation
from model_store.nets.sk import SelectiveKernel, SelectiveKernelConv

HeightWidth: TypeAlias = tuple[int, int]
PerChannel: TypeAlias = tuple[float, float, float]


class UnknownArchitectureError(InputError, LookupError):
    """The caller asked for a name that is not in the table; the text has the nearest names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an image becomes the input of a net: the `input` object of signature.json.

    Attributes:
        input_size: height and width of the net's input, in pixels.
        resize_method: "stretch" to `resize_size` exactly, or "shorter_side" to resize_size[0], then crop.
        resize_size: height and width, in pixels.
        interpolation: "bilinear" or "bicubic".
        mean: of red, green and blue, subtracted from values in [0, 1].
        std: of red, green and blue, divided by.
    """

    input_size: HeightWidth
    resize_method: Literal["stretch", "shorter_side"]
    resize_size: HeightWidth
    interpolation: Literal["bilinear", "bicubic"]
    mean: PerChannel
    std: PerChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of one net.

    Attributes:
        name: the name that users ask for.
        family: "resnet", "resnext" or "sknet".
        attention: "none", "se", "eca" or "sk".
        build: number of classes -> the net with fresh weights, FP32 [N, 3, H, W] to logits [N, classes].
        parameters: trainable numbers, with `classes` classes.
        classes: of the data set that the net is documented on.
        recipe: how its images are prepared.
        published_top1: accuracy in per cent, on one centre crop of ImageNet or on CIFAR-10; None: none known.
        source: where the net, and its accuracy if there is one, are documented.
    """

    name: str
    family: str
    attention: str
    build: Callable[[int], nn.Module]
    parameters: int
    classes: int
    recipe: Recipe
    published_top1: float | None
    source: str


def get(name: str) -> Row:
    """Return the row called `name`.

    Raises:
        UnknownArchitectureError: no row has that name.
    """
    if name in TABLE:
        return TABLE[name]
    nearest = difflib.get_close_matches(name, TABLE, n=3, cutoff=0.5) or list(TABLE)[:3]
    raise UnknownArchitectureError(
        f"architecture must be in the zoo, such as {', '.join(nearest)}, got {name!r}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What the rows of one family share."""

    family: str
    attention: str
    classes: int
    recipe: Recipe


def _row(kind: _Kind, name: str, net: ResNet, parameters: int, top1: float | None, source: str) -> Row:
    return Row(
        name=name,
        family=kind.family,
        attention=kind.attention,
        build=net.build,
        parameters=parameters,
        classes=kind.classes,
        recipe=kind.recipe,
        published_top1=top1,
        source=source,
    )


def _with(net: ResNet, attention: AttentionFactory) -> ResNet:
    return replace(net, style=replace(net.style, attention=attention))


def _se(net: ResNet, *, bias: bool = True) -> ResNet:
    """Add SE with r = 16."""
    return _with(net, lambda channels: SqueezeExcitation(channels, bias=bias))


def _eca(net: ResNet, *kernel_sizes: int) -> ResNet:
    """Add ECA with one k for each stage, or with k by the formula where none is given."""
    if not kernel_sizes:
        return _with(net, EfficientChannelAttention)
    widths = [planes * net.block.expansion for planes in net.planes]
    kernel_size = dict(zip(widths, kernel_sizes, strict=True))
    return _with(net, lambda channels: EfficientChannelAttention(channels, kernel_size[channels]))


def _sk(net: ResNet, conv: ConvFactory = SelectiveKernelConv) -> ResNet:
    """Replace the strided 3x3 convolutions, unless told otherwise by SK[2, 32, 16] with L = 32."""
    return replace(net, style=replace(net.style, conv=conv))


def _digits_se(channels: int) -> nn.Module:
    """SE with 4 hidden units, as r = 16 would leave none for 8 channels."""
    return SqueezeExcitation(channels, reduction=channels // 4)


def _digits_sk(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """SK[2, 1, 16] with the lower limit L cut to the number of channels."""
    kernel = SelectiveKernel(groups=1, minimum=min(32, out_channels))
    return SelectiveKernelConv(in_channels, out_channels, stride, kernel=kernel)


_IMAGENET = Recipe(
    input_size=(224, 224),
    resize_method="shorter_side",
    resize_size=(256, 256),
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
_CIFAR = Recipe(
    input_size=(32, 32),
    resize_method="stretch",
    resize_size=(32, 32),
    interpolation="bilinear",
    mean=(0.4914, 0.4822, 0.4465),  # of CIFAR-10's training images
    std=(0.2470, 0.2435, 0.2616),
)
_DIGITS = Recipe(
    input_size=(16, 16),
    resize_method="stretch",
    resize_size=(16, 16),
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),  # [0, 1] becomes [-1, 1]
    std=(0.5, 0.5, 0.5),
)

_R18 = ResNet(block=BasicBlock, depths=(2, 2, 2, 2))
_R34 = ResNet(block=BasicBlock, depths=(3, 4, 6, 3))
_R50 = ResNet(block=Bottleneck, depths=(3, 4, 6, 3))
_R101 = ResNet(block=Bottleneck, depths=(3, 4, 23, 3))
_R152 = ResNet(block=Bottleneck, depths=(3, 8, 36, 3))
_32X4D = BlockStyle(groups=32, base_width=4)
_X26, _X50, _X101 = (
    ResNet(block=Bottleneck, depths=depths, style=_32X4D)
    for depths in ((2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3))
)
_C20, _C32, _C56, _C110 = (
    ResNet(block=BasicBlock, depths=(n, n, n), planes=(16, 32, 64), stem=cifar_stem) for n in (3, 5, 9, 18)
)
_C8 = ResNet(block=BasicBlock, depths=(1, 1, 1), planes=(8, 16, 32), stem=cifar_stem)

_RESNET = _Kind(family="resnet", attention="none", classes=1000, recipe=_IMAGENET)
_SE_RESNET = replace(_RESNET, attention="se")
_ECA_RESNET = replace(_RESNET, attention="eca")
_RESNEXT = replace(_RESNET, family="resnext")
_SE_RESNEXT = replace(_RESNEXT, attention="se")
_SKNET = replace(_RESNET, family="sknet", attention="sk")
_CIFAR_RESNET = replace(_RESNET, classes=10, recipe=_CIFAR)
_DIGITS_PLAIN = replace(_RESNET, classes=10, recipe=_DIGITS)
_DIGITS_SE, _DIGITS_ECA, _DIGITS_SK = (replace(_DIGITS_PLAIN, attention=kind) for kind in ("se", "eca", "sk"))

_HE = "He et al. 2015, arXiv:1512.03385"
_HU = "Hu et al. 2017, arXiv:1709.01507"
_WANG = "Wang et al. 2019, arXiv:1910.03151"
_LI = "Li et al. 2019, arXiv:1903.06586"
_TORCHVISION = f"{_HE}; accuracy of torchvision's IMAGENET1K_V1 weights"
_README = f"{_WANG}; k and accuracy of the authors' released weights"
_FORMULA = f"{_WANG}, equation 12 for k; no ImageNet figure of this form"
_DEMO = "demo on scikit-learn's handwritten digits: ResNet-8 of 8, 16 and 32 channels, after"

# kind, name, net, parameters, published top-1 accuracy in per cent, source
_ROWS = (
    _row(_RESNET, "resnet18", _R18, 11_689_512, 69.758, _TORCHVISION),
    _row(_RESNET, "resnet34", _R34, 21_797_672, 73.314, _TORCHVISION),
    _row(_RESNET, "resnet50", _R50, 25_557_032, 75.20, f"{_HE}; accuracy as re-trained in {_HU}, table 2"),
    _row(_RESNET, "resnet101", _R101, 44_549_160, 76.83, f"{_HE}; accuracy as re-trained in {_HU}, table 2"),
    _row(_RESNET, "resnet152", _R152, 60_192_808, 77.58, f"{_HE}; accuracy as re-trained in {_HU}, table 2"),
    _row(_SE_RESNET, "se_resnet18", _se(_R18), 11_778_592, None, f"{_HU}; no ImageNet figure there"),
    _row(_SE_RESNET, "se_resnet50", _se(_R50), 28_088_024, 76.71, f"{_HU}, table 2"),
    _row(_SE_RESNET, "se_resnet101", _se(_R101), 49_326_872, 77.62, f"{_HU}, table 2"),
    _row(_SE_RESNET, "se_resnet152", _se(_R152), 66_821_848, 78.43, f"{_HU}, table 2"),
    _row(_SE_RESNET, "se_resnet50_nobias", _se(_R50, bias=False), 28_071_976, 77.72, f"{_HU}, table 10"),
    _row(_ECA_RESNET, "eca_resnet18", _eca(_R18), 11_689_548, None, _FORMULA),
    _row(_ECA_RESNET, "eca_resnet34", _eca(_R34), 21_797_746, None, _FORMULA),
    _row(_ECA_RESNET, "eca_resnet50", _eca(_R50), 25_557_118, None, _FORMULA),
    _row(_ECA_RESNET, "eca_resnet101", _eca(_R101), 44_549_331, None, _FORMULA),
    _row(_ECA_RESNET, "eca_resnet152", _eca(_R152), 60_193_064, None, _FORMULA),
    _row(_ECA_RESNET, "eca_resnet18_k3577", _eca(_R18, 3, 5, 7, 7), 11_689_556, 70.92, _README),
    _row(_ECA_RESNET, "eca_resnet34_k3357", _eca(_R34, 3, 3, 5, 7), 21_797_744, 74.21, _README),
    _row(_ECA_RESNET, "eca_resnet50_k3557", _eca(_R50, 3, 5, 5, 7), 25_557_112, 77.48, f"{_WANG}, table 3"),
    _row(_ECA_RESNET, "eca_resnet101_k3357", _eca(_R101, 3, 3, 5, 7), 44_549_317, 78.65, f"{_WANG}, table 3"),
    _row(_ECA_RESNET, "eca_resnet152_k3357", _eca(_R152, 3, 3, 5, 7), 60_193_042, 78.92, f"{_WANG}, table 3"),
    _row(_RESNEXT, "resnext50_32x4d", _X50, 25_028_904, 77.89, f"as re-trained in {_HU}, table 2"),
    _row(_RESNEXT, "resnext101_32x4d", _X101, 44_177_704, 78.82, f"as re-trained in {_HU}, table 2"),
    _row(_SE_RESNEXT, "se_resnext50_32x4d", _se(_X50), 27_559_896, 78.90, f"{_HU}, table 2"),
    _row(_SE_RESNEXT, "se_resnext101_32x4d", _se(_X101), 48_955_416, 79.30, f"{_HU}, table 2"),
    _row(_SKNET, "sknet26", _sk(_X26), 16_746_408, None, f"{_LI}; its accuracy is only drawn, in figure 2"),
    _row(_SKNET, "sknet50", _sk(_X50), 27_479_784, 79.21, f"{_LI}, table 2"),
    _row(_SKNET, "sknet101", _sk(_X101), 48_736_040, 79.81, f"{_LI}, table 2"),
    _row(_CIFAR_RESNET, "resnet20", _C20, 272_474, 91.25, f"{_HE}, table 6"),
    _row(_CIFAR_RESNET, "resnet32", _C32, 466_906, 92.49, f"{_HE}, table 6"),
    _row(_CIFAR_RESNET, "resnet56", _C56, 855_770, 93.03, f"{_HE}, table 6"),
    _row(_CIFAR_RESNET, "resnet110", _C110, 1_730_714, 93.57, f"{_HE}, table 6"),
    _row(_DIGITS_PLAIN, "digits_plain", _C8, 19_954, None, f"{_DEMO} {_HE}"),
    _row(_DIGITS_SE, "digits_se", _with(_C8, _digits_se), 20_470, None, f"{_DEMO} {_HU}"),
    _row(_DIGITS_ECA, "digits_eca", _eca(_C8), 19_963, None, f"{_DEMO} {_WANG}"),
    _row(_DIGITS_SK, "digits_sk", _sk(_C8, _digits_sk), 30_546, None, f"{_DEMO} {_LI}"),
)

TABLE: Mapping[str, Row] = MappingProxyType({row.name: row for row in _ROWS})
"""Name -> row, in the order in which they are listed to users."""
