"""Nets with ECA and SK that timm defined and trained, and no paper has.

"d" is the ResNet-D of He et al. (2018), arXiv:1812.01187, figures 2b and 2c: a stem of three convolutions,
and shortcuts that take means; "t" has a narrower stem. The SK of timm's ResNets shows each branch half of the
channels. Images are prepared as timm does for the first of its weights: for two of the nets at 256 pixels.
"""

from dataclasses import replace
from functools import partial
from typing import Final

from model_store.nets.residual import average_projection
from model_store.nets.resnet import ResNet, Stem, deep_stem
from model_store.nets.sk import SelectiveKernel, SelectiveKernelConv
from model_store.zoo.parts import (
    BICUBIC,
    LI,
    R18,
    R26,
    R34,
    R50,
    R101,
    WANG,
    Kind,
    row,
    with_eca,
    with_sk,
)


def _averaging(net: ResNet) -> ResNet:
    """Return a net whose shortcuts take means."""
    return replace(net, style=replace(net.style, shortcut=average_projection))


def _d(net: ResNet, stem: Stem = deep_stem) -> ResNet:
    """Return a net in the form of ResNet-D."""
    return replace(_averaging(net), stem=stem)


_t: Final = partial(_d, stem=partial(deep_stem, inner=(24, 32)))

_LIGHT: Final = _averaging(replace(R50, depths=(1, 1, 11, 3)))
_small_sk: Final = partial(
    SelectiveKernelConv, kernel=SelectiveKernel(groups=1, reduction=8, minimum=16, split=True)
)
_sk: Final = partial(
    SelectiveKernelConv, kernel=SelectiveKernel(groups=1, reduction=16, minimum=8, split=True)
)

_AT_256: Final = replace(BICUBIC, input_size=(256, 256), resize_size=(292, 292))
_ECA: Final = Kind(family="resnet", attention="eca", source=f"timm; ECA of {WANG}", recipe=BICUBIC)
_ECA_256: Final = replace(_ECA, recipe=_AT_256)
_SK: Final = replace(_ECA, attention="sk", source=f"timm; SK of {LI}")

# kind, name, net, parameters, multiply-adds
ROWS: Final = (
    row(_ECA_256, "ecaresnet26t", with_eca(_t(R26)), 16_011_916, 3_330_405_888),
    row(_ECA, "ecaresnet50d", with_eca(_d(R50)), 25_576_350, 4_328_912_640),
    row(_ECA_256, "ecaresnet50t", with_eca(_t(R50)), 25_573_814, 5_612_148_480),
    row(_ECA, "ecaresnet101d", with_eca(_d(R101)), 44_568_563, 8_041_220_864),
    row(_ECA, "ecaresnetlight", with_eca(_LIGHT), 30_162_046, 4_089_287_424),
    row(_SK, "skresnet18", with_sk(R18, _small_sk), 11_958_056, 1_814_337_536),
    row(_SK, "skresnet34", with_sk(R34, _small_sk), 22_282_376, 3_664_237_568),
    row(_SK, "skresnet50", with_sk(R50, _sk), 25_803_160, 4_089_422_336),
    row(_SK, "skresnet50d", with_sk(_d(R50), _sk), 25_822_392, 4_329_062_912),
)
