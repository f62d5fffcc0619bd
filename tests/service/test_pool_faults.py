"""What the pool does when engines are slow, hang, die or are killed by an image."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from serve.core.batching import Slots
from serve.core.errors import EngineError, InvalidRequestError, UnavailableError
from serve.core.messages import Batch, BatchReply, Items, Kind, ModelRef
from serve.engines.fake import FakeEngine, Pace
from serve.engines.isolation import POISONED, REFUSED
from serve.engines.pool import PoolOptions
from tests.service.house import CARD, FAR, REF, House, asked, numbered
from tests.service.virtual_time import clock, in_virtual_time, settle

LOST = EngineError("engine: lost", reason="lost")
GONE = EngineError("engine: cannot be reached", reason="unreachable")
QUICK = Pace(batch_s=0.1)
POISON = b"POISON"


def batch_of(*images: bytes) -> Batch:
    """A batch of encoded images."""
    return Batch(parts=(Items(kind=Kind.IMAGE, blobs=images),), outputs=frozenset({"probabilities"}))


async def run(house: House, *images: bytes) -> BatchReply:
    """Run a batch wherever there is room."""
    return await house.pool.predict(house.pool.take(REF), batch_of(*(images or (b"a",))), FAR)


async def warm_up(house: House, batches: int = 12) -> None:
    """Let every engine answer a few, so that it is known how long they take."""
    for _ in range(batches):
        await asyncio.gather(*(run(house) for _ in house.held))


def breaker(house: House, engine: str) -> str:
    """The state that the metrics show."""
    labels = {"model": REF.name, "engine": engine}
    shown = {
        state: house.sample("attnserve_engine_breaker", **labels, state=state)
        for state in ("closed", "open", "half_open")
    }
    (state,) = (state for state, value in shown.items() if value)
    return state


class Mortal(FakeEngine):
    """Its worker ends when it is given a poisoned image."""

    deaths = 0

    async def predict(self, ref: ModelRef, batch: Batch, timeout_s: float) -> BatchReply:
        """Die of poison."""
        if any(POISON in part.blobs for part in batch.parts):
            self.deaths += 1
            raise EngineError("engine: the worker was lost", reason="lost")
        return await super().predict(ref, batch, timeout_s)


def mortal_house(**options: float) -> House:
    """A house with two mortal engines."""
    house = House(engines=0, pool_options=PoolOptions(**options))  # type: ignore[arg-type]
    house.held = [Mortal(f"engine{number}", [CARD], QUICK) for number in range(2)]
    for engine in house.held:
        house.pool.attach(REF, engine)
    return house


def deaths(house: House) -> int:
    """Workers lost, over all engines."""
    return sum(engine.deaths for engine in house.held if isinstance(engine, Mortal))


@in_virtual_time
async def test_an_engine_that_cannot_be_reached_rests_and_comes_back() -> None:
    """It gets no batches while its breaker is open, and those of the next probe that it answers close it."""
    house = House(engines=2, pace=QUICK)
    bad, good = house.held
    bad.drop(REF)
    house.pool.fail(REF, bad, GONE)
    assert breaker(house, bad.name) == "open"
    assert house.sample("attnserve_engine_ejected", engine=bad.name) == 1
    assert house.sample("attnserve_engine_ejections_total", engine=bad.name, reason="unreachable") == 1
    for _ in range(20):
        await run(house)
    assert (len(asked(bad)), len(asked(good))) == (0, 20)
    bad.hold(CARD)
    await asyncio.sleep(11.0)
    assert breaker(house, bad.name) == "closed"
    assert house.sample("attnserve_engine_ejected", engine=bad.name) == 0
    await warm_up(house)
    assert len(asked(bad)) > 0


@in_virtual_time
async def test_an_engine_that_comes_back_with_other_contents_stays_out() -> None:
    """It would answer for a version with another net."""
    house = House(engines=0)
    engine = FakeEngine("engine", [CARD], QUICK)
    house.pool.attach(REF, engine, CARD.contents_sha256)
    house.pool.fail(REF, engine, GONE)
    engine.hold(replace(CARD, contents_sha256="d" * 64))
    await asyncio.sleep(30.0)
    assert not house.pool.available(REF)
    assert "other contents" in house.pool.why(REF)
    engine.hold(CARD)
    await asyncio.sleep(12.0)
    assert house.pool.available(REF)


@in_virtual_time
async def test_an_engine_comes_back_gradually() -> None:
    """Under full load it gets a fifth of a share at first, and all of it after `return_s`."""
    house = House(engines=2, pace=QUICK)
    back, _ = house.held
    house.pool.fail(REF, back, GONE)
    counts: list[int] = []

    async def flood() -> None:
        while len(counts) < 14:
            await house.ask((b"a",))

    callers = [asyncio.create_task(flood()) for _ in range(64)]
    for _ in range(14):
        before = len(asked(back))
        await asyncio.sleep(1.0)
        counts.append(len(asked(back)) - before)
    await asyncio.gather(*callers)
    assert counts[1] <= 4
    assert counts[1] < counts[6] < counts[12]
    assert counts[13] >= 9


@in_virtual_time
async def test_callers_are_never_the_probe() -> None:
    """However often the probe fails, no batch goes to an ejected engine while another one is well."""
    house = House(engines=2, pace=QUICK)
    bad, _ = house.held
    bad.fail_next(GONE, times=1000)
    while not asked(bad):
        await run(house)
    for _ in range(300):
        await run(house)
    assert len(asked(bad)) == 1
    assert len(bad.batches) > 3, "it was probed meanwhile"


@in_virtual_time
async def test_a_version_that_nobody_can_answer_is_told_and_told_again() -> None:
    """With the last engine out the pool says why, at once, and says so again when it is back."""
    house = House(pace=QUICK)
    told: list[tuple[ModelRef, bool]] = []
    house.pool.on_change = lambda ref: told.append((ref, house.pool.available(ref)))
    house.pool.fail(REF, house.engine, GONE)
    assert told == [(REF, False)]
    with pytest.raises(UnavailableError, match="cannot be reached"):
        house.pool.take(REF)
    assert house.pool.slots(REF) == Slots(idle=0)
    await asyncio.sleep(2.0)
    assert told == [(REF, False), (REF, True)]
    assert (await run(house)).count == 1


@in_virtual_time
async def test_a_lone_engine_whose_worker_is_being_restarted_goes_on() -> None:
    """TorchServe keeps the batch until the worker is back: better than an error."""
    house = House(pace=QUICK)
    house.engine.fail_next(LOST)
    assert (await run(house)).count == 1
    assert breaker(house, "engine0") != "closed"
    assert house.pool.available(REF)


@in_virtual_time
async def test_an_engine_that_freezes_costs_its_callers_a_second() -> None:
    """After `patience_s` the batch is tried on another engine as well, and the frozen one is ejected."""
    house = House(engines=2, pace=QUICK, pool_options=PoolOptions(patience_s=1.0, attempt_timeout_s=20.0))
    await warm_up(house)
    seat = house.pool.take(REF)
    frozen = seat.engine
    assert isinstance(frozen, FakeEngine)
    frozen.hang()
    began = clock()
    assert (await house.pool.predict(seat, batch_of(b"a"), FAR)).count == 1
    assert clock() - began == pytest.approx(1.1, abs=0.05)
    assert breaker(house, frozen.name) == "open"
    began = clock()
    for _ in range(50):
        await run(house)
    assert clock() - began == pytest.approx(5.0, abs=0.1), "nobody else waits"
    assert house.pool.running(REF) == 1, "its worker is not free before the attempt's time is over"
    await asyncio.sleep(20.0)
    assert house.pool.running(REF) == 0
    frozen.wake()
    await asyncio.sleep(11.0)
    assert breaker(house, frozen.name) == "closed"


@in_virtual_time
async def test_the_first_answer_counts() -> None:
    """The slower of two attempts is not waited for, and its failure is nobody's."""
    house = House(engines=2, pace=QUICK, pool_options=PoolOptions(patience_s=0.5, attempt_timeout_s=2.0))
    await warm_up(house)
    seat = house.pool.take(REF)
    assert isinstance(seat.engine, FakeEngine)
    seat.engine.hang()
    assert (await house.pool.predict(seat, batch_of(b"a"), FAR)).count == 1
    await asyncio.sleep(3.0)
    labels = {"model": REF.name, "engine": seat.engine.name}
    assert house.sample("attnserve_engine_attempts_total", **labels, outcome="timeout") == 1
    assert house.pool.running(REF) == 0


