"""MobileNetV2, BN-Inception and SENet-154, and the attentions that came after SE on ResNet-50.

Two families exist in Caffe's form: BN-Inception in no other, and SENet-154, whose authors' weights belong to
the one and later trainings to the other.
"""

from dataclasses import replace
from functools import partial
from typing import Final

from torch import nn

from model_store.nets.bam import BottleneckAttention
from model_store.nets.cbam import ConvolutionalBlockAttention
from model_store.nets.eca import EfficientChannelAttention
from model_store.nets.inception import BNInception
from model_store.nets.mobilenet import MobileNetV2
from model_store.nets.residual import BlockStyle, Bottleneck, wide_projection
from model_store.nets.resnet import ResNet, deep_stem
from model_store.nets.scse import SpatialChannelSE
from model_store.nets.se import SqueezeExcitation
from model_store.zoo.parts import HU, R50, WANG, Kind, row, with_attention, with_se

_NARROW: Final = 96


def _released_eca(channels: int) -> nn.Module:
    """ECA as in the authors' MobileNetV2, where a narrow block's is a single number."""
    return EfficientChannelAttention(channels, kernel_size=1 if channels < _NARROW else 3)


def _se_8(channels: int) -> nn.Module:
    """SE with r = 8, without biases like the other SE nets of the ECA paper's tables."""
    return SqueezeExcitation(channels, reduction=8, bias=False)


_SENET_STEM: Final = partial(deep_stem, inner=(64, 64))
_SENET154: Final = with_se(
    ResNet(
        block=Bottleneck,
        depths=(3, 8, 36, 3),
        style=BlockStyle(groups=64, base_width=4, reduce_first=2, shortcut=wide_projection),
        stem=_SENET_STEM,
        stem_width=128,
        dropout=0.2,
    )
)
_SENET154_CAFFE: Final = replace(_SENET154, stem=partial(_SENET_STEM, ceil=True))

_SANDLER: Final = "Sandler et al. 2018, arXiv:1801.04381"
_IOFFE: Final = "Ioffe, Szegedy 2015, arXiv:1502.03167"
_WOO: Final = "Woo et al. 2018, arXiv:1807.06521"
_PARK: Final = "Park et al. 2018, arXiv:1807.06514"
_ROY: Final = "Roy et al. 2018, arXiv:1803.02579"

_MOBILENET: Final = Kind(family="mobilenet", attention="none", source=_SANDLER)
_SE_MOBILENET: Final = replace(_MOBILENET, attention="se", source=f"{WANG}, table 3, r = 8")
_ECA_MOBILENET: Final = replace(_MOBILENET, attention="eca", source=f"{WANG}, equation 12 for k")
_ECA_RELEASED: Final = replace(_ECA_MOBILENET, source=f"{WANG}; k of the authors' released weights")
_INCEPTION: Final = Kind(family="inception", attention="none", source=_IOFFE, form="caffe")
_SE_INCEPTION: Final = replace(_INCEPTION, attention="se", source=f"{HU}; SE after each module")
_SENET: Final = Kind(family="senet", attention="se", source=f"{HU}, appendix")
_SENET_CAFFE: Final = replace(_SENET, source=f"{HU}, as released", form="caffe")
_CBAM: Final = Kind(family="resnet", attention="cbam", source=f"{_WOO}; the authors' code")
_BAM: Final = Kind(
    family="resnet", attention="bam", source=f"{_PARK}; the authors' code, after stages 1 to 3"
)
_SCSE: Final = Kind(family="resnet", attention="scse", source=f"{_ROY}; in the place of SE in SE-ResNet-50")

# kind, name, net, parameters, multiply-adds
ROWS: Final = (
    row(_MOBILENET, "mobilenet_v2", MobileNetV2(), 3_504_872, 300_774_272),
    row(_SE_MOBILENET, "se_mobilenet_v2", MobileNetV2(attention=_se_8), 3_561_800, 300_831_200),
    row(
        _ECA_MOBILENET,
        "eca_mobilenet_v2",
        MobileNetV2(attention=EfficientChannelAttention),
        3_504_931,
        300_780_384,
    ),
    row(_ECA_RELEASED, "eca_mobilenet_v2_k13", MobileNetV2(attention=_released_eca), 3_504_903, 300_777_952),
    row(_INCEPTION, "bn_inception", BNInception(), 11_285_224, 2_032_600_064),
    row(
        _SE_INCEPTION, "se_bn_inception", BNInception(attention=SqueezeExcitation), 11_931_622, 2_033_239_424
    ),
    row(_SENET, "senet154", _SENET154, 115_088_984, 20_688_363_520),
    row(_SENET_CAFFE, "senet154_caffe", _SENET154_CAFFE, 115_088_984, 20_688_363_520),
    row(_CBAM, "cbam_resnet50", with_attention(R50, ConvolutionalBlockAttention), 28_089_624, 4_095_573_110),
    row(_BAM, "bam_resnet50", replace(R50, between=BottleneckAttention), 25_915_099, 4_171_331_328),
    row(_SCSE, "scse_resnet50", with_attention(R50, SpatialChannelSE), 45_714_360, 4_114_823_168),
)
