"""The seconds that requests wait for a model: their rate is how many are in hand, for which workers come."""

from __future__ import annotations

import asyncio

import pytest

from serve.core.batching import Limits
from serve.core.errors import DeadlineError, EngineError, OverloadedError
from serve.core.messages import ModelRef
from serve.repository import Entry
from tests.service.house import CALL, REF, House, numbered, request_of
from tests.service.virtual_time import clock, in_virtual_time, settle


def entry(house: House) -> Entry:
    """The version that the house serves."""
    return house.repository.find(REF.name, REF.version)


def seconds(house: House) -> float:
    """What the counter says."""
    return house.sample("attnserve_predict_seconds_total", model=REF.name)


@in_virtual_time
async def test_every_request_adds_the_seconds_that_it_waited() -> None:
    """The first has the worker for a second; the second, half a second later, waits until it is free."""
    house = House()
    assert seconds(house) == 0
    first = asyncio.create_task(house.service.infer(request_of((b"a",)), CALL))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(house.service.infer(request_of((b"b", b"c")), CALL))
    await first
    assert seconds(house) == pytest.approx(1.0)
    await second
    assert seconds(house) == pytest.approx(1.0 + 1.5)


@in_virtual_time
async def test_its_rate_is_the_mean_of_the_requests_in_hand() -> None:
    """Little's law: it has grown by as much as the gauge of waiting requests, added up over time."""
    house = House(limits=Limits(max_batch=2, max_queue_images=1000))
    tasks, area, step = [], 0.0, 1 / 64
    for tick in range(15 * 64):
        if tick < 4 * 64 and tick % 20 == 0:
            tasks.append(asyncio.create_task(house.service.infer(request_of((b"a",)), CALL)))
        await settle()
        area += step * house.sample("attnserve_inflight_requests", model=REF.name)
        await asyncio.sleep(step)
    await asyncio.gather(*tasks)
    assert len(tasks) == 13
    assert seconds(house) == pytest.approx(area, rel=0.02)


@in_virtual_time
async def test_a_mirrored_request_counts_as_much() -> None:
    """A shadow arm has no callers, and its workers have as much to do."""
    house = House()
    await house.inference.mirror(entry(house), request_of((b"a",)), clock() + 10)
    assert seconds(house) == pytest.approx(1.0)


@in_virtual_time
async def test_a_request_that_failed_counts_until_it_did() -> None:
    """A lost worker, a deadline and a caller that went: each had its place until then."""
    house = House()
    house.engine.fail_next(EngineError("engine: lost", reason="refused"))
    with pytest.raises(EngineError):
        await house.service.infer(request_of((b"a",)), CALL)
    before = seconds(house)
    late = asyncio.create_task(house.inference.mirror(entry(house), request_of((b"a",)), clock() + 0.25))
    with pytest.raises(DeadlineError):
        await late
    assert seconds(house) - before == pytest.approx(0.25)
    gone = asyncio.create_task(house.service.infer(request_of((b"b",)), CALL))
    await asyncio.sleep(0.125)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert seconds(house) - before == pytest.approx(0.375)
    await asyncio.sleep(3.0)  # the worker ends what nobody waits for
    assert seconds(house) - before == pytest.approx(0.375)


@in_virtual_time
async def test_a_request_that_was_turned_away_adds_nothing() -> None:
    """It took no place; workers are added for those that did, and for the time that they then wait."""
    house = House(limits=Limits(max_batch=4, max_queue_images=4, prefetch=0))
    taken = [asyncio.create_task(house.service.infer(request_of(numbered(4)), CALL)) for _ in range(2)]
    await settle()
    with pytest.raises(OverloadedError):
        await house.service.infer(request_of((b"a",)), CALL)
    assert seconds(house) == 0
    await asyncio.gather(*taken)
    assert seconds(house) == pytest.approx(1.0 + 2.0)


@in_virtual_time
async def test_every_model_has_its_own() -> None:
    """What one model's requests wait says nothing of another one's workers."""
    house = House()
    house.metrics.start_model(ModelRef(name="digits_eca", version="1"))
    await house.service.infer(request_of((b"a",)), CALL)
    assert seconds(house) == pytest.approx(1.0)
    assert house.sample("attnserve_predict_seconds_total", model="digits_eca") == 0
