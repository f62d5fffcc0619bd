"""Every net that can be built by name: a table of builders, recipes and what the papers report.

Only facts live here, one row a net; how a net is made is in `model_store.nets`. Parameters and multiply-adds
are written down, not computed: the tests count and compare.
"""

import difflib
from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType
from typing import Final

from model_store.zoo import resnets, small
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

_GROUPS = (resnets.ROWS, small.ROWS)

TABLE: Mapping[str, Row] = MappingProxyType({row.name: row for row in chain(*_GROUPS)})
"""Name -> row, in the order in which they are listed to users."""


def get(name: str) -> Row:
    """Return the row called `name`.

    Raises:
        UnknownArchitectureError: no row has that name.
    """
    if name in TABLE:
        return TABLE[name]
    nearest = difflib.get_close_matches(name, TABLE, n=3, cutoff=0.5) or list(TABLE)[:3]
    raise UnknownArchitectureError(
        f"architecture must be in the zoo, such as {', '.join(nearest)}, got {name!r}"
    )


def twin(row: Row) -> Row | None:
    """Return the row that is the same net in the other form; None: there is none."""
    if row.form == "caffe":
        return TABLE.get(row.name.removesuffix(CAFFE))
    return TABLE.get(row.name + CAFFE)
