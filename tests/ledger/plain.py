"""The sums over facts, counted from nothing: no state, no differences, one loop after the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

from serve.core.record import SCALE, CallRecord, Outcome, Receipt, Role, Said
from serve.core.statistics.quantile import bucket_of
from tests.ledger.facts import SLOW_MS, Fact

# (phase, arm) -> name -> sum
Sums = dict[tuple[int, int], dict[str, float]]
# Prediction, arm and image of the units' first pairs.
Firsts = set[tuple[str, int, int]]

_PRODUCTS = (
    ("calls", "calls"),
    ("calls", "failures"),
    ("failures", "failures"),
    ("labelled", "labelled"),
    ("labelled", "right"),
    ("right", "right"),
    ("labelled", "brier"),
    ("brier", "brier"),
    ("pairs", "pairs"),
    ("pairs", "differ"),
    ("pairs", "differ_labelled"),
    ("pairs", "signed"),
    ("differ", "differ"),
    ("differ", "differ_labelled"),
    ("differ", "signed"),
    ("differ_labelled", "differ_labelled"),
    ("differ_labelled", "signed"),
    ("signed", "signed"),
    ("scored", "scored"),
    ("scored", "brier_change"),
    ("brier_change", "brier_change"),
)
_HEADS = ("calls", "labelled", "pairs", "scored", "failures")


@dataclass(slots=True)
class Raw:
    """All that is known in the end.

    Attributes:
        calls: By prediction and arm.
        recorded: Of these, those that not only a ticket tells of.
        labels: By prediction and image.
        disputed: Of these, those of which somebody told another one.
    """

    calls: dict[tuple[str, int], CallRecord] = field(default_factory=dict)
    recorded: set[tuple[str, int]] = field(default_factory=set)
    labels: dict[tuple[str, int], int] = field(default_factory=dict)
    disputed: set[tuple[str, int]] = field(default_factory=set)

    def tell(self, fact: Fact, receipt: Receipt | None) -> None:
        """Take a call, or an outcome with what became of it."""
        if isinstance(fact, CallRecord):
            self.calls[fact.prediction, fact.arm] = fact
            self.recorded.add((fact.prediction, fact.arm))
        elif receipt in {Receipt.ACCEPTED, Receipt.DUPLICATE, Receipt.CONFLICT}:
            self._tell(fact, disputed=receipt is Receipt.CONFLICT)

    def _tell(self, outcome: Outcome, *, disputed: bool) -> None:
        image = (outcome.prediction, outcome.item)
        self.labels.setdefault(image, outcome.label)
        if disputed:
            self.disputed.add(image)
        ticket = outcome.ticket
        if ticket is not None:
            told = CallRecord(
                experiment=ticket.experiment,
                version=ticket.version,
                phase=ticket.phase,
                prediction=ticket.prediction,
                unit=ticket.unit,
                arm=ticket.arm,
                role=Role.SERVED,
                at=ticket.issued_at,
                model="",
                model_version="",
                outcome="ok",
                failed=False,
                latency_us=0,
                queue_us=0,
                answers=ticket.answers,
            )
            self.calls.setdefault((ticket.prediction, ticket.arm), told)


def sums_of(raw: Raw, firsts: Firsts, *, split: bool = False) -> Sums:
    """Every sum that is not 0."""
    sums: defaultdict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    units: defaultdict[tuple[int, int, str], Counter[str]] = defaultdict(Counter)
    met: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
    for call in raw.calls.values():
        unit = units[call.phase, call.arm, call.unit]
        for name, value in (
            *_of_call(raw, call, split=split),
            *_of_answers(raw, call),
            *_of_pairs(raw, call),
        ):
            unit[name] += value
        sums[call.phase, call.arm].update(_counts(raw, call, firsts, split=split))
        met[call.phase, call.unit].add(call.arm)
    for (phase, arm, _), unit in units.items():
        for one, other in _PRODUCTS:
            sums[phase, arm][f"{one}*{other}"] += unit[one] * unit[other]
        for name, value in unit.items():
            sums[phase, arm][name] += value
        for head in _HEADS:
            sums[phase, arm][f"{head}.units"] += unit[head] > 0
    for (phase, _), arms in met.items() if split else ():
        sums[phase, 0]["multi_exposed"] += len(arms) > 1
    cleaned = {
        place: {name: float(value) for name, value in names.items() if value} for place, names in sums.items()
    }
    return {place: names for place, names in cleaned.items() if names}


def latency_of(raw: Raw, *, split: bool = False) -> dict[tuple[int, int], dict[int, int]]:
    """How many calls were answered in the time of each bucket, by (phase, arm)."""
    found: defaultdict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for call in raw.calls.values():
        if call.answers and _is_compared(raw, call, split=split):
            found[call.phase, call.arm][bucket_of(_time_us(call, split=split))] += 1
    return {place: dict(buckets) for place, buckets in found.items()}


def _is_compared(raw: Raw, call: CallRecord, *, split: bool) -> bool:
    """It is written down, in a split or of a request that not only the control saw."""
    mirrored = any((call.prediction, arm) in raw.calls for arm in (1, 2))
    return (call.prediction, call.arm) in raw.recorded and (split or mirrored)


def _time_us(call: CallRecord, *, split: bool) -> int:
    """With the wait in the queue only where nobody's call is a mirrored one."""
    return call.latency_us - (0 if split else call.queue_us)


