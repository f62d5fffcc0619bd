"""Residual nets on ImageNet: plain, with SE, ECA and SK, as their papers' main tables have them.

The form is PyTorch's: the stride on the 3x3 convolution, the stem's pooling padded by 1. SE has biases, as in
its authors' released models.
"""

from dataclasses import replace
from typing import Final

from model_store.zoo.parts import (
    HE,
    HU,
    LI,
    R18,
    R34,
    R50,
    R101,
    R152,
    WANG,
    X26,
    X50,
    X101,
    XIE,
    Kind,
    row,
    with_eca,
    with_se,
    with_sk,
)

_RESNET: Final = Kind(family="resnet", attention="none", source=HE)
_SE_RESNET: Final = replace(_RESNET, attention="se", source=HU)
_ECA_RESNET: Final = replace(_RESNET, attention="eca", source=f"{WANG}, equation 12 for k")
_ECA_RELEASED: Final = replace(_ECA_RESNET, source=f"{WANG}; k of the authors' released weights")
_RESNEXT: Final = Kind(family="resnext", attention="none", source=XIE)
_SE_RESNEXT: Final = replace(_RESNEXT, attention="se", source=HU)
_SKNET: Final = Kind(family="sknet", attention="sk", source=LI)

# kind, name, net, parameters, multiply-adds
ROWS: Final = (
    row(_RESNET, "resnet18", R18, 11_689_512, 1_814_073_344),
    row(_RESNET, "resnet34", R34, 21_797_672, 3_663_761_408),
    row(_RESNET, "resnet50", R50, 25_557_032, 4_089_184_256),
    row(_RESNET, "resnet101", R101, 44_549_160, 7_801_405_440),
    row(_RESNET, "resnet152", R152, 60_192_808, 11_513_626_624),
    row(_SE_RESNET, "se_resnet18", with_se(R18), 11_778_592, 1_814_160_384),
    row(_SE_RESNET, "se_resnet34", with_se(R34), 21_958_868, 3_663_918_592),
    row(_SE_RESNET, "se_resnet50", with_se(R50), 28_088_024, 4_091_699_200),
    row(_SE_RESNET, "se_resnet101", with_se(R101), 49_326_872, 7_806_148_608),
    row(_SE_RESNET, "se_resnet152", with_se(R152), 66_821_848, 11_520_204_800),
    row(_SE_RESNET, "se_resnet50_nobias", with_se(R50, bias=False), 28_071_976, 4_091_699_200),
    row(_ECA_RESNET, "eca_resnet18", with_eca(R18), 11_689_548, 1_814_082_688),
    row(_ECA_RESNET, "eca_resnet34", with_eca(R34), 21_797_746, 3_663_779_904),
    row(_ECA_RESNET, "eca_resnet50", with_eca(R50), 25_557_118, 4_089_272_064),
    row(_ECA_RESNET, "eca_resnet101", with_eca(R101), 44_549_331, 7_801_580_288),
    row(_ECA_RESNET, "eca_resnet152", with_eca(R152), 60_193_064, 11_513_878_272),
    row(_ECA_RELEASED, "eca_resnet18_k3577", with_eca(R18, 3, 5, 7, 7), 11_689_556, 1_814_085_760),
    row(_ECA_RELEASED, "eca_resnet34_k3357", with_eca(R34, 3, 3, 5, 7), 21_797_744, 3_663_781_952),
    row(_ECA_RELEASED, "eca_resnet50_k3557", with_eca(R50, 3, 5, 5, 7), 25_557_112, 4_089_270_528),
    row(_ECA_RELEASED, "eca_resnet101_k3357", with_eca(R101, 3, 3, 5, 7), 44_549_317, 7_801_574_656),
    row(_ECA_RELEASED, "eca_resnet152_k3357", with_eca(R152, 3, 3, 5, 7), 60_193_042, 11_513_868_544),
    row(_RESNEXT, "resnext50_32x4d", X50, 25_028_904, 4_230_479_872),
    row(_RESNEXT, "resnext101_32x4d", X101, 44_177_704, 7_969_996_800),
    row(_SE_RESNEXT, "se_resnext26_32x4d", with_se(X26), 16_790_280, 2_472_099_840),
    row(_SE_RESNEXT, "se_resnext50_32x4d", with_se(X50), 27_559_896, 4_232_994_816),
    row(_SE_RESNEXT, "se_resnext101_32x4d", with_se(X101), 48_955_416, 7_974_739_968),
    row(_SKNET, "sknet26", with_sk(X26), 16_746_408, 2_586_877_952),
    row(_SKNET, "sknet50", with_sk(X50), 27_479_784, 4_462_710_784),
    row(_SKNET, "sknet101", with_sk(X101), 48_736_040, 8_448_724_992),
)
