"""The zoo as `attnserve zoo` lists it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

import torch

from model_store import counts, zoo

# Counting takes seconds for the whole zoo, so the counts are written down, and a test counts again.
MACS: Final = MappingProxyType(
    {
        "resnet18": 1_814_073_344,
        "resnet34": 3_663_761_408,
        "resnet50": 4_089_184_256,
        "resnet101": 7_801_405_440,
        "resnet152": 11_513_626_624,
        "se_resnet18": 1_814_160_384,
        "se_resnet50": 4_091_699_200,
        "se_resnet101": 7_806_148_608,
        "se_resnet152": 11_520_204_800,
        "se_resnet50_nobias": 4_091_699_200,
        "eca_resnet18": 1_814_082_688,
        "eca_resnet34": 3_663_779_904,
        "eca_resnet50": 4_089_272_064,
        "eca_resnet101": 7_801_580_288,
        "eca_resnet152": 11_513_878_272,
        "eca_resnet18_k3577": 1_814_085_760,
        "eca_resnet34_k3357": 3_663_781_952,
        "eca_resnet50_k3557": 4_089_270_528,
        "eca_resnet101_k3357": 7_801_574_656,
        "eca_resnet152_k3357": 11_513_868_544,
        "resnext50_32x4d": 4_230_479_872,
        "resnext101_32x4d": 7_969_996_800,
        "se_resnext50_32x4d": 4_232_994_816,
        "se_resnext101_32x4d": 7_974_739_968,
        "sknet26": 2_586_877_952,
        "sknet50": 4_462_710_784,
        "sknet101": 8_448_724_992,
        "resnet20": 40_813_184,
        "resnet32": 69_124_736,
        "resnet56": 125_747_840,
        "resnet110": 253_149_824,
        "digits_plain": 809_280,
        "digits_se": 809_728,
        "digits_eca": 809_448,
        "digits_sk": 1_108_224,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of the list.

    Attributes:
        name: What users ask for.
        family: Of the backbone.
        attention: none, se, eca, sk, ...
        parameters: With `classes` classes.
        macs: Multiply-adds of one image at `input_size`: what papers call FLOPs.
        input_size: (H, W) in pixels.
        classes: Of the data set that the net is documented on.
        published_top1: Per cent; None: none known.
        source: Of the net and of that figure.
    """

    name: str
    family: str
    attention: str
    parameters: int
    macs: int
    input_size: tuple[int, int]
    classes: int
    published_top1: float | None
    source: str

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def listing() -> list[Listed]:
    """Every net of the zoo, in the table's order."""
    return [
        Listed(
            name=row.name,
            family=row.family,
            attention=row.attention,
            parameters=row.parameters,
            macs=MACS[row.name] if row.name in MACS else count_macs(row),
            input_size=row.recipe.input_size,
            classes=row.classes,
            published_top1=row.published_top1,
            source=row.source,
        )
        for row in zoo.TABLE.values()
    ]


def count_macs(row: zoo.Row) -> int:
    """Count a row's multiply-adds on a net without data."""
    with torch.device("meta"):
        net = row.build(row.classes)
    return counts.macs(net, row.recipe.input_size)
