"""What the gateway writes down about an experiment, and what callers tell it afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Confidences and Brier scores are kept as whole numbers of 1/10 000, so that their sums are exact.
SCALE = 10_000


class Role(StrEnum):
    """Whether the caller saw an answer."""

    SERVED = "served"
    MIRROR = "mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An arm's answer for one image.

    Attributes:
        top1: Index of the likeliest class in `Experiment.labels`.
        confidence: Its probability, in 1/`SCALE`.
    """

    top1: int
    confidence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One arm's call for one request of an enrolled unit.

    Attributes:
        experiment: The ledger's id.
        version: Of the document that decided.
        phase: Of that version.
        prediction: 32 hexadecimal digits; the same for every arm that saw the request.
        unit: Keyed hash of the unit, 32 hexadecimal digits.
        arm: Its index.
        at: Unix time of the request's arrival, in seconds.
        outcome: "ok", or a value of `serve.metrics.OUTCOMES`.
        failed: Whether it counts as an error of the arm: its first attempt failed, or there is no answer
            and the caller is not to blame.
        latency_us: From the call of the arm to its answer, in microseconds.
        queue_us: Of that, until the last image left the queue.
        answers: One an image; None where that image failed. Empty when there was no answer.
        images: The images' bytes, where the design asks to keep those that the arms disagree on.
    """

    experiment: int
    version: int
    phase: int
    prediction: str
    unit: str
    arm: int
    role: Role
    at: float
    model: str
    model_version: str
    outcome: str
    failed: bool
    latency_us: int
    queue_us: int
    answers: tuple[Said | None, ...]
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Something that was lost on the way to the ledger, or not even begun.

    Attributes:
        what: "record" (the queue to the ledger was full) or "mirror" (the mirror had no room).
    """

    experiment: int
    phase: int
    arm: int
    what: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What a feedback token says: who was served what, when. `serve.core.feedback` signs and reads it.

    Attributes:
        issued_at: Unix time, whole seconds.
        answers: What was said of each image.
    """

    experiment: int
    version: int
    phase: int
    prediction: str
    unit: str
    arm: int
    issued_at: int
    answers: tuple[Said | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A true label, told by whoever holds the ticket, or by an operator who knows the prediction's id.

    Attributes:
        ticket: The verified ticket; None for labels that an operator imports.
        prediction: 32 hexadecimal digits.
        item: Which image of the request, from 0.
        label: Index in `Experiment.labels`.
        source: Who told it: a token's name.
    """

    ticket: Ticket | None
    experiment: int
    prediction: str
    item: int
    label: int
    source: str
    at: float


class Receipt(StrEnum):
    """What became of an outcome.

    One label an image: the first that is accepted stays. The same label again is a duplicate, whoever tells
    it; another one is a conflict, which is counted and changes nothing.
    """

    ACCEPTED = "accepted"  # durable; it counts now, or as soon as the prediction is written
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    UNKNOWN_TOKEN = "unknown_token"  # noqa: S105  a word of the interface
    TOO_LATE = "too_late"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One image that arms answered, raw: a row of `pairs.csv`.

    Attributes:
        prediction: With `item` the image's name.
        unit: Keyed hash.
        at: Unix time of the request.
        label: True class, "" while unknown.
        said: For each arm, in the design's order, its class; "" where it did not answer.
        confidence: Probability of that class; nan where it did not answer.
        latency_us: Of each arm's call; 0 where there was none.
    """

    prediction: str
    item: int
    unit: str
    phase: int
    at: float
    label: str
    said: tuple[str, ...]
    confidence: tuple[float, ...]
    latency_us: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisagreementRow(PairRow):
    """One image that an arm answered otherwise than the control.

    Attributes:
        image_kept: Whether its bytes are there.
    """

    image_kept: bool
