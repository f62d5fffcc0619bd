"""The pool: who runs a batch, what happens when an attempt fails, and that room is always given back."""

from __future__ import annotations

import asyncio

import pytest

from serve.core.batching import Slots
from serve.core.errors import DeadlineError, EngineError, UnavailableError
from serve.core.messages import Batch, BatchReply, Items, Kind, ModelRef, Timings
from serve.engines.fake import FakeEngine, Pace
from serve.engines.pool import PoolOptions
from serve.engines.torchserve_link import PUBLIC_MESSAGES
from serve.metrics import ENGINE_OUTCOMES
from tests.service.house import CARD, FAR, REF, House, asked
from tests.service.virtual_time import in_virtual_time, settle

BATCH = Batch(parts=(Items(kind=Kind.IMAGE, blobs=(b"a",)),), outputs=frozenset({"probabilities"}))
LOST = EngineError("engine: lost", reason="lost")
FULL = EngineError("engine: no worker is free", reason="overloaded")
REFUSED = EngineError("engine: refused the call", reason="refused", retryable=False)


def attempts(house: House, engine: str, outcome: str) -> float:
    """Attempts on an engine that ended so."""
    labels = {"model": REF.name, "engine": engine, "outcome": outcome}
    return house.sample("attnserve_engine_attempts_total", **labels)


def retries(house: House, engine: str) -> float:
    """Batches sent again after this engine failed them."""
    return house.sample("attnserve_engine_retries_total", engine=engine)


@in_virtual_time
async def test_the_least_loaded_engine_is_taken() -> None:
    """Of three engines every one gets a batch before one gets its second."""
    house = House(engines=3)
    taken = [house.pool.take(REF).engine.name for _ in range(6)]
    assert sorted(taken[:3]) == ["engine0", "engine1", "engine2"]
    assert sorted(taken[3:]) == ["engine0", "engine1", "engine2"]


@in_virtual_time
async def test_slots_tell_room_over_all_engines() -> None:
    """Idle, busy and ahead are counted over the engines that hold the version, by their workers."""
    house = House(engines=2, pool_options=PoolOptions(workers=2))
    assert house.pool.slots(REF) == Slots(idle=4)
    for _ in range(5):
        house.pool.take(REF)
    assert house.pool.slots(REF) == Slots(idle=0, busy=4, ahead=1)
    assert house.pool.running(REF) == 5
    assert house.pool.slots(ModelRef(name="other", version="1")) == Slots(idle=0)


@in_virtual_time
async def test_a_failed_attempt_is_repeated_on_another_engine() -> None:
    """A retryable error costs an attempt and a retry, and the caller sees none of it."""
    house = House(engines=2)
    seat = house.pool.take(REF)
    first, second = seat.engine, next(engine for engine in house.held if engine is not seat.engine)
    assert isinstance(first, FakeEngine)
    first.fail_next(LOST)
    reply = await house.pool.predict(seat, BATCH, FAR)
    assert reply.count == 1
    assert (len(asked(first)), len(asked(second))) == (1, 1)
    assert (attempts(house, first.name, "lost"), attempts(house, second.name, "ok")) == (1, 1)
    assert (retries(house, first.name), retries(house, second.name)) == (1, 0)
    assert house.pool.slots(REF) == Slots(idle=1), "the one that failed rests"


@in_virtual_time
async def test_the_only_engine_gets_another_chance() -> None:
    """Where no other engine holds the version, the one that failed is asked again."""
    house = House()
    house.engine.fail_next(LOST)
    await house.pool.predict(house.pool.take(REF), BATCH, FAR)
    assert (attempts(house, "engine0", "lost"), attempts(house, "engine0", "ok")) == (1, 1)
    assert retries(house, "engine0") == 1