class Sluggish(FakeEngine):
    """Everything takes it so many times longer once it is told to."""

    factor = 1.0

    async def predict(self, ref: ModelRef, batch: Batch, timeout_s: float) -> BatchReply:
        """Take longer."""
        await asyncio.sleep((self.factor - 1) * QUICK.batch_s)
        return await super().predict(ref, batch, timeout_s)


@in_virtual_time
async def test_an_engine_that_is_much_slower_than_the_others_is_ejected() -> None:
    """After a few batches hardly any go there; when it is as fast as before it gets its share again."""
    house = House(engines=0)
    slow = Sluggish("slow", [CARD], QUICK)
    house.held = [slow, FakeEngine("one", [CARD], QUICK), FakeEngine("two", [CARD], QUICK)]
    for engine in house.held:
        house.pool.attach(REF, engine)
    await warm_up(house)
    slow.factor = 20.0
    before = len(asked(slow))
    worst = 0.0
    for _ in range(100):
        began = clock()
        await run(house)
        worst = max(worst, clock() - began)
    assert breaker(house, "slow") != "closed"
    assert len(asked(slow)) - before <= 3
    assert worst < 1.2, "whoever met it was helped by another one"
    await asyncio.sleep(30.0)
    assert breaker(house, "slow") != "closed", "a slow canary does not bring it back"
    slow.factor = 1.0
    await asyncio.sleep(12.0)
    assert breaker(house, "slow") == "closed"


