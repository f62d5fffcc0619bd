"""ResNet-50 as the ablations of the SE and the ECA paper vary its attention.

SE has no biases here, as in both papers' ablations. The ECA paper shows the effect of k as a figure only, so
but for k = 3 its nets have no published accuracy.
"""

from dataclasses import replace
from functools import partial
from typing import Final

from model_store.nets.residual import AttentionFactory, Position
from model_store.nets.resnet import ResNet
from model_store.nets.se import SqueezeExcitation
from model_store.nets.se_variants import ECANS, SEGC, SEVar1, SEVar2, SEVar3
from model_store.zoo.parts import HU, R50, WANG, Kind, row, with_attention, with_eca, with_se

_SE: Final = with_se(R50, bias=False)


def _at(position: Position) -> ResNet:
    """Return SE-ResNet-50 with its attention in another place."""
    return replace(_SE, style=replace(_SE.style, position=position))


def _only_in(stage: int) -> ResNet:
    """Return SE-ResNet-50 with attention in a single stage, counted as in the paper: the first is conv2_x."""
    return replace(_SE, attention_stages=frozenset({stage - 1}))


def _with(attention: AttentionFactory) -> ResNet:
    """Return ResNet-50 with an attention."""
    return with_attention(R50, attention)


_max: Final = partial(SqueezeExcitation, bias=False, squeeze="max")

_RATIO: Final = Kind(family="resnet", attention="se", source=f"{HU}, section 6.1")
_SQUEEZE: Final = replace(_RATIO, source=f"{HU}, section 6.2")
_STAGE: Final = replace(_RATIO, source=f"{HU}, section 6.4")
_PLACE: Final = replace(_RATIO, source=f"{HU}, section 6.5")
_VARIANT: Final = replace(_RATIO, source=f"{WANG}, section 3.2")
_OWN_BAND: Final = replace(_VARIANT, attention="eca")
_FIXED: Final = replace(_OWN_BAND, source=f"{WANG}, section 4.1, k the same in all stages")

# kind, name, net, parameters, multiply-adds
ROWS: Final = (
    row(_RATIO, "se_resnet50_r2", with_se(R50, 2, bias=False), 45_676_584, 4_109_303_808),
    row(_RATIO, "se_resnet50_r4", with_se(R50, 4, bias=False), 35_616_808, 4_099_244_032),
    row(_RATIO, "se_resnet50_r8", with_se(R50, 8, bias=False), 30_586_920, 4_094_214_144),
    row(_RATIO, "se_resnet50_r32", with_se(R50, 32, bias=False), 26_814_504, 4_090_441_728),
    row(_SQUEEZE, "se_resnet50_max", _with(_max), 28_071_976, 4_091_699_200),
    row(_STAGE, "se_resnet50_stage2", _only_in(2), 25_581_608, 4_089_208_832),
    row(_STAGE, "se_resnet50_stage3", _only_in(3), 25_688_104, 4_089_315_328),
    row(_STAGE, "se_resnet50_stage4", _only_in(4), 26_343_464, 4_089_970_688),
    row(_PLACE, "se_resnet50_pre", _at("pre"), 27_548_200, 4_091_175_424),
    row(_PLACE, "se_resnet50_post", _at("post"), 28_071_976, 4_091_699_200),
    row(_PLACE, "se_resnet50_identity", _at("identity"), 28_071_976, 4_091_699_200),
    row(_PLACE, "se_resnet50_3x3", _at("3x3"), 25_714_216, 4_089_341_440),
    row(_VARIANT, "se_resnet50_var1", _with(SEVar1), 25_557_032, 4_089_184_256),
    row(_VARIANT, "se_resnet50_var2", _with(SEVar2), 25_572_136, 4_089_199_360),
    row(_VARIANT, "se_resnet50_var3", _with(SEVar3), 45_676_584, 4_109_303_808),
    row(_VARIANT, "se_resnet50_gc1", _with(lambda channels: SEGC(channels, 16)), 26_814_504, 4_090_441_728),
    row(
        _VARIANT,
        "se_resnet50_gc2",
        _with(lambda channels: SEGC(channels, channels // 16)),
        25_798_696,
        4_089_425_920,
    ),
    row(
        _VARIANT,
        "se_resnet50_gc3",
        _with(lambda channels: SEGC(channels, channels // 8)),
        25_677_864,
        4_089_305_088,
    ),
    row(_OWN_BAND, "eca_resnet50_ns", _with(ECANS), 25_602_344, 4_089_229_568),
    row(_FIXED, "eca_resnet50_k3", with_eca(R50, 3, 3, 3, 3), 25_557_080, 4_089_229_568),
    row(_FIXED, "eca_resnet50_k5", with_eca(R50, 5, 5, 5, 5), 25_557_112, 4_089_259_776),
    row(_FIXED, "eca_resnet50_k7", with_eca(R50, 7, 7, 7, 7), 25_557_144, 4_089_289_984),
    row(_FIXED, "eca_resnet50_k9", with_eca(R50, 9, 9, 9, 9), 25_557_176, 4_089_320_192),
)
