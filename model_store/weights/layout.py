"""A layout: how one project names, shapes and orders the weights of nets that are otherwise ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from model_store.zoo import Form

Weights: TypeAlias = Mapping[str, Tensor]
"""Name of a parameter or a running statistic -> its values."""


def unchanged(weights: Weights) -> Weights:
    """Return the weights as they are."""
    return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one project writes weights.

    Attributes:
        name: What the card says, such as "timm".
        title: For people: the project, and which of its nets.
        marks: Patterns; each is found in some line `KEY [SHAPE]` of such weights, such as
            `fc.weight [1000, 2048]`, and not all of them in other layouts'.
        renames: (pattern, replacement), applied to each key in order by `re.sub`: foreign names become ours.
        form: The graph that weights of this layout belong to; None: the keys do not tell.
        form_is_certain: False where other people's classes have the same names: the user may know better.
        images: How its nets want their images where that is not how ours want them; empty: the same.
        transform: Applied to the renamed weights: order of channels, parts to put together.
    """

    name: str
    title: str
    marks: tuple[re.Pattern[str], ...]
    renames: tuple[tuple[re.Pattern[str], str], ...] = ()
    form: Form | None = "torch"
    form_is_certain: bool = True
    images: str = ""
    transform: Callable[[Weights], Weights] = unchanged

    def renamed(self, key: str) -> str:
        """Return our name of a foreign one."""
        for pattern, replacement in self.renames:
            key = pattern.sub(replacement, key)
        return key

    def fits(self, weights: Weights) -> bool:
        """Tell whether every mark is found in these weights."""
        lines = [f"{key} {list(value.shape)}" for key, value in weights.items()]
        return all(any(mark.search(line) for line in lines) for mark in self.marks)
