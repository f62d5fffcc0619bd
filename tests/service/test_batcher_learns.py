"""What the batcher learns from answers: when the next batch sets out, how large it is, who would be late."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from serve.core.batching import Limits, Reason
from serve.core.messages import Batch, BatchReply, ModelRef
from serve.engines.fake import FakeEngine, Pace
from serve.engines.pool import PoolOptions
from tests.service.house import CARD, REF, House, numbered, query_of
from tests.service.virtual_time import clock, in_virtual_time, settle

WAY_S = 0.2
OTHER = replace(CARD, ref=ModelRef(name="digits_eca", version="1"))


class Distant(FakeEngine):
    """Its worker is some way off, there and back."""

    async def predict(self, ref: ModelRef, batch: Batch, timeout_s: float) -> BatchReply:
        """Answer a while after the worker is done."""
        await asyncio.sleep(WAY_S / 2)
        reply = await super().predict(ref, batch, timeout_s)
        await asyncio.sleep(WAY_S / 2)
        return reply


def distant(pace: Pace, limits: Limits) -> House:
    """A house whose only engine is some way off."""
    house = House(engines=0, limits=limits)
    house.held.append(Distant("far", [CARD], pace))
    house.pool.attach(REF, house.engine)
    return house


def released(house: House, reason: Reason) -> float:
    """Batches that left for that reason."""
    return house.sample("attnserve_batch_release_total", model=REF.name, reason=reason.value)


@in_virtual_time
async def test_a_worker_does_not_wait_for_the_next_batch() -> None:
    """Two callers in turns: once the times are known, the worker has the next image when it is done."""
    house = distant(Pace(batch_s=1.0), Limits(max_batch=16, max_queue_images=100))
    await house.ask((b"first",))
    await house.ask((b"second",))
    began = clock()
    await asyncio.gather(*(house.ask((image,)) for image in numbered(2)))
    assert clock() - began == pytest.approx(WAY_S + 2.0), "one way, not two"
    assert released(house, Reason.AHEAD) == 1


@in_virtual_time
async def test_without_prefetch_nothing_is_handed_ahead() -> None:
    """The worker waits for the way there and back."""
    house = distant(Pace(batch_s=1.0), Limits(max_batch=16, max_queue_images=100, prefetch=0))
    await house.ask((b"first",))
    began = clock()
    await asyncio.gather(*(house.ask((image,)) for image in numbered(2)))
    assert clock() - began == pytest.approx(2 * WAY_S + 2.0)
    assert released(house, Reason.AHEAD) == 0


@in_virtual_time
async def test_batches_are_no_larger_than_pays() -> None:
    """Where every image takes its time, eight at once carry as many as sixteen; the size is shown."""
    house = House(pace=Pace(batch_s=0.005, image_s=0.027))
    target = "attnserve_batch_target_images"
    for _ in range(10):
        await asyncio.gather(*(house.ask((image,)) for image in numbered(9)))
    assert house.sample(target, model=REF.name) == 8
    sent = len(house.sizes)
    await asyncio.gather(*(house.ask((image,)) for image in numbered(33)))
    assert max(house.sizes[sent:]) == 8


@in_virtual_time
async def test_company_makes_nobody_late() -> None:
    """A caller in a hurry leaves with as many others as it has time for; the rest goes next."""
    house = House(
        pace=Pace(batch_s=0.1, image_s=0.1), limits=Limits(max_batch=8, max_queue_images=100, slack=0)
    )
    for size in (1, 2, 4):
        await house.ask(numbered(size))
    running = house.ask((b"running",))
    await settle()
    urgent = house.ask((b"urgent",), deadline=clock() + 0.8)
    others = [house.ask((image,)) for image in numbered(6)]
    await asyncio.gather(urgent, running, *others)
    # Its 0.6 s from when the worker is free are 0.48 s with a quarter to spare: 0.1 + 0.1 b for three images.
    assert house.sizes[3:] == [1, 3, 4]


@in_virtual_time
async def test_a_busy_model_leaves_another_its_answers() -> None:
    """While callers keep one model's worker busy without end, a lone request of another leaves at once."""
    house = House(pace=Pace(batch_s=1.0), limits=Limits(max_batch=4, max_queue_images=8))
    engine = FakeEngine("engine0 of the other", [OTHER], Pace(batch_s=1.0))
    house.pool.attach(OTHER.ref, engine)
    crowd = [house.ask((image,)) for image in numbered(8)]
    for _ in range(10):
        await asyncio.sleep(0.5)
        crowd += [house.ask((image,)) for image in numbered(8)]
        began = clock()
        prediction = await house.batcher.predict(OTHER, query_of((b"alone",), OTHER), began + 1.5)
        assert prediction.queue_s == 0.0
        assert clock() - began == pytest.approx(1.0)
    ends = await asyncio.gather(*crowd, return_exceptions=True)
    assert any(isinstance(end, Exception) for end in ends), "the crowd wants more than there is"


@in_virtual_time
async def test_models_on_one_engine_have_queues_and_budgets_of_their_own() -> None:
    """An engine whose worker of one model hangs is asked for the other one as before."""
    house = House(
        limits=Limits(max_batch=4, max_queue_images=100),
        pool_options=PoolOptions(attempts=1, attempt_timeout_s=6.0),
    )
    house.held[0] = engine = TwoWorkers("both", [CARD, OTHER], Pace(workers=2, batch_s=0.1))
    house.pool.detach(REF, house.pool.holders(REF)[0])
    house.pool.attach(REF, engine)
    house.pool.attach(OTHER.ref, engine)
    stuck = [house.ask((image,), deadline=5.0) for image in numbered(20)]
    await settle()
    for _ in range(5):
        began = clock()
        await house.batcher.predict(OTHER, query_of((b"alone",), OTHER), began + 1.0)
        assert clock() - began == pytest.approx(0.1)
    ends = await asyncio.gather(*stuck, return_exceptions=True)
    assert all(isinstance(end, Exception) for end in ends)
    await asyncio.sleep(10.0)  # the attempts' own end


class TwoWorkers(FakeEngine):
    """Of two models, the worker of one hangs."""

    async def predict(self, ref: ModelRef, batch: Batch, timeout_s: float) -> BatchReply:
        """Answer for the other one."""
        if ref == REF:
            await asyncio.sleep(timeout_s)
        return await super().predict(ref, batch, timeout_s)


@in_virtual_time
async def test_a_timer_that_comes_early_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of uvloop are up to 1.5 ms early, by the clock that the policy goes by."""
    loop = asyncio.get_running_loop()
    on_time = loop.call_later
    monkeypatch.setattr(loop, "call_later", lambda delay, *rest: on_time(max(0.0, delay - 0.0013), *rest))
    house = House(limits=Limits(max_batch=16, max_queue_images=100, max_queue_delay_s=0.005))
    assert len(await house.ask((b"lone",), deadline=clock() + 10.0)) == 1
