"""Single predictions as people get them: raw pairs, disagreements, images; and what time removes of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from sqlalchemy import select

from serve.core.errors import NotFoundError
from serve.core.experiment import Experiment, KeepImages, State
from serve.core.record import Receipt
from serve.ledger.bulk import CHUNK
from serve.ledger.database import Database
from serve.ledger.ledger import Ledger
from serve.ledger.schema import unit
from tests.ledger.facts import LABELS, T0, a_call, a_prediction, a_started, an_outcome, kept

DAY_S = 86_400.0
LATER = T0 + 30 * DAY_S


@pytest.fixture
def experiment(ledger: Ledger) -> Experiment:
    """A paired one that keeps two images for a week."""
    return kept(ledger, a_started(keep_images=KeepImages(max_images=2, days=7)))


def a_pair(
    ledger: Ledger, experiment: Experiment, number: int, said: tuple[int | None, int | None] = (0, 1)
) -> None:
    """One image that the control and the first arm saw."""
    calls = [a_call(experiment, number, arm, [said[arm]], unit=number) for arm in (0, 1)]
    ledger.records.write([calls[0], replace(calls[1], images=(b"image %d" % number,))], [])


def test_a_pair_shows_what_each_arm_said(ledger: Ledger, experiment: Experiment) -> None:
    """With the names of classes, and with gaps where nothing is known."""
    control = a_call(experiment, 1, 0, [0, None], unit=5)
    ledger.records.write([a_call(experiment, 1, 1, [2, None]), control], [])
    ledger.records.outcomes([an_outcome(control, 2)])
    (row,) = ledger.exports.pairs(experiment.id)
    assert (row.prediction, row.item, row.unit, row.phase) == (control.prediction, 0, control.unit, 1)
    assert (row.at, row.label, row.said) == (control.at, LABELS[2], (LABELS[0], LABELS[2], ""))
    assert row.confidence[:2] == (0.8, 0.8)
    assert math.isnan(row.confidence[2])
    assert row.latency_us == (400, 600, 0)


def test_calls_without_any_answer_are_no_pairs(ledger: Ledger, experiment: Experiment) -> None:
    """They have no image that was answered."""
    ledger.records.write([replace(a_call(experiment, 1, 0, []), outcome="internal", failed=True)], [])
    assert list(ledger.exports.pairs(experiment.id)) == []


def test_pairs_come_by_time_each_once(ledger: Ledger, experiment: Experiment) -> None:
    """Over any number of pages, also where the mirror's time is another."""
    numbers = range(2 * CHUNK + 10)
    calls = [a_call(experiment, number, arm, [0]) for number in reversed(numbers) for arm in (0, 1)]
    ledger.records.write([replace(call, at=call.at + call.arm * 0.7 * CHUNK) for call in calls], [])
    rows = list(ledger.exports.pairs(experiment.id))
    assert [row.prediction for row in rows] == [a_prediction(number) for number in numbers]
    assert {row.said for row in rows} == {(LABELS[0], LABELS[0], "")}


def test_disagreements_are_those_images_only(ledger: Ledger, experiment: Experiment) -> None:
    """Each once, however many arms disagree; on demand only those without a label."""
    control = a_call(experiment, 1, 0, [0, 1, 2])
    others = [a_call(experiment, 1, 1, [0, 0, None]), a_call(experiment, 1, 2, [0, 0, 1])]
    ledger.records.write([control, *others, a_call(experiment, 2, 0, [1]), a_call(experiment, 2, 1, [1])], [])
    rows = list(ledger.exports.disagreements(experiment.id, False))  # noqa: FBT003  as the desk calls it
    assert [(row.prediction, row.item, row.image_kept) for row in rows] == [
        (control.prediction, 1, False),
        (control.prediction, 2, False),
    ]
    ledger.records.outcomes([an_outcome(control, 1, 1)])
    rest = ledger.exports.disagreements(experiment.id, unlabelled_only=True)
    assert [row.item for row in rest] == [2]


