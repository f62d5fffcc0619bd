"""What new facts about an experiment change in its sums, whatever the order in which they arrive.

A batch of facts is settled by one rule: take away what its predictions added before, bring in the facts, add
what they add now. So what comes first, or twice, makes no difference, but for one choice: the first pair of a
unit is the one that was complete first, in whichever phase.

Nothing is stored here: `serve.ledger.settling` loads what is known and writes what has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from serve.core.accounting import Account, Call, Known, Label, Rules, UnitKey, answer_of, pairs_of
from serve.core.record import CallRecord, Dropped, Outcome, Receipt, Role, Ticket
from serve.core.tally import FIELDS, UnitTally, change

_EMPTY = UnitTally()
_NOTHING = Known()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An image on which the arms disagree."""

    prediction: str
    item: int
    at: float
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be written. Sums and latency are added to what is there, all else replaces it.

    Attributes:
        labels: By prediction and image.
        sums: By phase, arm and name.
        latency: Calls by phase, arm and bucket.
    """

    calls: tuple[Call, ...]
    labels: Mapping[tuple[str, int], Label]
    units: Mapping[UnitKey, UnitTally]
    sums: Mapping[tuple[int, int, str], int]
    latency: Mapping[tuple[int, int, int], int]
    images: tuple[Kept, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return any((self.calls, self.labels, self.units, self.sums, self.latency, self.images))


@dataclass(slots=True, kw_only=True)
class Settling:
    """One batch of facts about one experiment: tell them one by one, then ask once for the changes.

    Attributes:
        rules: The experiment's.
        known: What the ledger holds of the predictions that are spoken of; changed in place.
        units: All tallies that the ledger holds of their units, in every phase and arm.
        purged_before: Unix time. Of earlier requests raw rows may be gone, so that nobody knows what was
            counted: what is told of them is not taken.
    """

    rules: Rules
    known: dict[str, Known]
    units: Mapping[UnitKey, UnitTally]
    purged_before: float = 0.0
    _account: Account = field(default_factory=Account)
    _touched: dict[str, Known] = field(default_factory=dict)
    _calls: dict[tuple[str, int], Call] = field(default_factory=dict)
    _labels: dict[tuple[str, int], Label] = field(default_factory=dict)
    _have_pairs: set[tuple[str, int]] = field(init=False)  # (unit, arm)

    def __post_init__(self) -> None:
        self._have_pairs = {(unit, arm) for (_, unit, arm), tally in self.units.items() if tally.pairs}

    def record(self, record: CallRecord) -> None:
        """An arm was called. The same call told again counts once."""
        if record.at < self.purged_before:
            return
        known = self._touch(record.prediction)
        there = known.calls.get(record.arm)
        if there is None:
            self._put(known, Call(record=record, recorded=True))
        elif not there.recorded:
            # The ticket told what the caller was shown; the record tells the rest.
            told = replace(record, answers=there.record.answers)
            self._put(known, replace(there, record=told, recorded=True))

    def outcome(self, outcome: Outcome) -> Receipt:
        """Somebody told the true label of an image."""
        ticket = outcome.ticket
        # A ticket has whole seconds.
        if ticket is not None and ticket.issued_at < self.purged_before:
            return Receipt.TOO_LATE
        refused = self._refused(outcome)
        if refused is not None:
            return refused
        known = self._touch(outcome.prediction)
        if ticket is not None and ticket.arm not in known.calls:
            self._put(known, Call(record=self._told(ticket), recorded=False))
        return self._label(known, outcome)

    def drop(self, dropped: Dropped) -> None:
        """Something was lost before it could be recorded."""
        self._account.sums[dropped.phase, dropped.arm, f"dropped:{dropped.what}"] += dropped.count

    def changes(self) -> Changes:
        """What all these facts change."""
        for known in self._touched.values():
            self._compare(known)
            self._account.add(known, self.rules)
        units = dict(self._new_tallies())
        self._add_up(units)
        return Changes(
            calls=tuple(self._calls.values()),
            labels=self._labels,
            units=units,
            sums={key: value for key, value in self._account.sums.items() if value},
            latency={key: value for key, value in self._account.latency.items() if value},
            images=tuple(self._images()),
        )

    def _touch(self, prediction: str) -> Known:
        """What is known of that prediction, which is going to change."""
        if prediction not in self._touched:
            known = self._touched[prediction] = self.known.setdefault(prediction, Known())
            self._account.add(known, self.rules, sign=-1)
        return self._touched[prediction]

    def _put(self, known: Known, call: Call) -> None:
        known.calls[call.record.arm] = call
        self._calls[call.record.prediction, call.record.arm] = call

    def _refused(self, outcome: Outcome) -> Receipt | None:
        known = self.known.get(outcome.prediction, _NOTHING)
        calls = list(known.calls.values())
        if outcome.ticket is not None:
            calls = [Call(record=self._told(outcome.ticket), recorded=False)]
        if not calls:
            return Receipt.UNKNOWN_TOKEN
        answered = any(answer_of(call, outcome.item) for call in calls)
        return None if answered and 0 <= outcome.label < self.rules.classes else Receipt.INVALID

    def _told(self, ticket: Ticket) -> CallRecord:
        """The call that a ticket speaks of, as far as it does."""
        model, version = self.rules.models[ticket.arm]
        return CallRecord(
            experiment=ticket.experiment,
            version=ticket.version,
            phase=ticket.phase,
            prediction=ticket.prediction,
            unit=ticket.unit,
            arm=ticket.arm,
            role=Role.SERVED,
            at=float(ticket.issued_at),
            model=model,
            model_version=version,
            outcome="ok",
            failed=False,
            latency_us=0,
            queue_us=0,
            answers=ticket.answers,
        )

    def _label(self, known: Known, outcome: Outcome) -> Receipt:
        there = known.labels.get(outcome.item)
        if there is not None and there.label == outcome.label:
            return Receipt.DUPLICATE
        if there is not None:
            label = replace(there, disputed=True)
        else:
            label = Label(label=outcome.label, source=outcome.source, at=outcome.at)
        known.labels[outcome.item] = self._labels[outcome.prediction, outcome.item] = label
        return Receipt.CONFLICT if label.disputed else Receipt.ACCEPTED

    def _compare(self, known: Known) -> None:
        """Mark the arms that differ from the control, and the image that is their unit's first pair."""
        control = known.calls.get(0)
        if control is None:
            return
        for arm, call in tuple(known.calls.items()):
            pairs = list(pairs_of(control, call)) if arm else []
            if not pairs:
                continue
            differs, first = any(one.top1 != other.top1 for _, one, other in pairs), call.first_item
            if (call.record.unit, arm) not in self._have_pairs:
                self._have_pairs.add((call.record.unit, arm))
                first = pairs[0][0]
            if (differs, first) != (call.differs, call.first_item):
                self._put(known, replace(call, differs=differs, first_item=first))

    def _new_tallies(self) -> Iterator[tuple[UnitKey, UnitTally]]:
        for key, steps in self._account.units.items():
            if any(steps.values()):
                old = self.units.get(key, _EMPTY)
                yield key, UnitTally(**{name: getattr(old, name) + steps[name] for name in FIELDS})

    def _add_up(self, units: Mapping[UnitKey, UnitTally]) -> None:
        """Bring the sums over all units to what these units' tallies are now."""
        for key, tally in units.items():
            phase, _, arm = key
            for name, value in change(self.units.get(key, _EMPTY), tally).items():
                self._account.sums[phase, arm, name] += value
        if self.rules.split:
            for phase, unit in {(phase, unit) for phase, unit, _ in units}:
                now = self._met(units, phase, unit) > 1
                before = self._met({}, phase, unit) > 1
                # A unit has no arm of its own here: the control stands for the phase.
                self._account.sums[phase, 0, "multi_exposed"] += now - before

    def _met(self, units: Mapping[UnitKey, UnitTally], phase: int, unit: str) -> int:
        """How many arms a unit has met in a phase."""
        arms = range(len(self.rules.models))
        keys = [(phase, unit, arm) for arm in arms]
        return sum(units.get(key, self.units.get(key, _EMPTY)) != _EMPTY for key in keys)

    def _images(self) -> Iterator[Kept]:
        """Bytes that came with this batch, of images that an arm and the control answered differently."""
        for prediction, known in self._touched.items():
            contents = next((call.record.images for call in known.calls.values() if call.record.images), ())
            for item in sorted(differing(known)) if contents else ():
                at = known.calls[0].record.at
                yield Kept(prediction=prediction, item=item, at=at, content=contents[item])


def differing(known: Known) -> set[int]:
    """The images that some arm answered otherwise than the control."""
    control = known.calls.get(0)
    if control is None:
        return set()
    arms = [call for arm, call in known.calls.items() if arm]
    return {item for call in arms for item, one, other in pairs_of(control, call) if one.top1 != other.top1}