def _of_call(raw: Raw, call: CallRecord, *, split: bool) -> Iterator[tuple[str, int]]:
    if _is_compared(raw, call, split=split):
        yield "calls", 1
        yield "failures", int(call.failed)


def _of_answers(raw: Raw, call: CallRecord) -> Iterator[tuple[str, int]]:
    for item, said in enumerate(call.answers):
        label = raw.labels.get((call.prediction, item))
        if said is not None and label is not None:
            yield "labelled", 1
            yield "right", int(said.top1 == label)
            yield "brier", _brier(said, label)


def _of_pairs(raw: Raw, call: CallRecord) -> Iterator[tuple[str, int]]:
    for item, control, arm in _pairs(raw, call):
        label = raw.labels.get((call.prediction, item))
        differ = control.top1 != arm.top1
        yield "pairs", 1
        yield "differ", int(differ)
        if label is not None:
            yield "scored", 1
            yield "brier_change", _brier(arm, label) - _brier(control, label)
            yield "differ_labelled", int(differ)
            yield "signed", int(arm.top1 == label) - int(control.top1 == label)


def _counts(raw: Raw, call: CallRecord, firsts: Firsts, *, split: bool) -> Iterator[str]:
    if (call.prediction, call.arm) not in raw.recorded:
        yield "unmatched"
    elif _is_compared(raw, call, split=split) and _time_us(call, split=split) > SLOW_MS * 1000:
        yield f"slow:{SLOW_MS}"
    for item, said in enumerate(call.answers):
        label = raw.labels.get((call.prediction, item))
        if said is not None and label is not None:
            yield f"confusion:{label}:{said.top1}"
            if (call.prediction, item) in raw.disputed and call.role is Role.SERVED:
                yield "conflict"
    for item, control, arm in _pairs(raw, call):
        if (call.prediction, call.arm, item) in firsts:
            yield from _counts_of_first(control, arm, raw.labels.get((call.prediction, item)))


def _counts_of_first(control: Said, arm: Said, label: int | None) -> Iterator[str]:
    yield "first:pairs"
    if control.top1 != arm.top1:
        yield "first:differ"
        if label is not None:
            yield "first:labelled"
        if label == control.top1:
            yield from ("first:control_right", f"class:{label}:control_right")
        if label == arm.top1:
            yield from ("first:arm_right", f"class:{label}:arm_right")
    elif label is not None:
        yield "first:both_right" if label == arm.top1 else "first:both_wrong"


def _pairs(raw: Raw, call: CallRecord) -> Iterator[tuple[int, Said, Said]]:
    control = raw.calls.get((call.prediction, 0))
    if call.arm and control is not None:
        for item, (one, other) in enumerate(zip(control.answers, call.answers, strict=False)):
            if one is not None and other is not None:
                yield item, one, other


def _brier(said: Said, label: int) -> int:
    """Half a unit is rounded up."""
    exact = Fraction(said.confidence, SCALE) - (said.top1 == label)
    return floor(exact**2 * SCALE + Fraction(1, 2))
