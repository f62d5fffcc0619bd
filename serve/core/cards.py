"""What is shown of a model's card: finite, bounded and of the expected type, whoever wrote the archive.

A signature comes from an archive or from a worker elsewhere, and much of it is free: any key may be missing,
of another type, or huge. What cannot be shown as it is meant is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from serve.core.card import ModelCard
from serve.core.describe import model_metadata

Json = dict[str, Any]

MOST_CHARACTERS = 500  # of a text
MOST_BLOCKS, MOST_REASONS = 1000, 20
MOST_INTEGER = 2**53 - 1  # the largest that JavaScript counts to
# A matrix of K x K is larger than a page can show long before it is too large to send.
MOST_CONFUSED = 200
MOST_LABELS, MOST_LABELS_CHARACTERS = 50_000, 1 << 20
# What one free value, and all of a card's together, may have: characters, and one more for each value.
MOST_OF_A_VALUE, MOST_OF_A_CARD = 8192, 32_768
_DEEPEST = 5


def text(value: object) -> str | None:
    """A text that can be sent as UTF-8, cut where it is too long; None for what is none, or empty."""
    if not isinstance(value, str) or not value:
        return None
    # JSON can spell half of a surrogate pair, which UTF-8 cannot.
    whole = value[: MOST_CHARACTERS + 1].encode("utf-8", "replace").decode()
    return whole if len(whole) <= MOST_CHARACTERS else f"{whole[:MOST_CHARACTERS]}…"


def number(value: object) -> float | None:
    """A number that every reader of JSON takes for the same one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    known = abs(value) <= MOST_INTEGER if isinstance(value, int) else math.isfinite(value)
    return value if known else None


def count(value: object) -> int | None:
    """A whole number from 0 on."""
    return value if isinstance(value, int) and number(value) is not None and value >= 0 else None


def share(value: object) -> float | None:
    """A number from 0 to 1."""
    found = number(value)
    return found if found is not None and 0 <= found <= 1 else None


def interval(value: object) -> list[float] | None:
    """Two shares, the lower one first."""
    match value:
        case [first, second] if isinstance(value, list):
            low, high = share(first), share(second)
            return None if low is None or high is None or low > high else [low, high]
        case _:
            return None


# What a card is expected to say of its net; all else of it is free.
_CARD: Mapping[str, Callable[[object], Any]] = {
    "accuracy": share,
    "accuracy_interval_95": interval,
    "parameters": count,
    "macs": count,
    "source": text,
}
_NOT_IN_A_LIST = frozenset({"confusion"})


class _TooLargeError(Exception):
    """A free value does not fit."""


@dataclass(slots=True)
class _Room:
    """How much of a free value may still be read."""

    left: int

    def take(self, much: int) -> None:
        self.left -= much
        if self.left < 0:
            raise _TooLargeError


def bounded(value: object) -> object:
    """A free value, or None where it is too large or too deep; odd values within it are None."""
    return _measured(value)[0]


def _measured(value: object) -> tuple[object, int]:
    """The same, and how much it takes."""
    room = _Room(MOST_OF_A_VALUE)
    try:
        found = _read(value, room, _DEEPEST)
    except _TooLargeError:
        return None, MOST_OF_A_VALUE
    return found, MOST_OF_A_VALUE - room.left


def _read(value: object, room: _Room, deep: int) -> object:
    room.take(1 + min(len(value), MOST_CHARACTERS) if isinstance(value, str) else 1)
    if deep == 0:
        raise _TooLargeError
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {_key(key, room): _read(inner, room, deep - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_read(inner, room, deep - 1) for inner in value]
    return value if isinstance(value, bool) else number(value)


def _key(key: object, room: _Room) -> str:
    found = text(key) or ""
    room.take(len(found))
    return found


def _free(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _card(card: ModelCard) -> Json:
    said = _free(card.signature.get("card"))
    facts: Json = {key: read(said.get(key)) for key, read in _CARD.items()}
    left = MOST_OF_A_CARD
    for key, value in said.items():
        if key not in _CARD and key not in _NOT_IN_A_LIST:
            fact, takes = _measured(value)
            left -= takes + len(key)
            if left < 0:
                break
            facts[text(key) or ""] = fact
    return facts


def _texts(values: Iterable[str]) -> list[str]:
    return [found for value in values if (found := text(value))]


def _parity(card: ModelCard) -> object:
    said = card.signature.get("parity")
    return bounded(said) if isinstance(said, Mapping) else None


# Of each version in a list.
SUMMARY: Mapping[str, Callable[[ModelCard], Any]] = {
    "architecture": lambda card: text(card.signature.get("architecture")),
    "family": lambda card: text(card.signature.get("family")),
    "attention": lambda card: text(card.attention),
    "trained": lambda card: card.trained,
    "classes": lambda card: card.classes,
    "input_size": lambda card: [count(side) for side in card.input_size],
    "max_batch": lambda card: count(card.max_batch),
    "recipe": lambda card: text(card.recipe),
    "recipe_reasons": lambda card: _texts(card.recipe_reasons[:MOST_REASONS]),
    "decoder": lambda card: text(card.decoder),
    "contents_sha256": lambda card: text(card.contents_sha256),
    "parity": _parity,
    "card": _card,
    "offers_attention": lambda card: bool(card.attention_layout),
}


def _labels(card: ModelCard) -> list[str] | None:
    if card.classes > MOST_LABELS or sum(map(len, card.labels)) > MOST_LABELS_CHARACTERS:
        return None
    return [text(label) or "" for label in card.labels]


def _layout(card: ModelCard) -> list[Json] | None:
    if len(card.attention_layout) > MOST_BLOCKS:
        return None
    return [{key: _plain(value) for key, value in asdict(block).items()} for block in card.attention_layout]


def _plain(value: object) -> object:
    return text(value) or "" if isinstance(value, str) else count(value)


def _confusion(card: ModelCard) -> list[list[int]] | None:
    """Images by true class (row) and named class (column), where the card holds the whole matrix."""
    rows = _free(card.signature.get("card")).get("confusion")
    classes = card.classes
    if classes > MOST_CONFUSED or not isinstance(rows, list) or len(rows) != classes:
        return None
    for row in rows:
        if not isinstance(row, list) or len(row) != classes or any(count(cell) is None for cell in row):
            return None
    return rows


def _input(card: ModelCard) -> Json:
    said = _free(card.signature.get("input"))
    return {key: bounded(said.get(key)) for key in ("resize", "mean", "std")}


# Of one version that is looked at alone.
DETAILS: Mapping[str, Callable[[ModelCard], Any]] = {
    **SUMMARY,
    "labels": _labels,
    "attention_layout": _layout,
    "confusion": _confusion,
    "input": _input,
    "input_names": lambda card: [spec.name for spec in model_metadata(card, ()).inputs],
}


def read_facts(card: ModelCard | None, facts: Mapping[str, Callable[[ModelCard], Any]]) -> Json:
    """What a card says, `SUMMARY` or `DETAILS`; every fact is None where there is no card."""
    return {name: None if card is None else read(card) for name, read in facts.items()}
