"""Recorder: records wait in memory for the ledger, are bounded, and nothing is lost unseen."""

from __future__ import annotations

import asyncio

from serve.core.errors import UnavailableError
from serve.core.record import Dropped
from tests.experiments.trial_house import TrialHouse, design_of, running
from tests.service.virtual_time import in_virtual_time

DOWN = UnavailableError("the experiment store does not answer")


@in_virtual_time
async def test_records_wait_for_a_ledger_that_is_down_and_are_written_once() -> None:
    """The caller does not notice; when it answers again all are there, in order."""
    house, experiment = TrialHouse(), running(design_of())
    work = asyncio.create_task(house.recorder.run())
    house.records.error = DOWN
    for number in range(5):
        await house.infer(experiment, f"u{number}")
    assert house.records.calls == []
    house.records.error = None
    await asyncio.sleep(5)
    work.cancel()
    assert len({record.prediction for record in house.records.calls}) == len(house.records.calls) == 5


@in_virtual_time
async def test_what_does_not_fit_is_dropped_and_counted_per_arm() -> None:
    """In the metrics at once, in the ledger as soon as it answers."""
    house, experiment = TrialHouse(max_queued=3), running(design_of())
    house.records.error = DOWN
    for number in range(20):
        await house.infer(experiment, f"u{number}")
    arms = ("se", "eca")
    dropped = [
        house.sample("attnserve_experiment_dropped_total", experiment="trial", arm=arm, what="record")
        for arm in arms
    ]
    assert sum(dropped) == 17
    house.records.error = None
    await house.recorder.flush()
    assert len(house.records.calls) == 3
    told = sorted(house.records.drops, key=lambda drop: drop.arm)
    assert told == [
        Dropped(experiment=7, phase=0, arm=arm, what="record", count=int(count))
        for arm, count in enumerate(dropped)
    ]


@in_virtual_time
async def test_a_record_that_can_never_be_written_keeps_no_other_back() -> None:
    """A bug of the ledger costs the batch that met it, counted, and not all that come after."""
    house, experiment = TrialHouse(), running(design_of())
    house.records.error = TypeError("a bug")
    await house.infer(experiment, "u1")
    await house.recorder.flush()
    house.records.error = None
    await house.infer(experiment, "u2")
    await house.recorder.flush()
    assert len(house.records.calls) == 1
    assert sum(drop.count for drop in house.records.drops) == 1


@in_virtual_time
async def test_closing_gives_up_after_a_time() -> None:
    """A ledger that does not answer does not keep the gateway from ending."""
    house, experiment = TrialHouse(), running(design_of())
    house.records.error = DOWN
    await house.infer(experiment)
    await house.recorder.close(0.5)
    assert house.recorder.waiting == 1


@in_virtual_time
async def test_closing_waits_for_a_ledger_that_comes_back_in_time() -> None:
    """One that starts anew while the gateway ends costs no record."""
    house, experiment = TrialHouse(), running(design_of())
    house.records.error = DOWN
    await house.infer(experiment)
    closing = asyncio.create_task(house.recorder.close(5.0))
    await asyncio.sleep(1.0)
    house.records.error = None
    await closing
    assert len(house.records.calls) == 1