def test_images_are_kept_up_to_the_cap(ledger: Ledger, experiment: Experiment) -> None:
    """Only of disagreements; when there is room again, new ones are kept."""
    a_pair(ledger, experiment, 1, (1, 1))
    for number in (2, 3, 4):
        a_pair(ledger, experiment, number)
    shown = ledger.exports.disagreements(experiment.id, unlabelled_only=False)
    assert [(row.prediction, row.image_kept) for row in shown] == [
        (a_prediction(2), True),
        (a_prediction(3), True),
        (a_prediction(4), False),
    ]
    assert ledger.exports.image(experiment.id, a_prediction(3), 0) == b"image 3"
    for number in (1, 4):
        with pytest.raises(NotFoundError, match=a_prediction(number)):
            ledger.exports.image(experiment.id, a_prediction(number), 0)
    ledger.purge(T0 + 2.5 + 7 * DAY_S, keep_raw_days=90)
    a_pair(ledger, experiment, 5)
    with pytest.raises(NotFoundError):
        ledger.exports.image(experiment.id, a_prediction(2), 0)
    assert ledger.exports.image(experiment.id, a_prediction(5), 0) == b"image 5"


def test_images_that_are_not_wanted_any_more_are_removed(ledger: Ledger, experiment: Experiment) -> None:
    """As soon as the design does not ask for them; and no new ones are kept."""
    a_pair(ledger, experiment, 1)
    design = experiment.design.model_copy(update={"keep_images": None})
    ledger.versions.append(replace(experiment, number=3, design=design))
    a_pair(ledger, experiment, 2)
    ledger.purge(T0 + 10, keep_raw_days=90)
    for number in (1, 2):
        with pytest.raises(NotFoundError):
            ledger.exports.image(experiment.id, a_prediction(number), 0)


def test_old_predictions_are_removed_and_the_sums_stay(ledger: Ledger, experiment: Experiment) -> None:
    """What is told afterwards of what is gone is not counted a second time."""
    old, young = a_call(experiment, 1, 0, [0]), replace(a_call(experiment, 2, 0, [0]), at=LATER)
    a_pair(ledger, experiment, 1)
    ledger.records.write([young], [])
    ledger.records.outcomes([an_outcome(old, 0), an_outcome(young, 0)])
    before = ledger.reading.evidence(experiment.id)
    ledger.purge(LATER + 5 * DAY_S, keep_raw_days=6)
    assert [row.prediction for row in ledger.exports.pairs(experiment.id)] == [young.prediction]
    with pytest.raises(NotFoundError):
        ledger.exports.image(experiment.id, old.prediction, 0)
    ledger.records.write([old, young], [])
    told = [an_outcome(old, 0), an_outcome(old, 0, ticket=False), an_outcome(young, 0)]
    expected = [Receipt.TOO_LATE, Receipt.UNKNOWN_TOKEN, Receipt.DUPLICATE]
    assert ledger.records.outcomes(told) == expected
    assert ledger.reading.evidence(experiment.id) == before


def test_many_old_predictions_are_removed(ledger: Ledger, experiment: Experiment) -> None:
    """Also more than go at once."""
    calls = [a_call(experiment, number, 0, [0]) for number in range(2 * CHUNK + 1)]
    ledger.records.write(calls, [])
    ledger.purge(LATER, keep_raw_days=1)
    assert list(ledger.exports.pairs(experiment.id)) == []


def test_units_are_forgotten_when_an_experiment_is_long_over(
    ledger_url: str, ledger: Ledger, experiment: Experiment
) -> None:
    """Not before: while it goes on they say which pair is a unit's first."""
    a_pair(ledger, experiment, 1)
    ledger.purge(LATER, keep_raw_days=1)
    again = [replace(a_call(experiment, 2, arm, [0], unit=1), at=LATER) for arm in (0, 1)]
    ledger.records.write(again, [])
    sums = ledger.reading.evidence(experiment.id).phases[1].arms[1].sums
    assert (sums["calls.units"], sums["pairs"], sums["first:pairs"]) == (1, 2, 1)
    ended = replace(experiment, number=3, state=State.STOPPED, act="stop", effective_at=LATER)
    ledger.versions.append(ended)
    before = ledger.reading.evidence(experiment.id)
    ledger.purge(LATER + 2 * DAY_S, keep_raw_days=1)
    assert ledger.reading.evidence(experiment.id) == before
    database = Database.connect(ledger_url)
    with database.reading() as connection:
        assert connection.execute(select(unit)).all() == []
    database.close()
