"""Reading a JSON document of which any part may be missing: what is not there reads as nothing."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TypeGuard

MOST_CHARACTERS = 2000
_LAST_MOMENT = 253_370_764_800.0  # the year 9999
# Marks that turn the direction of the text around them. Texts of a right-to-left script do without.
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Node:
    """A value of a JSON document, and where to find what is below it."""

    def __init__(self, value: object) -> None:
        """Wrap what `json.loads` gave."""
        self._value = value

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return self._value not in (None, "", [], {}, ())

    def node(self, key: str) -> Node:
        """The value of that key."""
        return Node(self._at(key))

    def nodes(self, key: str) -> list[Node]:
        """The elements of the list at that key."""
        found = self._at(key)
        return [Node(item) for item in found] if _is_list(found) else []

    def text(self, key: str) -> str:
        """The text at that key, made fit to be shown; "" where there is none."""
        found = self._at(key)
        return clean(found) if isinstance(found, str) else ""

    def number(self, key: str) -> float | None:
        """The number at that key; None where there is none that is finite."""
        return self.node(key).value()

    def values(self) -> list[float | None]:
        """This as a list of numbers."""
        return [Node(item).value() for item in self._value] if _is_list(self._value) else []

    def texts(self, key: str) -> list[str]:
        """The list of texts at that key."""
        found = self._at(key)
        return [clean(str(item)) for item in found] if _is_list(found) else []

    def flag(self, key: str) -> bool | None:
        """The truth value at that key; None where there is none."""
        found = self._at(key)
        return found if isinstance(found, bool) else None

    def moment(self, key: str) -> float | None:
        """The Unix time at that key, in seconds; None where there is none that a calendar holds."""
        found = self.number(key)
        return found if found is not None and 0 <= found < _LAST_MOMENT else None

    def value(self) -> float | None:
        """This as a number; None where it is none that is finite."""
        found = self._value
        if isinstance(found, bool) or not isinstance(found, int | float):
            return None
        return float(found) if math.isfinite(found) else None

    def _at(self, key: str) -> object:
        return self._value.get(key) if isinstance(self._value, Mapping) else None


def clean(text: str) -> str:
    """A text without what cannot be written as XML or would turn the text around it, and not endless."""
    seen = "".join(_shown(character) for character in text[: MOST_CHARACTERS + 1])
    return seen if len(text) <= MOST_CHARACTERS else seen[:MOST_CHARACTERS] + " …"


def short(text: str, most: int) -> str:
    """The text's beginning, where it is too long for its place in a drawing."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _shown(character: str) -> str:
    if character in _TURNS:
        return ""
    category = unicodedata.category(character)
    if category in {"Cc", "Cs", "Cn"}:
        return " " if character.isspace() else "\ufffd"
    return character


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