@in_virtual_time
async def test_all_of_them_slower_is_no_reason_to_eject_any() -> None:
    """A slower minute of the whole machine must not take engines away."""
    house = House(engines=0)
    slow = [Sluggish(f"engine{number}", [CARD], QUICK) for number in range(2)]
    house.held = list(slow)
    for engine in slow:
        house.pool.attach(REF, engine)
    await warm_up(house)
    for engine in slow:
        engine.factor = 8.0
    await warm_up(house, 20)
    assert [breaker(house, engine.name) for engine in slow] == ["closed", "closed"]


@in_virtual_time
async def test_a_poisoned_image_fails_alone() -> None:
    """Its company is answered; three workers are lost, and no more when it comes again."""
    house = mortal_house()
    reply = await run(house, b"a", POISON, b"c")
    assert reply.status == (0, 3, 0)
    assert reply.messages == {1: POISONED}
    assert deaths(house) == 3
    again = await run(house, POISON, b"d")
    assert (again.status, again.messages) == ((3, 0), {0: REFUSED})
    with pytest.raises(InvalidRequestError, match="refused"):
        await run(house, POISON)
    assert deaths(house) == 3
    await settle()
    assert house.pool.running(REF) == 0


@in_virtual_time
async def test_a_poisoned_image_that_comes_alone_is_refused_as_well() -> None:
    """After the same number of workers, and for a while only."""
    house = mortal_house(poison_s=60.0)
    with pytest.raises(InvalidRequestError, match="each time"):
        await run(house, POISON)
    assert deaths(house) == 3
    with pytest.raises(InvalidRequestError, match="refused"):
        await run(house, POISON)
    assert deaths(house) == 3
    await asyncio.sleep(61.0)
    with pytest.raises(InvalidRequestError, match="each time"):
        await run(house, POISON)
    assert deaths(house) == 6


