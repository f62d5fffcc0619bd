"""What is written to a ledger, in either database: exact sums, once, whoever writes and when."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings

from serve.core.experiment import Experiment, Mode
from serve.core.record import CallRecord, Dropped, Outcome, Receipt
from serve.ledger.database import Database
from serve.ledger.ledger import Ledger
from serve.ledger.settling import known_of
from tests.ledger.facts import Fact, Story, a_call, a_prediction, a_started, an_outcome, kept, owned, stories
from tests.ledger.plain import Firsts, Raw, Sums, latency_of, sums_of


@pytest.fixture
def experiment(ledger: Ledger) -> Experiment:
    """A paired one that runs."""
    return kept(ledger, a_started())


def told(ledger: Ledger, batch: list[Fact]) -> list[Receipt | None]:
    """Tell a batch, of one kind."""
    calls = [fact for fact in batch if isinstance(fact, CallRecord)]
    outcomes = [fact for fact in batch if isinstance(fact, Outcome)]
    ledger.records.write(calls, [])
    return [*(None for _ in calls), *ledger.records.outcomes(outcomes)]


def sums_in(ledger: Ledger, experiment: Experiment) -> Sums:
    """All that are not 0."""
    phases = ledger.reading.evidence(experiment.id).phases
    found = {
        (phase.phase, index): {name: value for name, value in arm.sums.items() if value}
        for phase in phases
        for index, arm in enumerate(phase.arms)
    }
    return {place: names for place, names in found.items() if names}


def latency_in(ledger: Ledger, experiment: Experiment) -> dict[tuple[int, int], dict[int, int]]:
    """All that are not 0."""
    phases = ledger.reading.evidence(experiment.id).phases
    found = {
        (phase.phase, index): {bucket: number for bucket, number in arm.latency.items() if number}
        for phase in phases
        for index, arm in enumerate(phase.arms)
    }
    return {place: buckets for place, buckets in found.items() if buckets}


def firsts_in(url: str, experiment: Experiment) -> Firsts:
    """The units' first pairs."""
    database = Database.connect(url)
    with database.reading() as connection:
        known = known_of(connection, experiment.id, {a_prediction(number) for number in range(200)})
    database.close()
    calls = [call for one in known.values() for call in one.calls.values()]
    return {
        (call.record.prediction, call.record.arm, call.first_item)
        for call in calls
        if call.first_item is not None
    }


def _check(url: str, ledger: Ledger, story: Story, mode: Mode) -> None:
    experiment = kept(ledger, a_started(mode))
    raw = Raw()
    for some in story:
        batch = [owned(fact, experiment.id) for fact in some]
        for fact, receipt in zip(batch, told(ledger, batch), strict=True):
            raw.tell(fact, receipt)
    firsts = firsts_in(url, experiment)
    assert sums_in(ledger, experiment) == sums_of(raw, firsts, split=mode is Mode.SPLIT)
    assert latency_in(ledger, experiment) == latency_of(raw, split=mode is Mode.SPLIT)


_few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_few
@given(story=stories())
def test_paired_sums_are_those_of_a_plain_count(ledger_url: str, ledger: Ledger, story: Story) -> None:
    """Read back, they are what the facts say, in whatever order these came."""
    _check(ledger_url, ledger, story, Mode.PAIRED)


@_few
@given(story=stories(split=True))
def test_split_sums_are_those_of_a_plain_count(ledger_url: str, ledger: Ledger, story: Story) -> None:
    """The same where each request meets one arm."""
    _check(ledger_url, ledger, story, Mode.SPLIT)


def test_a_batch_may_be_written_again(ledger: Ledger, experiment: Experiment) -> None:
    """Calls count once; nothing that counts changes, so nobody has to look again."""
    calls = [a_call(experiment, number, arm, [arm], unit=number) for number in range(3) for arm in (0, 1)]
    ledger.records.write(calls, [])
    before, activity = sums_in(ledger, experiment), ledger.reading.activity()
    ledger.records.write(calls, [])
    assert sums_in(ledger, experiment) == before
    assert ledger.reading.activity() == activity
    assert before[1, 1]["first:pairs"] == 3


def test_a_large_batch_is_settled_in_parts(ledger: Ledger, experiment: Experiment) -> None:
    """More keys than fit into one statement make no difference."""
    calls = [a_call(experiment, number, arm, [arm], unit=number) for number in range(1100) for arm in (0, 1)]
    ledger.records.write(calls, [])
    receipts = ledger.records.outcomes([an_outcome(call, 1) for call in calls if not call.arm])
    assert receipts == [Receipt.ACCEPTED] * 1100
    sums = sums_in(ledger, experiment)[1, 1]
    assert (sums["calls.units"], sums["first:arm_right"], sums["right"]) == (1100, 1100, 1100)