@in_virtual_time
async def test_attempts_are_bounded() -> None:
    """After the last attempt its error is raised, and no retry is counted for it."""
    house = House(pool_options=PoolOptions(attempts=3))
    house.engine.fail_next(FULL, times=9)
    with pytest.raises(EngineError, match="no worker"):
        await house.pool.predict(house.pool.take(REF), BATCH, FAR)
    assert (attempts(house, "engine0", "overloaded"), retries(house, "engine0")) == (3, 2)
    assert house.pool.slots(REF) == Slots(idle=1)


@in_virtual_time
async def test_what_cannot_be_helped_is_not_repeated() -> None:
    """An error that another attempt cannot mend is raised at once."""
    house = House(engines=2)
    seat = house.pool.take(REF)
    assert isinstance(seat.engine, FakeEngine)
    seat.engine.fail_next(REFUSED)
    with pytest.raises(EngineError, match="refused"):
        await house.pool.predict(seat, BATCH, FAR)
    assert attempts(house, seat.engine.name, "refused") == 1
    assert sum(retries(house, engine.name) for engine in house.held) == 0
    assert house.pool.slots(REF) == Slots(idle=2)


@in_virtual_time
async def test_no_attempt_begins_after_the_deadline() -> None:
    """Neither the first nor another one: nobody waits for the answer."""
    house = House()
    await asyncio.sleep(5.0)
    with pytest.raises(DeadlineError):
        await house.pool.predict(house.pool.take(REF), BATCH, deadline=5.0)
    house.engine.fail_next(LOST)
    with pytest.raises(EngineError):
        await house.pool.predict(house.pool.take(REF), BATCH, deadline=5.5)
    assert len(house.engine.batches) == 1
    assert house.pool.running(REF) == 0


@in_virtual_time
async def test_an_attempt_has_its_own_time() -> None:
    """A hanging engine keeps its room until the attempt's time is over, for its worker is not free before."""
    house = House(pool_options=PoolOptions(attempts=1, attempt_timeout_s=10.0))
    house.engine.hang()
    task = asyncio.create_task(house.pool.predict(house.pool.take(REF), BATCH, deadline=2.0))
    await asyncio.sleep(9.0)
    assert house.pool.slots(REF) == Slots(idle=0, busy=1)
    await asyncio.sleep(2.0)
    assert house.pool.running(REF) == 0
    with pytest.raises(EngineError) as raised:
        await task
    assert raised.value.reason == "timeout"


@in_virtual_time
async def test_a_cancelled_batch_gives_its_room_back() -> None:
    """Once the engine is done with it, and not before; the batcher hears of it."""
    house = House()
    heard: list[ModelRef] = []
    house.pool.on_room = heard.append
    task = asyncio.create_task(house.pool.predict(house.pool.take(REF), BATCH, FAR))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert house.pool.slots(REF) == Slots(idle=0, busy=1)
    await asyncio.sleep(1.5)
    assert house.pool.slots(REF) == Slots(idle=1)
    assert set(heard) == {REF}


@in_virtual_time
async def test_room_at_the_engine_that_failed_is_told() -> None:
    """When a batch moves on, the engine that it left has room again, at once and not when the batch ends."""
    house = House(engines=2)
    heard: list[Slots] = []
    house.pool.on_room = lambda ref: heard.append(house.pool.slots(ref))
    seat = house.pool.take(REF)
    assert isinstance(seat.engine, FakeEngine)
    seat.engine.fail_next(LOST)
    await house.pool.predict(seat, BATCH, FAR)
    await settle()
    assert heard == [Slots(idle=0, busy=1), Slots(idle=1)]


@in_virtual_time
async def test_a_detached_engine_finishes_what_it_runs() -> None:
    """Its batch is answered, it takes no other, and attached again it has all its room."""
    house = House()
    task = asyncio.create_task(house.pool.predict(house.pool.take(REF), BATCH, FAR))
    await settle()
    house.pool.detach(REF, house.engine)
    assert house.pool.slots(REF) == Slots(idle=0)
    assert house.pool.running(REF) == 1
    with pytest.raises(UnavailableError, match="no engine is ready"):
        house.pool.take(REF)
    assert (await task).count == 1
    assert house.pool.running(REF) == 0
    house.pool.attach(REF, house.engine)
    house.pool.attach(REF, house.engine)
    assert house.pool.holders(REF) == (house.engine,)
    assert house.pool.slots(REF) == Slots(idle=1)