@in_virtual_time
async def test_a_worker_that_dies_for_another_reason_is_held_against_nobody() -> None:
    """Two lost workers in a row: the images are tried one by one, all are answered, none is refused later."""
    house = House(engines=2, pace=QUICK)
    for engine in house.held:
        engine.fail_next(LOST)
    images = numbered(4)
    assert (await run(house, *images)).status == (0, 0, 0, 0)
    await asyncio.sleep(5.0)
    assert (await run(house, *images)).status == (0, 0, 0, 0)


@in_virtual_time
async def test_retries_stay_within_their_budget() -> None:
    """Engines that lose one batch after the other are not asked for ever more."""
    house = House(engines=2, pace=QUICK)
    for engine in house.held:
        engine.fail_next(LOST, times=10_000)
    failed = 0
    for number in range(400):
        try:
            await run(house, *numbered(4, f"batch {number}, image"))
        except EngineError:
            failed += 1
    assert failed == 400
    sent = sum(batch.count for engine in house.held for batch in asked(engine))
    first = 400 * 4
    assert sent - first <= 256 + 0.1 * first + 5 * clock()
    assert house.sample("attnserve_engine_retries_refused_total", model=REF.name) > 0


@in_virtual_time
async def test_an_engine_without_the_model_is_no_reason_to_fail() -> None:
    """One that has lost it (a rollout, a restart) is passed over: another one answers."""
    house = House(engines=2, pace=QUICK)
    empty, _ = house.held
    empty.drop(REF)
    replies = [await run(house) for _ in range(10)]
    assert [reply.count for reply in replies] == [1] * 10


@pytest.mark.parametrize("reason", ["unreachable", "missing", "overloaded"])
@in_virtual_time
async def test_one_engine_that_is_well_is_enough(reason: str) -> None:
    """An attempt that no engine has begun counts for nothing: the others are all asked."""
    house = House(engines=5, pace=QUICK, pool_options=PoolOptions(attempts=2))
    for engine in house.held[1:]:
        engine.fail_next(EngineError(f"engine: {reason}", reason=reason), times=100)
    replies = [await run(house) for _ in range(20)]
    assert [reply.count for reply in replies] == [1] * 20


@in_virtual_time
async def test_a_batch_that_was_begun_is_not_begun_for_ever() -> None:
    """With `attempts` time-outs it is over, however many engines there are."""
    house = House(engines=5, pace=QUICK, pool_options=PoolOptions(attempts=3))
    for engine in house.held:
        engine.fail_next(EngineError("engine: timeout", reason="timeout"), times=100)
    with pytest.raises(EngineError, match="timeout"):
        await run(house)
    assert sum(len(asked(engine)) for engine in house.held) == 3


@in_virtual_time
async def test_load_is_that_of_the_whole_engine() -> None:
    """Of two idle engines the one that is busy with another model gets fewer batches."""
    other = replace(CARD, ref=ModelRef(name="digits_sk", version="1"))
    house = House(engines=2, pace=Pace(workers=2, batch_s=1.0))
    for engine in house.held:
        engine.hold(other)
        house.pool.attach(other.ref, engine)
    first = house.pool.take(other.ref)
    chosen = [house.pool.take(REF).engine for _ in range(1)]
    assert chosen[0] is not first.engine


@in_virtual_time
async def test_series_of_an_engine_that_is_gone_for_good_are_dropped() -> None:
    """Addresses come and go; the metrics do not grow with them."""
    house = House(engines=2, pace=QUICK)
    gone, _ = house.held
    house.pool.fail(REF, gone, GONE)
    house.pool.detach(REF, gone)
    house.pool.forget(gone)
    left = {
        sample.labels["engine"]
        for metric in house.registry.collect()
        for sample in metric.samples
        if "engine" in sample.labels
    }
    assert left == {"engine1"}