def test_every_write_shows_in_the_activity(ledger: Ledger, experiment: Experiment) -> None:
    """A gateway sees by one number whether the evidence has changed."""
    call = a_call(experiment, 1, 0, [0])
    seen = [ledger.reading.activity()[experiment.id]]
    for write in (
        lambda: ledger.records.write([call], []),
        lambda: ledger.records.outcomes([an_outcome(call, 0)]),
        lambda: ledger.records.write([], [_dropped(experiment)]),
    ):
        write()
        seen.append(ledger.reading.activity()[experiment.id])
    assert seen == sorted(set(seen))


def test_a_duplicate_outcome_changes_nothing(ledger: Ledger, experiment: Experiment) -> None:
    """It is known as one in the same batch, and in a later one."""
    call = a_call(experiment, 1, 0, [0])
    outcome = an_outcome(call, 0)
    assert ledger.records.outcomes([outcome, outcome]) == [Receipt.ACCEPTED, Receipt.DUPLICATE]
    activity = ledger.reading.activity()
    assert ledger.records.outcomes([outcome]) == [Receipt.DUPLICATE]
    assert ledger.reading.activity() == activity


def test_a_contradicted_label_counts_once(ledger: Ledger, experiment: Experiment) -> None:
    """However often it is contradicted, and whatever is told of its prediction afterwards."""
    call = a_call(experiment, 1, 0, [0])
    for label, receipt in ((0, Receipt.ACCEPTED), (1, Receipt.CONFLICT), (2, Receipt.CONFLICT)):
        assert ledger.records.outcomes([an_outcome(call, label)]) == [receipt]
    ledger.records.write([call], [])
    sums = sums_in(ledger, experiment)[1, 0]
    assert (sums["conflict"], sums["labelled"], sums["right"]) == (1, 1, 1)


def test_experiments_of_one_batch_are_kept_apart(ledger: Ledger) -> None:
    """Each fact counts for its own; what belongs to no experiment is left out, or not known."""
    one, two = (kept(ledger, a_started(Mode.SPLIT)) for _ in range(2))
    strange = replace(a_call(one, 3, 0, [0]), experiment=99)
    calls = [a_call(two, 1, 0, [0]), strange, a_call(one, 1, 0, [1]), a_call(two, 2, 0, [0])]
    ledger.records.write(calls, [_dropped(one), _dropped(two), replace(_dropped(two), experiment=99)])
    told = [an_outcome(calls[0], 0), an_outcome(strange, 0), an_outcome(calls[2], 0)]
    expected = [Receipt.ACCEPTED, Receipt.UNKNOWN_TOKEN, Receipt.ACCEPTED]
    assert ledger.records.outcomes(told) == expected
    for experiment, calls_counted, right in ((one, 1, 0), (two, 2, 1)):
        sums = sums_in(ledger, experiment)
        assert (sums[1, 0]["calls"], sums[1, 0].get("right", 0)) == (calls_counted, right)
        assert sums[1, 1] == {"dropped:mirror": 2}


def test_gateways_may_write_of_the_same_predictions_at_once(
    ledger_url: str, ledger: Ledger, experiment: Experiment
) -> None:
    """Served calls, mirrored calls and labels from four connections: nothing is lost or counted twice."""
    numbers = range(200)
    served = [a_call(experiment, number, 0, [0], unit=number % 20) for number in numbers]
    mirrored = [a_call(experiment, number, 1, [number % 2], unit=number % 20) for number in numbers]
    labels = [an_outcome(call, index % 3) for index, call in enumerate(served)]
    ledgers = [Ledger.open(ledger_url) for _ in range(4)]
    start = Barrier(4)

    def write(index: int) -> None:
        start.wait()
        for at in range(0, len(numbers), 10):
            part = slice(at, at + 10)
            if index < 2:
                ledgers[index].records.write((served, mirrored)[index][part], [])
            else:
                ledgers[index].records.outcomes(labels[part])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    raw = Raw()
    for call in (*served, *mirrored):
        raw.tell(call, None)
    for label in labels:
        raw.tell(label, Receipt.ACCEPTED)
    assert sums_in(ledger, experiment) == sums_of(raw, firsts_in(ledger_url, experiment))
    assert latency_in(ledger, experiment) == latency_of(raw)
    for other in ledgers:
        other.close()


def _dropped(experiment: Experiment) -> Dropped:
    return Dropped(experiment=experiment.id, phase=1, arm=1, what="mirror", count=2)
