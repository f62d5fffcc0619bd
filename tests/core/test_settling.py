"""What facts change in the sums: the same whatever comes first, and what a plain count gives."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given

from serve.core.accounting import Known, Rules, UnitKey
from serve.core.experiment import Mode
from serve.core.record import CallRecord, Dropped, Outcome, Receipt
from serve.core.settling import Kept, Settling
from serve.core.tally import UnitTally
from tests.ledger.facts import (
    SLOW_MS,
    Fact,
    Story,
    a_call,
    a_started,
    an_outcome,
    stories,
)
from tests.ledger.plain import Firsts, Raw, Sums, latency_of, sums_of


@dataclass(slots=True)
class Memory:
    """A ledger of one experiment that forgets when the test ends."""

    rules: Rules
    purged_before: float = 0.0
    known: dict[str, Known] = field(default_factory=dict)
    units: dict[UnitKey, UnitTally] = field(default_factory=dict)
    sums: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    latency: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    images: list[Kept] = field(default_factory=list)

    def tell(self, *facts: Fact | Dropped) -> list[Receipt | None]:
        """Settle a batch."""
        copies = {name: Known(dict(one.calls), dict(one.labels)) for name, one in self.known.items()}
        settling = Settling(
            rules=self.rules, known=copies, units=dict(self.units), purged_before=self.purged_before
        )
        receipts = [_told(settling, fact) for fact in facts]
        changes = settling.changes()
        for call in changes.calls:
            self.known.setdefault(call.record.prediction, Known()).calls[call.record.arm] = call
        for (prediction, item), label in changes.labels.items():
            self.known.setdefault(prediction, Known()).labels[item] = label
        self.units.update(changes.units)
        self.sums.update(changes.sums)
        self.latency.update(changes.latency)
        self.images += changes.images
        return receipts

    def sum(self, arm: int, name: str) -> int:
        """Of phase 1."""
        return self.sums[1, arm, name]

    def all_sums(self) -> Sums:
        """Those that are not 0."""
        found: Sums = {}
        for (phase, arm, name), value in self.sums.items():
            if value:
                found.setdefault((phase, arm), {})[name] = float(value)
        return found

    def all_latency(self) -> dict[tuple[int, int], dict[int, int]]:
        """Those that are not 0."""
        found: dict[tuple[int, int], dict[int, int]] = {}
        for (phase, arm, bucket), count in self.latency.items():
            if count:
                found.setdefault((phase, arm), {})[bucket] = count
        return found

    def firsts(self) -> Firsts:
        """The units' first pairs."""
        calls = [call for known in self.known.values() for call in known.calls.values()]
        return {
            (call.record.prediction, call.record.arm, call.first_item)
            for call in calls
            if call.first_item is not None
        }


def _told(settling: Settling, fact: Fact | Dropped) -> Receipt | None:
    if isinstance(fact, Outcome):
        return settling.outcome(fact)
    if isinstance(fact, CallRecord):
        settling.record(fact)
    else:
        settling.drop(fact)
    return None


PAIRED = a_started()
SPLIT = a_started(Mode.SPLIT)


@pytest.fixture
def memory() -> Memory:
    """Nothing is known of a paired experiment."""
    return Memory(Rules.of(PAIRED))


def _check(memory: Memory, story: Story, *, split: bool) -> None:
    raw = Raw()
    for batch in story:
        for fact, receipt in zip(batch, memory.tell(*batch), strict=True):
            raw.tell(fact, receipt)
    firsts = memory.firsts()
    assert memory.all_sums() == sums_of(raw, firsts, split=split)
    assert memory.all_latency() == latency_of(raw, split=split)
    units_with_pairs = {(unit, arm) for (_, unit, arm), tally in memory.units.items() if tally.pairs}
    assert sorted((memory.known[name].calls[arm].record.unit, arm) for name, arm, _ in firsts) == sorted(
        units_with_pairs
    )


@given(story=stories())
def test_paired_sums_are_those_of_a_plain_count(story: Story) -> None:
    """In whatever order calls and labels come, lost or repeated, the sums are what the facts say."""
    _check(Memory(Rules.of(PAIRED)), story, split=False)


