"""The nets that the authors of SE and SK released, in the form that Caffe gave them; timm added smaller ones.

The stem's pooling is rounded up instead of padded, and a bottleneck's stride is on the first 1x1 convolution,
but for ResNeXt and SK. Weights of that form fit the other one's shapes, and give wrong answers there.
"""

from dataclasses import replace
from functools import partial
from typing import Final, Literal

from torch import nn

from model_store.nets.resnet import ResNet, caffe_stem
from model_store.nets.sk import SelectiveKernel, SelectiveKernelConv
from model_store.zoo.parts import (
    BICUBIC,
    HU,
    LI,
    R18,
    R34,
    R50,
    R101,
    R152,
    X26,
    X50,
    X101,
    Kind,
    row,
    with_se,
    with_sk,
)


def _caffe(net: ResNet, stride_on: Literal["3x3", "1x1"]) -> ResNet:
    """Return a net in the Caffe form."""
    return replace(net, stem=caffe_stem, style=replace(net.style, stride_on=stride_on))


_resnet: Final = partial(_caffe, stride_on="1x1")
_resnext: Final = partial(_caffe, stride_on="3x3")


def _basic(net: ResNet) -> ResNet:
    """Return a net of basic blocks as timm's legacy nets have it: with a ReLU before each SE."""
    return _resnet(replace(net, style=replace(net.style, rectified=True)))


def _released_sk101(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """SK[2, 32, 16] with d = 16 instead of L = 32 in the second stage, as sknet101.prototxt has it."""
    minimum = 16 if out_channels == _SECOND_STAGE else 32
    kernel = SelectiveKernel(minimum=minimum)
    return SelectiveKernelConv(in_channels, out_channels, stride, kernel=kernel)


_SECOND_STAGE: Final = 256  # channels of its 3x3 convolutions

_SE_RESNET: Final = Kind(family="resnet", attention="se", source=f"{HU}, as released", form="caffe")
_SE_BICUBIC: Final = replace(_SE_RESNET, source=f"{HU}, as in timm's legacy nets", recipe=BICUBIC)
_SE_LEGACY: Final = replace(_SE_RESNET, source=f"{HU}, as in timm's legacy nets")
_SE_RESNEXT: Final = replace(_SE_RESNET, family="resnext")
_SE_RESNEXT_BICUBIC: Final = replace(_SE_BICUBIC, family="resnext")
_SKNET: Final = Kind(family="sknet", attention="sk", source=f"{LI}, as released", form="caffe")

# kind, name, net, parameters, multiply-adds
ROWS: Final = (
    row(_SE_BICUBIC, "se_resnet18_caffe", _basic(with_se(R18)), 11_778_592, 1_814_160_384),
    row(_SE_LEGACY, "se_resnet34_caffe", _basic(with_se(R34)), 21_958_868, 3_663_918_592),
    row(_SE_RESNET, "se_resnet50_caffe", _resnet(with_se(R50)), 28_088_024, 3_860_488_192),
    row(_SE_RESNET, "se_resnet101_caffe", _resnet(with_se(R101)), 49_326_872, 7_574_937_600),
    row(_SE_RESNET, "se_resnet152_caffe", _resnet(with_se(R152)), 66_821_848, 11_288_993_792),
    row(_SE_RESNEXT_BICUBIC, "se_resnext26_32x4d_caffe", _resnext(with_se(X26)), 16_790_280, 2_472_099_840),
    row(_SE_RESNEXT, "se_resnext50_32x4d_caffe", _resnext(with_se(X50)), 27_559_896, 4_232_994_816),
    row(_SE_RESNEXT, "se_resnext101_32x4d_caffe", _resnext(with_se(X101)), 48_955_416, 7_974_739_968),
    row(_SKNET, "sknet50_caffe", _resnext(with_sk(X50)), 27_479_784, 4_462_710_784),
    row(_SKNET, "sknet101_caffe", _resnext(with_sk(X101, _released_sk101)), 48_686_760, 8_448_675_840),
)
