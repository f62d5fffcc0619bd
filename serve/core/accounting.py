"""What one prediction adds to the sums of `serve.core.tally`, from all that is known of it.

A prediction is one request of an enrolled unit: the calls of the arms that saw it, and the true labels of its
images, as far as they have arrived.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from serve.core.experiment import Experiment, Mode
from serve.core.record import SCALE, CallRecord, Role, Said
from serve.core.statistics.quantile import bucket_of
from serve.core.tally import brier_term

# Of a tally: the phase, the unit and the arm.
UnitKey = tuple[int, str, int]

# More classes than that have no confusion matrix: it would have more cells than anybody can read.
MOST_CONFUSED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an experiment's design says about counting; the same in all versions since its start.

    Attributes:
        classes: How many labels there are.
        models: Name and version of each arm's model.
        slow_ms: Thresholds of the guardrails: calls that take longer are counted.
        split: Whether a unit should meet one arm only.
    """

    classes: int
    models: tuple[tuple[str, str], ...]
    slow_ms: tuple[float, ...] = ()
    split: bool = False

    @classmethod
    def of(cls, experiment: Experiment) -> Self:
        """Those of an experiment that has started."""
        design = experiment.design
        thresholds = (guardrail.threshold_ms for guardrail in design.guardrails)
        return cls(
            classes=len(experiment.labels),
            models=tuple((arm.model, arm.version) for arm in design.arms),
            slow_ms=tuple(sorted({threshold for threshold in thresholds if threshold is not None})),
            split=design.mode is Mode.SPLIT,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One arm's call, and what was found out about it.

    Attributes:
        recorded: False where only a feedback token told of it so far: then it counts for its answers, not as
            a call.
        first_item: With an arm, never the control: the image that is its unit's first pair.
        differs: With an arm, never the control: it said something else of an image than the control.
    """

    record: CallRecord
    recorded: bool
    first_item: int | None = None
    differs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The true label of an image: the first that was told.

    Attributes:
        source: Who told it.
        at: When, Unix time.
        disputed: Somebody told another one later.
    """

    label: int
    source: str
    at: float
    disputed: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of one prediction: calls by arm, labels by image."""

    calls: dict[int, Call] = field(default_factory=dict)
    labels: dict[int, Label] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Account:
    """What predictions add together.

    Attributes:
        units: To the fields of each unit's tally.
        sums: To the plain counts, by (phase, arm, name).
        latency: Calls by (phase, arm, bucket).
    """

    units: defaultdict[UnitKey, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sums: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    latency: Counter[tuple[int, int, int]] = field(default_factory=Counter)

    def add(self, known: Known, rules: Rules, sign: int = 1) -> None:
        """Add one prediction, or take it away.

        Args:
            known: The prediction.
            rules: Of its experiment.
            sign: 1 or -1.
        """
        control = known.calls.get(0)
        for arm, call in known.calls.items():
            # What nobody but the control saw was not in the sample, or had no room to be mirrored. Such hours
            # may be better or worse than those in which the arms were called, so that the call is left out.
            if rules.split or any(known.calls) or not call.recorded:
                self._add_call(call, rules, sign)
            self._add_labels(call, known, rules, sign)
            if arm and control:
                self._add_pairs(control, call, known, sign)

    def _add_call(self, call: Call, rules: Rules, sign: int) -> None:
        record = call.record
        place = (record.phase, record.arm)
        if not call.recorded:
            self.sums[*place, "unmatched"] += sign
            return
        unit = self.units[record.phase, record.unit, record.arm]
        unit["calls"] += sign
        unit["failures"] += sign * record.failed
        taken_us = time_of(record, rules)
        if record.answers:
            self.latency[*place, bucket_of(taken_us)] += sign
        for threshold_ms in rules.slow_ms:
            if taken_us > threshold_ms * 1000:
                self.sums[*place, f"slow:{threshold_ms:g}"] += sign

    def _add_labels(self, call: Call, known: Known, rules: Rules, sign: int) -> None:
        record = call.record
        unit = self.units[record.phase, record.unit, record.arm]
        for item, label in known.labels.items():
            said = answer_of(call, item)
            if said is None:
                continue
            unit["labelled"] += sign
            unit["right"] += sign * (said.top1 == label.label)
            unit["brier"] += sign * _brier(said, label)
            if rules.classes <= MOST_CONFUSED:
                self.sums[record.phase, record.arm, f"confusion:{label.label}:{said.top1}"] += sign
            if label.disputed and record.role is Role.SERVED:
                self.sums[record.phase, record.arm, "conflict"] += sign

    def _add_pairs(self, control: Call, call: Call, known: Known, sign: int) -> None:
        record = call.record
        unit = self.units[record.phase, record.unit, record.arm]
        for item, before, after in pairs_of(control, call):
            label = known.labels.get(item)
            differ = before.top1 != after.top1
            unit["pairs"] += sign
            unit["differ"] += sign * differ
            if label is not None:
                unit["scored"] += sign
                unit["brier_change"] += sign * (_brier(after, label) - _brier(before, label))
            if label is not None and differ:
                unit["differ_labelled"] += sign
                unit["signed"] += sign * ((after.top1 == label.label) - (before.top1 == label.label))
            if item == call.first_item:
                for name in _of_first(before, after, label):
                    self.sums[record.phase, record.arm, name] += sign


def time_of(record: CallRecord, rules: Rules) -> int:
    """The time of a call that is compared, in microseconds.

    Where arms see the same images a mirrored call stands in the queue behind all callers: what it waits there
    says nothing of its arm, so that the wait is left out, of the control's calls too.
    """
    return record.latency_us if rules.split else max(0, record.latency_us - record.queue_us)


def answer_of(call: Call, item: int) -> Said | None:
    """What was said of that image; None where there is no answer."""
    answers = call.record.answers
    return answers[item] if 0 <= item < len(answers) else None


def pairs_of(control: Call, call: Call) -> Iterator[tuple[int, Said, Said]]:
    """The images that both answered: which, what the control said, what the arm said."""
    both = zip(control.record.answers, call.record.answers, strict=False)
    for item, (before, after) in enumerate(both):
        if before is not None and after is not None:
            yield item, before, after


def _brier(said: Said, label: Label) -> int:
    return brier_term(said.confidence, SCALE, right=said.top1 == label.label)


def _of_first(before: Said, after: Said, label: Label | None) -> Iterator[str]:
    """The counts that a unit's first pair is in: `FIRST`, `ALIKE` (`serve.core.tally`) and those by class.

    Where the arms differ one of them at most is right.
    """
    yield "first:pairs"
    if before.top1 == after.top1:
        if label is not None:
            yield "first:both_right" if before.top1 == label.label else "first:both_wrong"
        return
    yield "first:differ"
    if label is None:
        return
    yield "first:labelled"
    for name, said in (("control_right", before), ("arm_right", after)):
        if said.top1 == label.label:
            yield f"first:{name}"
            yield f"class:{label.label}:{name}"