@given(story=stories(split=True))
def test_split_sums_are_those_of_a_plain_count(story: Story) -> None:
    """The same where each request meets one arm, and some units wrongly several."""
    _check(Memory(Rules.of(SPLIT)), story, split=True)


def test_a_label_may_come_before_the_mirrors_prediction(memory: Memory) -> None:
    """The pair is scored as soon as it is complete."""
    control, arm = a_call(PAIRED, 1, 0, [0]), a_call(PAIRED, 1, 1, [2])
    memory.tell(control)
    assert memory.tell(an_outcome(control, 2)) == [Receipt.ACCEPTED]
    assert (memory.sum(0, "labelled"), memory.sum(1, "labelled"), memory.sum(1, "pairs")) == (1, 0, 0)
    memory.tell(arm)
    assert (memory.sum(1, "right"), memory.sum(1, "differ_labelled"), memory.sum(1, "signed")) == (1, 1, 1)
    assert (memory.sum(1, "first:arm_right"), memory.sum(1, "class:2:arm_right")) == (1, 1)


def test_a_label_counts_though_the_record_is_lost() -> None:
    """The ticket tells what was answered; the record, when it comes, tells of the call, once."""
    memory, control = Memory(Rules.of(SPLIT)), a_call(SPLIT, 1, 0, [0])
    memory.tell(an_outcome(control, 0))
    assert (memory.sum(0, "right"), memory.sum(0, "unmatched"), memory.sum(0, "calls")) == (1, 1, 0)
    assert not memory.all_latency()
    memory.tell(control, control)
    assert (memory.sum(0, "right"), memory.sum(0, "unmatched"), memory.sum(0, "calls")) == (1, 0, 1)
    assert sum(memory.all_latency()[1, 0].values()) == 1


def test_the_first_label_stays(memory: Memory) -> None:
    """The same one again is a duplicate; any other one a conflict, which marks the image once."""
    control = a_call(PAIRED, 1, 0, [0])
    memory.tell(control)
    told = memory.tell(*(an_outcome(control, label, ticket=label != 1) for label in (0, 0, 1, 2, 0)))
    expected = [Receipt.ACCEPTED, Receipt.DUPLICATE, Receipt.CONFLICT, Receipt.CONFLICT, Receipt.DUPLICATE]
    assert told == expected
    assert memory.tell(an_outcome(control, 1)) == [Receipt.CONFLICT]
    assert (memory.sum(0, "conflict"), memory.sum(0, "labelled"), memory.sum(0, "right")) == (1, 1, 1)


@pytest.mark.parametrize(
    ("label", "item", "ticket", "receipt"),
    [
        (0, 2, True, Receipt.INVALID),
        (0, -1, True, Receipt.INVALID),
        (0, 1, True, Receipt.INVALID),  # that image failed
        (3, 0, True, Receipt.INVALID),
        (0, 2, False, Receipt.INVALID),
        (0, 1, False, Receipt.INVALID),
        (0, 0, False, Receipt.ACCEPTED),
    ],
)
def test_labels_of_what_was_not_answered_are_invalid(
    memory: Memory, label: int, item: int, ticket: bool, receipt: Receipt
) -> None:
    """So are classes that do not exist; nothing changes."""
    control = a_call(PAIRED, 1, 0, [0, None])
    memory.tell(control)
    before = memory.all_sums()
    assert memory.tell(an_outcome(control, label, item, ticket=ticket)) == [receipt]
    assert (memory.all_sums() == before) is (receipt is Receipt.INVALID)


def test_a_label_without_ticket_needs_a_known_prediction(memory: Memory) -> None:
    """Nobody can label what was never served."""
    control = a_call(PAIRED, 1, 0, [0])
    assert memory.tell(an_outcome(control, 0, ticket=False)) == [Receipt.UNKNOWN_TOKEN]
    assert not memory.known


