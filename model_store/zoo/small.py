"""Nets for small pictures: CIFAR's, and the demo's on scikit-learn's handwritten digits."""

from dataclasses import replace
from typing import Final

from torch import nn

from model_store.nets.residual import BasicBlock
from model_store.nets.resnet import ResNet, cifar_stem
from model_store.nets.se import SqueezeExcitation
from model_store.nets.sk import SelectiveKernel, SelectiveKernelConv
from model_store.zoo.parts import (
    C20,
    C32,
    C56,
    C110,
    CIFAR,
    HE,
    HU,
    LI,
    WANG,
    Kind,
    accuracy,
    row,
    with_attention,
    with_eca,
    with_sk,
)
from model_store.zoo.row import Recipe


def _digits_se(channels: int) -> nn.Module:
    """SE with 4 hidden units, as r = 16 would leave none for 8 channels."""
    return SqueezeExcitation(channels, reduction=channels // 4)


def _digits_sk(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """SK[2, 1, 16] with the lower limit L cut to the number of channels."""
    kernel = SelectiveKernel(groups=1, minimum=min(32, out_channels))
    return SelectiveKernelConv(in_channels, out_channels, stride, kernel=kernel)


_DIGITS_RECIPE: Final = Recipe(
    input_size=(16, 16),
    resize_method="stretch",
    resize_size=(16, 16),
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),  # [0, 1] becomes [-1, 1]
    std=(0.5, 0.5, 0.5),
)
_C8: Final = ResNet(block=BasicBlock, depths=(1, 1, 1), planes=(8, 16, 32), stem=cifar_stem)

_CIFAR: Final = Kind(family="resnet", attention="none", source=HE, classes=10, recipe=CIFAR)
_DEMO: Final = "demo on scikit-learn's handwritten digits: ResNet-8 of 8, 16 and 32 channels, after"
_DIGITS: Final = replace(_CIFAR, recipe=_DIGITS_RECIPE, source=f"{_DEMO} {HE}")
_DIGITS_SE: Final = replace(_DIGITS, attention="se", source=f"{_DEMO} {HU}")
_DIGITS_ECA: Final = replace(_DIGITS, attention="eca", source=f"{_DEMO} {WANG}")
_DIGITS_SK: Final = replace(_DIGITS, attention="sk", source=f"{_DEMO} {LI}")

_HE_6: Final = f"{HE}, table 6"

# kind, name, net, parameters, multiply-adds, what was published
ROWS: Final = (
    row(_CIFAR, "resnet20", C20, 272_474, 40_813_184, accuracy(91.25, None, _HE_6)),
    row(_CIFAR, "resnet32", C32, 466_906, 69_124_736, accuracy(92.49, None, _HE_6)),
    row(_CIFAR, "resnet56", C56, 855_770, 125_747_840, accuracy(93.03, None, _HE_6)),
    row(_CIFAR, "resnet110", C110, 1_730_714, 253_149_824, accuracy(93.57, None, _HE_6)),
    row(_DIGITS, "digits_plain", _C8, 19_954, 809_280),
    row(_DIGITS_SE, "digits_se", with_attention(_C8, _digits_se), 20_470, 809_728),
    row(_DIGITS_ECA, "digits_eca", with_eca(_C8), 19_963, 809_448),
    row(_DIGITS_SK, "digits_sk", with_sk(_C8, _digits_sk), 30_546, 1_108_224),
)
