"""Nets for small pictures: CIFAR's, and the demo's on scikit-learn's handwritten digits.

SE has no biases in CIFAR's nets. With r = 16 the stage of 16 channels has a single hidden unit, so ResNets
come with r = 4, too.
"""

from dataclasses import replace
from functools import partial
from typing import Final

from torch import nn

from model_store.nets.residual import BasicBlock, BlockStyle, Bottleneck
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
    XIE,
    Kind,
    row,
    with_attention,
    with_eca,
    with_se,
    with_sk,
)
from model_store.zoo.row import Recipe

# --- CIFAR ------------------------------------------------------------------------------------------------

_KERNELS: Final = ((3, 1), (1, 1))  # the second branch is 1x1: the pictures are too small for 5x5
_sk: Final = partial(SelectiveKernelConv, kernel=SelectiveKernel(groups=1, kernels=_KERNELS))
_sk29: Final = partial(
    SelectiveKernelConv, kernel=SelectiveKernel(groups=16, reduction=32, minimum=1, kernels=_KERNELS)
)


def _x29(groups: int, base_width: int) -> ResNet:
    """Return ResNeXt-29 with groups of so many channels in its first stage."""
    style = BlockStyle(groups=groups, base_width=base_width)
    return ResNet(block=Bottleneck, depths=(3, 3, 3), planes=(64, 128, 256), style=style, stem=cifar_stem)


_se: Final = partial(with_se, bias=False)
_se4: Final = partial(with_se, reduction=4, bias=False)

_RESNET: Final = Kind(family="resnet", attention="none", source=HE, classes=10, recipe=CIFAR)
_SE: Final = replace(_RESNET, attention="se", source=HU)
_SE4: Final = replace(_SE, source=f"{HU}; r = 4")
_ECA: Final = replace(_RESNET, attention="eca", source=f"{WANG}, equation 12 for k")
_SK: Final = replace(_RESNET, attention="sk", source=f"{LI}; SK[2, 1, 16] with kernels 3x3 and 1x1")
_RESNEXT: Final = replace(_RESNET, family="resnext", source=XIE)
_SE_RESNEXT: Final = replace(_RESNEXT, attention="se", source=HU)
_SK29: Final = replace(
    _SK, family="sknet", source=f"{LI}; SK[2, 16, 32] with kernels 3x3 and 1x1, and d = C / r"
)

# --- digits -----------------------------------------------------------------------------------------------


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

_DEMO: Final = "demo on scikit-learn's handwritten digits: ResNet-8 of 8, 16 and 32 channels, after"
_DIGITS: Final = replace(_RESNET, recipe=_DIGITS_RECIPE, source=f"{_DEMO} {HE}")
_DIGITS_SE: Final = replace(_DIGITS, attention="se", source=f"{_DEMO} {HU}")
_DIGITS_ECA: Final = replace(_DIGITS, attention="eca", source=f"{_DEMO} {WANG}")
_DIGITS_SK: Final = replace(_DIGITS, attention="sk", source=f"{_DEMO} {LI}")

# kind, name, net, parameters, multiply-adds
ROWS: Final = (
    row(_RESNET, "resnet20", C20, 272_474, 40_813_184),
    row(_RESNET, "resnet32", C32, 466_906, 69_124_736),
    row(_RESNET, "resnet56", C56, 855_770, 125_747_840),
    row(_RESNET, "resnet110", C110, 1_730_714, 253_149_824),
    row(_SE, "se_resnet20", _se(C20), 274_490, 40_815_200),
    row(_SE, "se_resnet32", _se(C32), 470_266, 69_128_096),
    row(_SE, "se_resnet56", _se(C56), 861_818, 125_753_888),
    row(_SE, "se_resnet110", _se(C110), 1_742_810, 253_161_920),
    row(_SE4, "se_resnet20_r4", _se4(C20), 280_538, 40_821_248),
    row(_SE4, "se_resnet32_r4", _se4(C32), 480_346, 69_138_176),
    row(_SE4, "se_resnet56_r4", _se4(C56), 879_962, 125_772_032),
    row(_SE4, "se_resnet110_r4", _se4(C110), 1_779_098, 253_198_208),
    row(_ECA, "eca_resnet20", with_eca(C20), 272_501, 40_814_192),
    row(_ECA, "eca_resnet32", with_eca(C32), 466_951, 69_126_416),
    row(_ECA, "eca_resnet56", with_eca(C56), 855_851, 125_750_864),
    row(_ECA, "eca_resnet110", with_eca(C110), 1_730_876, 253_155_872),
    row(_SK, "sk_resnet20", with_sk(C20, _sk), 319_546, 42_942_592),
    row(_SK, "sk_resnet32", with_sk(C32, _sk), 547_066, 72_848_512),
    row(_SK, "sk_resnet56", with_sk(C56, _sk), 1_002_106, 132_660_352),
    row(_SK, "sk_resnet110", with_sk(C110, _sk), 2_025_946, 267_236_992),
    row(_RESNEXT, "resnext29_16x32d", _x29(16, 32), 25_136_970, 4_028_311_552),
    row(_RESNEXT, "resnext29_8x64d", _x29(8, 64), 34_426_698, 5_387_266_048),
    row(_RESNEXT, "resnext29_16x64d", _x29(16, 64), 68_155_210, 10_688_866_304),
    row(_SE_RESNEXT, "se_resnext29_16x32d", _se(_x29(16, 32)), 25_653_066, 4_028_827_648),
    row(_SE_RESNEXT, "se_resnext29_8x64d", _se(_x29(8, 64)), 34_942_794, 5_387_782_144),
    row(_SK29, "sknet29", with_sk(_x29(16, 32), _sk29), 27_739_626, 4_180_854_784),
    row(_DIGITS, "digits_plain", _C8, 19_954, 809_280),
    row(_DIGITS_SE, "digits_se", with_attention(_C8, _digits_se), 20_470, 809_728),
    row(_DIGITS_ECA, "digits_eca", with_eca(_C8), 19_963, 809_448),
    row(_DIGITS_SK, "digits_sk", with_sk(_C8, _digits_sk), 30_546, 1_108_224),
)