def test_a_units_first_pair_is_the_one_that_was_complete_first(memory: Memory) -> None:
    """In whichever phase, and whatever comes later."""
    earlier = [replace(a_call(PAIRED, 1, arm, [0]), phase=0) for arm in (0, 1)]
    later = [a_call(PAIRED, 2, arm, [arm]) for arm in (0, 1)]
    memory.tell(earlier[0], *later)
    memory.tell(earlier[1])
    assert memory.firsts() == {(later[1].prediction, 1, 0)}
    assert memory.sums[0, 1, "first:pairs"] + memory.sum(1, "first:pairs") == 1
    assert memory.sum(1, "first:differ") == 1


def test_more_classes_than_can_be_read_have_no_confusion_matrix() -> None:
    """Up to 100 have one."""
    for classes, cells in ((100, 1), (101, 0)):
        memory = Memory(replace(Rules.of(PAIRED), classes=classes))
        memory.tell(an_outcome(a_call(PAIRED, 1, 0, [0]), 99))
        assert memory.sum(0, "confusion:99:0") == cells


def test_what_was_dropped_is_counted(memory: Memory) -> None:
    """By arm and by what was lost."""
    lost = Dropped(experiment=1, phase=1, arm=2, what="mirror", count=3)
    memory.tell(lost, replace(lost, what="record", count=4), lost)
    assert (memory.sum(2, "dropped:mirror"), memory.sum(2, "dropped:record")) == (6, 4)


def test_what_is_forgotten_is_not_counted_again() -> None:
    """Records and tickets from before the last purge are not taken; from then on they are."""
    memory = Memory(Rules.of(SPLIT), purged_before=a_call(SPLIT, 2, 0, [0]).at)
    old, young = a_call(SPLIT, 1, 0, [0]), a_call(SPLIT, 2, 0, [0])
    assert memory.tell(old, an_outcome(old, 0), young, an_outcome(young, 0)) == [
        None,
        Receipt.TOO_LATE,
        None,
        Receipt.ACCEPTED,
    ]
    assert (memory.sum(0, "calls"), memory.sum(0, "labelled")) == (1, 1)


def test_only_images_on_which_arms_differ_are_kept(memory: Memory) -> None:
    """Of the images of a request, those that an arm and the control answered otherwise."""
    control, arm = a_call(PAIRED, 1, 0, [0, 1, None]), a_call(PAIRED, 1, 1, [0, 2, 2])
    memory.tell(control)
    memory.tell(replace(arm, images=(b"a", b"b", b"c")))
    assert [(one.prediction, one.item, one.content) for one in memory.images] == [
        (control.prediction, 1, b"b")
    ]


def test_facts_that_are_known_change_nothing(memory: Memory) -> None:
    """A batch that is told twice leaves nothing to write the second time."""
    facts = [a_call(PAIRED, 1, 0, [0]), a_call(PAIRED, 1, 1, [2])]
    memory.tell(*facts)
    settling = Settling(rules=memory.rules, known=memory.known, units=memory.units)
    for fact in facts:
        settling.record(fact)
    assert not settling.changes()


def test_the_wait_in_the_queue_is_no_arms_slowness_where_calls_are_mirrored() -> None:
    """A mirrored call stands behind all callers; in a split all calls queue alike, and the wait counts."""
    for experiment, slow in ((PAIRED, 0), (SPLIT, 1)):
        memory = Memory(Rules.of(experiment))
        memory.tell(replace(a_call(experiment, 1, 1, [0]), latency_us=5000, queue_us=4800))
        assert memory.sum(1, f"slow:{SLOW_MS}") == slow


def test_the_control_is_compared_over_the_requests_that_others_saw(memory: Memory) -> None:
    """A call that was not mirrored, by the sample or for want of room, is not held against it, nor for it."""
    alone, seen = a_call(PAIRED, 1, 0, [0]), a_call(PAIRED, 2, 0, [0])
    memory.tell(replace(alone, failed=True), seen)
    assert (memory.sum(0, "calls"), memory.sum(0, "failures"), memory.all_latency()) == (0, 0, {})
    memory.tell(a_call(PAIRED, 2, 1, [0]))
    assert (memory.sum(0, "calls"), memory.sum(1, "calls"), memory.sum(0, "failures")) == (1, 1, 0)
    assert sum(memory.all_latency()[1, 0].values()) == 1
