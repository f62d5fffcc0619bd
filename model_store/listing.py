"""The zoo as `attnserve zoo` lists it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from model_store import zoo


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
        form: torch or caffe: which of two graphs that no weight's shape tells apart.
        published_top1: Per cent; None: none known.
        published: All published figures, each with top1 and top5 in per cent and its source.
        weights: Where trained weights are known to exist.
        source: Of the net.
    """

    name: str
    family: str
    attention: str
    parameters: int
    macs: int
    input_size: tuple[int, int]
    classes: int
    form: zoo.Form
    published_top1: float | None
    published: tuple[zoo.Published, ...]
    weights: tuple[zoo.KnownWeights, ...]
    source: str

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def listing() -> list[Listed]:
    """Every net of the zoo, in the table's order."""
    return [listed(row) for row in zoo.TABLE.values()]


def listed(row: zoo.Row) -> Listed:
    """Return one net of the zoo as it is listed."""
    return Listed(
        name=row.name,
        family=row.family,
        attention=row.attention,
        parameters=row.parameters,
        macs=row.macs,
        input_size=row.recipe.input_size,
        classes=row.classes,
        form=row.form,
        published_top1=row.published_top1,
        published=row.published,
        weights=row.weights,
        source=row.source,
    )
