"""Every net that can be built by name: a table of builders, recipes and what the papers report.

Only facts live here, one row a net; how a net is made is in `model_store.nets`. Parameters and multiply-adds
are written down, not computed: the tests count and compare.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import Final

from model_store.errors import nearest
from model_store.zoo import ablations, accuracies, caffe, others, released, resnets, small, timms
from model_store.zoo.row import (
    Form,
    HeightWidth,
    KnownWeights,
    PerChannel,
    Published,
    Recipe,
    Row,
    UnknownArchitectureError,
)

__all__ = [
    "GROUPS",
    "TABLE",
    "Form",
    "HeightWidth",
    "KnownWeights",
    "PerChannel",
    "Published",
    "Recipe",
    "Row",
    "UnknownArchitectureError",
    "get",
    "twin",
]

CAFFE: Final = "_caffe"
"""Ends the name of a row of the Caffe form; without it the name is that of the same net in the other form."""

GROUPS: Final = (resnets.ROWS, ablations.ROWS, caffe.ROWS, others.ROWS, timms.ROWS, small.ROWS)
"""The tables, in the order in which they are listed to users."""


def _with_what_is_known(row: Row) -> Row:
    """Return a row with its published accuracies and the whereabouts of its weights."""
    return replace(row, published=accuracies.of(row.name), weights=released.WEIGHTS.get(row.name, ()))


TABLE: Mapping[str, Row] = MappingProxyType({row.name: _with_what_is_known(row) for row in chain(*GROUPS)})
"""Name -> row, in the order in which they are listed to users."""


def get(name: str) -> Row:
    """Return the row called `name`.

    Raises:
        UnknownArchitectureError: no row has that name.
    """
    if name in TABLE:
        return TABLE[name]
    raise UnknownArchitectureError(
        f"architecture must be in the zoo, such as {nearest(name, TABLE)}, got {name!r}"
    )


def twin(row: Row) -> Row | None:
    """Return the row that is the same net in the other form; None: there is none.

    Weights of the one fit the other; SKNet-101's do, though its released definition has a narrower attention,
    as the width is read from the weights.
    """
    name = row.name.removesuffix(CAFFE) if row.form == "caffe" else row.name + CAFFE
    other = TABLE.get(name)
    return other if other and other.form != row.form else None
