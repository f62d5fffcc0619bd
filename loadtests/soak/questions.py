"""What is asked: everything about request number n of a run follows from the run's seed and n."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from typing import Final

from loadtests.soak.flaws import CORRUPT, FLAWS, TOO_LARGE, Flaw
from serve.core.messages import Kind

# A caller that gives less may hear "too late" or "too busy"; whoever gives more must be answered.
SHORT_S: Final = 1.0
_SHARE_FLAWED: Final = 0.03
_SHARE_BAD_IMAGE: Final = 0.03
_SHARE_CANCELLED: Final = 0.015
_SHARE_SHORT: Final = 0.03
_SHARE_TYPED: Final = 0.1
_SHARE_PARTIAL: Final = 0.3
_SHARE_BY_PARAMETER: Final = 0.4  # of gRPC's; the other ways have no other place for a deadline
_LATEST_CANCEL_S: Final = 0.03
_LARGEST_REQUEST: Final = 24


class Way(Enum):
    """How a request travels; the value is for people."""

    GRPC = "gRPC"
    STREAM = "gRPC stream"
    BINARY = "REST binary"
    JSON = "REST JSON"

    @property
    def protocol(self) -> str:
        """The gateway's label of its metrics."""
        return "grpc" if self in (Way.GRPC, Way.STREAM) else "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One image in one of the forms that a model takes.

    Attributes:
        name: Unique in its stock.
        payload: The file, or the row of the tensor, as bytes.
        shape: Of the row; () for a file.
        good: Whether it can be read.
    """

    name: str
    kind: Kind
    payload: bytes
    shape: tuple[int, ...] = ()
    good: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Items that may travel in one request, since they have one kind and one shape.

    Attributes:
        share: How often it is drawn from, relative to the others.
        most: Most items of it in one request.
    """

    items: tuple[Item, ...]
    share: float
    most: int = _LARGEST_REQUEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A version of a model that can be asked.

    Attributes:
        gates: Columns of its output `attention`, 0 without.
        default: Whether it answers where the caller names no version.
    """

    name: str
    version: str
    gates: int = 0
    default: bool = True


@dataclass(frozen=True, slots=True)
class Expected:
    """The right answer for an item: its label, the column of its class, and that column's probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """All that questions are drawn from.

    Attributes:
        bad: Images that no engine can read.
        expected: By the names of model and item; those of `bad` are not in it.
        classes: Columns of `probabilities`.
        tolerance: Largest difference of a probability from the expected one.
    """

    models: tuple[Model, ...]
    shelves: tuple[Shelf, ...]
    bad: tuple[Item, ...]
    expected: Mapping[tuple[str, str], Expected]
    classes: int
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request.

    Attributes:
        number: From 0, unique in its run.
        version: "" leaves the choice to the gateway.
        outputs: () asks for the default ones.
        priority: 0 asks for the default one.
        deadline_s: How long the caller waits.
        by_parameter: Whether the deadline is a parameter of the request; otherwise gRPC carries it.
        typed: Whether gRPC carries the tensors in their typed fields rather than raw.
        cancel_after_s: When the caller hangs up; None when it does not.
        flaw: What is wrong with it; None when nothing is.
    """

    number: int
    way: Way
    model: Model
    version: str
    items: tuple[Item, ...]
    outputs: tuple[str, ...]
    partial: bool
    priority: int
    deadline_s: float
    by_parameter: bool
    typed: bool
    cancel_after_s: float | None
    flaw: Flaw | None

    @property
    def request_id(self) -> str:
        """Comes back in the answer; shows whether two answers were exchanged."""
        return f"soak-{self.number}"

    @property
    def bad_at(self) -> int | None:
        """Index of the image that cannot be read; None when all can."""
        return next((index for index, item in enumerate(self.items) if not item.good), None)

    @property
    def short(self) -> bool:
        """Whether its deadline is so short that it need not be answered."""
        return self.deadline_s < SHORT_S


_WAYS: Final = (Way.GRPC, Way.STREAM, Way.BINARY, Way.JSON)
_WAY_SHARES: Final = tuple(accumulate((45, 20, 20, 15)))
_OUTPUTS: Final = ((), ("label",), ("probabilities",), ("probabilities", "label", "attention"))
_OUTPUT_SHARES: Final = tuple(accumulate((60, 15, 15, 10)))
_SIZES: Final = ((1, 1), (2, 6), (7, _LARGEST_REQUEST))  # at least and at most so many images
_SIZE_SHARES: Final = tuple(accumulate((65, 30, 5)))
_PRIORITIES: Final = (0, 0, 0, 1, 2, 3)


def draw(seed: int, number: int, stock: Stock) -> Question:
    """Request number `number` of the run with that seed."""
    chance = random.Random(f"{seed}:{number}")
    way = chance.choices(_WAYS, cum_weights=_WAY_SHARES)[0]
    model = chance.choice(stock.models)
    flaw = _draw_flaw(chance, way)
    items = _draw_items(chance, stock)
    partial = chance.random() < _SHARE_PARTIAL
    if flaw is None and chance.random() < _SHARE_BAD_IMAGE:
        items = _with_bad(chance, items, stock)
        flaw = None if partial or items[0].kind is not Kind.IMAGE else CORRUPT
    outputs = chance.choices(_OUTPUTS, cum_weights=_OUTPUT_SHARES)[0]
    deadline_s, cancel_after_s = _draw_patience(chance, hurried=flaw is None)
    return Question(
        number=number,
        way=way,
        model=model,
        version=chance.choice(("", model.version)) if model.default else model.version,
        items=items,
        outputs=outputs if model.gates else tuple(name for name in outputs if name != "attention"),
        partial=partial,
        priority=chance.choice(_PRIORITIES),
        deadline_s=deadline_s,
        by_parameter=way is not Way.GRPC or chance.random() < _SHARE_BY_PARAMETER,
        typed=chance.random() < _SHARE_TYPED,
        cancel_after_s=cancel_after_s,
        flaw=flaw,
    )


def _draw_flaw(chance: random.Random, way: Way) -> Flaw | None:
    if chance.random() >= _SHARE_FLAWED:
        return None
    flaw = chance.choice(FLAWS)
    # A message over the limit ends the whole stream.
    return None if flaw is TOO_LARGE and way is Way.STREAM else flaw


def _draw_items(chance: random.Random, stock: Stock) -> tuple[Item, ...]:
    shelf = chance.choices(stock.shelves, weights=[shelf.share for shelf in stock.shelves])[0]
    least, most = chance.choices(_SIZES, cum_weights=_SIZE_SHARES)[0]
    count = chance.randint(least, most)
    return tuple(chance.choices(shelf.items, k=min(count, shelf.most)))


def _with_bad(chance: random.Random, items: tuple[Item, ...], stock: Stock) -> tuple[Item, ...]:
    """Let one of them be an image that cannot be read; tensors cannot be bad in that way."""
    if items[0].kind is not Kind.IMAGE:
        return items
    at = chance.randrange(len(items))
    return (*items[:at], chance.choice(stock.bad), *items[at + 1 :])


def _draw_patience(chance: random.Random, *, hurried: bool) -> tuple[float, float | None]:
    """Deadline and time of hanging up, in seconds; a request that must be refused is given time for it."""
    kind, patient_s = chance.random(), chance.uniform(8.0, 30.0)
    if hurried and kind < _SHARE_SHORT:
        return chance.uniform(0.001, 0.05), None
    if hurried and kind < _SHARE_SHORT + _SHARE_CANCELLED:
        return patient_s, chance.uniform(0.0, _LATEST_CANCEL_S)
    return patient_s, None
