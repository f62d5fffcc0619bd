"""The zoo as `attnserve zoo` lists it: its rows as plain values, filtered and sorted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args

from model_store import zoo
from model_store.errors import InputError

SortBy: TypeAlias = Literal["name", "parameters", "macs", "top1"]


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
        twin: The same net in the other form; None: there is none.
        published_top1: Per cent; None: none known.
        published_top5: Per cent; None: none known.
        published: All published figures, each with top1 and top5 in per cent and its source.
        weights: Where trained weights are known to exist.
        preprocessing: How an image becomes its input.
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
    twin: str | None
    published_top1: float | None
    published_top5: float | None
    published: tuple[zoo.Published, ...]
    weights: tuple[zoo.KnownWeights, ...]
    preprocessing: zoo.Recipe
    source: str

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which nets are wanted; None: any.

    Attributes:
        family: Of the backbone.
        attention: none, se, eca, sk, ...
        form: torch or caffe.
    """

    family: str | None = None
    attention: str | None = None
    form: str | None = None


_SORT: Final[Mapping[SortBy, Callable[[Listed], Any]]] = MappingProxyType(
    {
        "name": lambda row: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", row.name)],
        "parameters": lambda row: row.parameters,
        "macs": lambda row: row.macs,
        "top1": lambda row: row.published_top1,
    }
)


def listing() -> list[Listed]:
    """Every net of the zoo, in the table's order."""
    return [listed(row) for row in zoo.TABLE.values()]


def listed(row: zoo.Row) -> Listed:
    """Return one net of the zoo as it is listed."""
    twin = zoo.twin(row)
    return Listed(
        name=row.name,
        family=row.family,
        attention=row.attention,
        parameters=row.parameters,
        macs=row.macs,
        input_size=row.recipe.input_size,
        classes=row.classes,
        form=row.form,
        twin=None if twin is None else twin.name,
        published_top1=row.published_top1,
        published_top5=row.published[0].top5 if row.published else None,
        published=row.published,
        weights=row.weights,
        preprocessing=row.recipe,
        source=row.source,
    )


def filtered(rows: Sequence[Listed], wanted: Filter) -> list[Listed]:
    """Return the rows that are wanted.

    Raises:
        InputError: there are none; the text has the values that exist among the rows that pass so far.
    """
    left = list(rows)
    for name, value in asdict(wanted).items():
        if value is None:
            continue
        found = [row for row in left if getattr(row, name) == value]
        if not found:
            there = ", ".join(dict.fromkeys(getattr(row, name) for row in left))
            among = "" if len(left) == len(rows) else " that the filters before it leave"
            raise InputError(f"{name}: no net{among} has {value!r}; there are {there}")
        left = found
    return left


def in_order(rows: Sequence[Listed], by: str | None, *, reverse: bool = False) -> list[Listed]:
    """Return the rows sorted, those that lack the figure last; with None in the order given.

    Raises:
        InputError: they cannot be sorted by that.
    """
    if by is None:
        return list(reversed(rows)) if reverse else list(rows)
    key = {str(name): key for name, key in _SORT.items()}.get(by)
    if key is None:
        raise InputError(f"sort: must be one of {', '.join(get_args(SortBy))}, got {by!r}")
    lacking = [row for row in rows if key(row) is None]
    return sorted((row for row in rows if key(row) is not None), key=key, reverse=reverse) + lacking
