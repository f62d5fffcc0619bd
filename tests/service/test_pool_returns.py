"""Engines that come back, batches between two attempts, and what is shown of engines that have gone."""

from __future__ import annotations

import asyncio

import pytest

from serve.core.catalog import ModelState
from serve.core.errors import EngineError
from serve.core.messages import ModelRef
from serve.engines.fake import FakeEngine, Pace
from serve.loading import House as Entrance
from tests.service.house import CARD, REF, House, asked, classes, numbered
from tests.service.virtual_time import clock, in_virtual_time, settle

GONE = EngineError("engine: cannot be reached", reason="unreachable")
QUICK = Pace(batch_s=0.1)


async def callers(house: House, count: int, until: float) -> None:
    """So many, each with one image after the other."""

    async def one(name: str) -> None:
        while clock() < until:
            await house.ask((f"{name} at {clock()}".encode(),))

    await asyncio.gather(*(one(f"caller {number}") for number in range(count)))


def breakers(house: House, engine: FakeEngine) -> list[str]:
    """The states that the metrics show of an engine."""
    return [
        sample.labels["state"]
        for metric in house.registry.collect()
        for sample in metric.samples
        if sample.name == "attnserve_engine_breaker" and sample.labels["engine"] == engine.name
        if sample.value
    ]


@in_virtual_time
async def test_an_engine_comes_back_however_busy_the_others_are() -> None:
    """That another one is too busy to be compared with in time is nothing against it."""
    house = House(engines=2, pace=Pace(batch_s=0.4, image_s=0.2))
    back, busy = house.held
    house.pool.fail(REF, back, GONE)
    await callers(house, 64, until=60.0)
    assert len(asked(busy)) - len(asked(back)) in range(6)


@in_virtual_time
async def test_an_engine_that_comes_back_takes_over_from_one_that_hangs() -> None:
    """What waits, and what hangs, had nobody else before; a batch of another size than any before, too."""
    house = House(engines=2, pace=QUICK)
    away, frozen = house.held
    for _ in range(12):
        await asyncio.gather(house.ask((b"a",)), house.ask((b"b",)))
    away.drop(REF)
    house.pool.fail(REF, away, GONE)
    frozen.hang()
    stuck = house.ask(numbered(16), deadline=clock() + 15.0)
    waits = house.ask((b"c",), deadline=clock() + 15.0)
    await asyncio.sleep(1.0)
    away.hold(CARD)
    assert (await stuck, await waits) == (classes(numbered(16)), classes([b"c"]))
    frozen.wake()
    await asyncio.sleep(30.0)


@in_virtual_time
async def test_a_probe_that_breaks_is_not_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it meets, the engine is probed again."""
    house = House(pace=QUICK)
    house.pool.fail(REF, house.engine, GONE)
    with monkeypatch.context() as patch:
        patch.setattr(house.engine, "describe", None)
        await asyncio.sleep(5.0)
        assert not house.pool.available(REF)
    await asyncio.sleep(11.0)
    assert house.pool.available(REF)


@in_virtual_time
async def test_a_batch_between_two_attempts_still_runs() -> None:
    """A version that is drained is not let go in the pause before the second one."""
    house = House(pace=QUICK)
    entrance = Entrance(house.repository, house.pool, house.batcher)
    house.engine.fail_next(EngineError("engine: no worker is free", reason="overloaded"))
    asking = house.ask((b"a",))
    await settle()
    await entrance.drain(REF)
    entrance.dismiss(REF, house.engine, ModelState.UNAVAILABLE, "unloaded")
    assert await asking == classes([b"a"])


@in_virtual_time
async def test_a_breaker_is_shown_while_the_engine_holds_a_version_of_the_model() -> None:
    """Letting one of two versions go takes nothing from the other one's; late failures bring nothing back."""
    house = House(engines=2, pace=QUICK)
    first, second = house.held
    newer = ModelRef(name=REF.name, version="2")
    house.pool.attach(newer, first)
    house.pool.detach(REF, first)
    assert breakers(house, first) == ["closed"]
    second.fail_next(GONE)
    asking = house.ask((b"a",))
    await settle()
    house.pool.detach(REF, second)
    house.pool.detach(newer, first)
    await asyncio.gather(asking, return_exceptions=True)
    assert breakers(house, first) == breakers(house, second) == []