@in_virtual_time
async def test_a_batch_that_fails_on_a_detached_engine_ends_with_its_error() -> None:
    """With nobody left to try, the caller hears what happened, and nothing counts as tried again."""
    house = House()
    house.engine.fail_next(LOST)
    task = asyncio.create_task(house.pool.predict(house.pool.take(REF), BATCH, FAR))
    await settle()
    house.pool.detach(REF, house.engine)
    with pytest.raises(EngineError, match="lost"):
        await task
    assert retries(house, "engine0") == 0


@in_virtual_time
async def test_an_engine_without_a_model_shows_as_ejected() -> None:
    """The gauge is 1 while an engine takes no batches for any version."""
    house = House()
    other = ModelRef(name="digits_sk", version="1")
    house.metrics.start_engine("never reached")

    def shown() -> float:
        return house.sample("attnserve_engine_ejected", engine="engine0")

    assert house.sample("attnserve_engine_ejected", engine="never reached") == 1
    house.pool.attach(other, house.engine)
    assert shown() == 0
    house.pool.detach(REF, house.engine)
    assert shown() == 0
    house.pool.detach(other, house.engine)
    assert shown() == 1


class Liar(FakeEngine):
    """Answers for more images than it was asked for, or leaves an output out."""

    def __init__(self, statuses: tuple[int, ...], rows: int) -> None:
        super().__init__("liar", [CARD], Pace())
        self.statuses = statuses
        self.rows = rows

    async def predict(self, ref: ModelRef, batch: Batch, timeout_s: float) -> BatchReply:
        """Break the port's word."""
        reply = await super().predict(ref, batch, timeout_s)
        outputs = {name: values[: self.rows] for name, values in reply.outputs.items() if self.rows}
        spent = Timings(decode_s=0.0, inference_s=0.0, encode_s=0.0)
        return BatchReply(status=self.statuses, messages={}, outputs=outputs, timings=spent)


@pytest.mark.parametrize(("statuses", "rows"), [((0, 0), 1), ((), 1), ((0,), 0)])
@in_virtual_time
async def test_an_engine_that_breaks_its_word_has_failed(statuses: tuple[int, ...], rows: int) -> None:
    """A reply that is not one row for each image is a failed attempt, and another engine is tried."""
    house = House(engines=0)
    liar, honest = Liar(statuses, rows), FakeEngine("honest", [CARD])
    house.pool.attach(REF, liar)
    seat = house.pool.take(REF)
    house.pool.attach(REF, honest)
    reply = await house.pool.predict(seat, BATCH, FAR)
    assert reply.outputs["probabilities"].shape == (1, 10)
    assert (attempts(house, "liar", "garbled"), attempts(house, "honest", "ok")) == (1, 1)


def test_every_reason_of_a_failure_is_a_label() -> None:
    """What TorchServe's failures are called is what the metric's series are started for."""
    assert set(ENGINE_OUTCOMES) == {"ok", *PUBLIC_MESSAGES}


@in_virtual_time
async def test_a_lone_engine_that_hangs_is_not_asked_again() -> None:
    """It would hang again; where another engine holds the version, that one answers."""
    for engines, sent, expected in ((1, 1, "timeout"), (2, 2, "ok")):
        house = House(engines=engines, pool_options=PoolOptions(attempts=2, attempt_timeout_s=2.0))
        seat = house.pool.take(REF)
        assert isinstance(seat.engine, FakeEngine)
        seat.engine.hang()
        try:
            await house.pool.predict(seat, BATCH, FAR)
            found = "ok"
        except EngineError as error:
            found = error.reason
        assert (found, sum(len(engine.batches) for engine in house.held)) == (expected, sent)
