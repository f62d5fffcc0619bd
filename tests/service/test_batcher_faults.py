"""The batcher: whatever happens to a batch, an image, an engine or another caller concerns nobody else."""

from __future__ import annotations

import asyncio
import gc

import pytest
from structlog.testing import capture_logs

from serve.core.batching import Limits
from serve.core.errors import (
    DeadlineError,
    EngineError,
    InternalError,
    ServeError,
    UnavailableError,
)
from serve.core.messages import Batch, BatchReply, ModelRef
from serve.core.ticket import Ticket
from serve.engines.fake import BAD_IMAGE, FakeEngine, Pace
from serve.engines.pool import PoolOptions
from tests.service.house import (
    CARD,
    FAR,
    REF,
    House,
    classes,
    numbered,
    query_of,
)
from tests.service.virtual_time import clock, in_virtual_time, settle

LOST = EngineError("engine: lost", reason="lost")
ONE_ATTEMPT = PoolOptions(attempts=1)


@in_virtual_time
async def test_a_deadline_concerns_its_own_caller() -> None:
    """At its deadline a caller gets DeadlineError; those in the same batch are answered."""
    house = House(pace=Pace(batch_s=2.0))
    first = house.ask((b"a",))
    hasty, patient = house.ask((b"b",), deadline=3.0), house.ask((b"c",))
    with pytest.raises(DeadlineError, match=r"deadline of 3\.000 s"):
        await hasty
    assert clock() == 3.0
    assert await first == classes((b"a",))
    assert await patient == classes((b"c",))


@in_virtual_time
async def test_what_is_overdue_never_runs() -> None:
    """Images whose caller's deadline passed while they waited leave the queue, and reach no engine."""
    house = House(pace=Pace(batch_s=5.0))
    first, late = house.ask((b"a",)), house.ask((b"b",), deadline=3.0)
    with pytest.raises(DeadlineError):
        await late
    assert house.waiting() == 0
    await first
    with pytest.raises(DeadlineError, match="before the request reached"):
        await house.ask((b"c",), deadline=clock())
    assert house.sizes == [1]


@in_virtual_time
async def test_the_answer_in_time_beats_the_engine_in_time() -> None:
    """A caller whose time runs out on a hanging engine hears of its deadline, not of the engine."""
    house = House(pool_options=PoolOptions(attempt_timeout_s=2.0))
    house.engine.hang()
    with pytest.raises(DeadlineError):
        await house.ask((b"a",), deadline=1.0)
    await asyncio.sleep(2.0)


@in_virtual_time
async def test_a_cancelled_caller_leaves_the_queue() -> None:
    """Its images that still wait are dropped; those released already disturb nobody."""
    house = House()
    running, waiting, other = house.ask(numbered(20)), house.ask((b"b",) * 30), house.ask((b"c",))
    await settle()
    assert house.waiting() == 19
    running.cancel()
    waiting.cancel()
    assert await other == classes((b"c",))
    assert sum(house.sizes) == 16 + 16 + 1
    assert house.waiting() == 0


@in_virtual_time
async def test_a_batch_that_everybody_left_ends_quietly() -> None:
    """Neither its answer nor its failure does any harm, and the room comes back."""
    house = House(pool_options=ONE_ATTEMPT)
    for failing in (False, True):
        if failing:
            house.engine.fail_next(LOST)
        task = house.ask((b"a",))
        await settle()
        task.cancel()
        assert await house.ask((b"b",)) == classes((b"b",))
    assert house.pool.running(REF) == 0


@in_virtual_time
async def test_a_bad_image_concerns_only_its_own_request() -> None:
    """In one batch, the request with a bad image gets its status and text; the others notice nothing."""
    house = House()
    first, good = house.ask((b"a",)), house.ask((b"d",))
    bad = asyncio.create_task(house.batcher.predict(CARD, query_of((b"b", BAD_IMAGE, b"c")), FAR))
    await first
    prediction = await bad
    assert prediction.status == (0, 3, 0)
    assert list(prediction.messages) == [1]
    assert await good == classes((b"d",))
    assert house.sizes == [1, 4]


@in_virtual_time
async def test_messages_of_a_spread_request_keep_their_index() -> None:
    """A bad image in the third batch is named by its place in the request."""
    house = House(limits=Limits(max_batch=4, max_queue_images=100))
    images = (*numbered(9), BAD_IMAGE, b"last")
    prediction = await house.batcher.predict(CARD, query_of(images), FAR)
    assert [index for index, status in enumerate(prediction.status) if status] == [9]
    assert list(prediction.messages) == [9]


@in_virtual_time
async def test_an_engines_error_reaches_every_caller_of_the_batch() -> None:
    """Each gets an exception of its own, with the one cause; the next batch is served."""
    house = House(pool_options=ONE_ATTEMPT)
    first = house.ask((b"a",))
    tasks = [house.ask((image,)) for image in numbered(3)]
    await first
    house.engine.fail_next(LOST)
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [EngineError] * 3
    assert len({id(error) for error in errors}) == 3
    assert [error.reason for error in errors if isinstance(error, EngineError)] == ["lost"] * 3
    assert {id(error.__cause__) for error in errors if isinstance(error, EngineError)} == {id(LOST)}
    assert await house.ask((b"b",)) == classes((b"b",))


@in_virtual_time
async def test_a_batch_is_tried_again_while_anybody_waits() -> None:
    """A caller whose deadline has passed takes the second attempt from nobody."""
    house = House(pace=Pace(batch_s=1.0))
    first = house.ask((b"a",))
    hasty, patient = house.ask((b"b",), deadline=1.5), house.ask((b"c",))
    await first
    house.engine.fail_next(LOST)
    with pytest.raises(DeadlineError):
        await hasty
    assert await patient == classes((b"c",))
    assert house.sizes == [1, 2, 2]


@in_virtual_time
async def test_nothing_of_a_request_is_kept() -> None:
    """However it ended: the gateway's memory does not grow with the requests that it has served."""
    house = House(pool_options=ONE_ATTEMPT)
    await house.ask((b"a",))
    with pytest.raises(DeadlineError):
        await house.ask((b"b",), deadline=clock() + 0.5)
    await asyncio.sleep(1.0)
    house.engine.fail_next(EngineError("lost", reason="lost"))  # the traceback is the test's to forget
    with pytest.raises(EngineError):
        await house.ask((b"c",))
    gone = house.ask((b"d",))
    await settle()
    gone.cancel()
    del gone  # as is the task's own
    await asyncio.sleep(3.0)  # the engine that failed is probed meanwhile
    gc.collect()
    assert [kept for kept in gc.get_objects() if isinstance(kept, Ticket)] == []


@in_virtual_time
async def test_a_failed_request_sends_no_more_images() -> None:
    """When one of its batches fails, the images of a large request that still wait are dropped."""
    house = House(pool_options=ONE_ATTEMPT, limits=Limits(max_batch=4, max_queue_images=100, prefetch=0))
    house.engine.fail_next(LOST)
    with pytest.raises(EngineError):
        await house.ask(numbered(40))
    await settle()
    assert house.sizes == [4]
    assert house.waiting() == 0


class Broken(FakeEngine):
    """Raises what no engine may raise, once."""

    def __init__(self, error: BaseException) -> None:
        super().__init__("broken", [CARD], Pace(batch_s=1.0))
        self.error: BaseException | None = error

    async def predict(self, ref: ModelRef, batch: Batch, timeout_s: float) -> BatchReply:
        """Fail the first time."""
        reply = await super().predict(ref, batch, timeout_s)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return reply


@pytest.mark.parametrize(
    ("error", "raised", "logged"),
    [
        (ZeroDivisionError("a secret"), InternalError, ["batch failed"]),
        (TimeoutError("a secret"), InternalError, ["batch failed"]),
        (asyncio.CancelledError(), UnavailableError, []),
    ],
)
@in_virtual_time
async def test_a_bug_ends_its_batch_and_nothing_else(
    error: BaseException, raised: type[ServeError], logged: list[str]
) -> None:
    """Nobody waits for ever, the traceback goes to the log once and not to the callers, the lane lives on."""
    house = House(engines=0)
    house.pool.attach(REF, Broken(error))
    with capture_logs() as logs:
        answers = await asyncio.gather(
            house.ask((b"a",)), house.ask((b"b",)), house.ask((b"c",)), return_exceptions=True
        )
    assert [type(answer) for answer in answers] == [raised, list, list]
    assert "a secret" not in str(answers[0])
    assert [entry["event"] for entry in logs] == logged
    assert house.pool.running(REF) == 0


@in_virtual_time
async def test_an_engine_that_comes_starts_what_waits() -> None:
    """Requests wait while no engine holds the version, and leave when one does."""
    house = House()
    house.pool.detach(REF, house.engine)
    task = house.ask((b"a",))
    await asyncio.sleep(1.0)
    assert house.batcher.waiting(REF) == 1
    house.pool.attach(REF, house.engine)
    assert await task == classes((b"a",))


@in_virtual_time
async def test_the_last_engine_goes_while_requests_wait() -> None:
    """What runs is answered, what waits goes to the engine that comes next."""
    house = House()
    running, waiting = house.ask((b"a",)), house.ask((b"b",))
    await settle()
    house.pool.detach(REF, house.engine)
    assert await running == classes((b"a",))
    await settle()
    assert not waiting.done()
    house.pool.attach(REF, house.engine)
    assert await waiting == classes((b"b",))


@in_virtual_time
async def test_forgetting_a_version_ends_what_waits() -> None:
    """Requests with images waiting get the error, wholly released ones are answered, new ones start anew."""
    house = House(limits=Limits(max_batch=4, max_queue_images=100, prefetch=0, max_queue_delay_s=0.1))
    running, half, waiting = house.ask(numbered(2)), house.ask(numbered(9)), house.ask((b"b",))
    await asyncio.sleep(0.5)
    house.batcher.forget(REF, lambda: UnavailableError("it went away"))
    answers = await asyncio.gather(running, half, waiting, return_exceptions=True)
    assert answers[0] == classes(numbered(2))
    assert [str(answer) for answer in answers[1:]] == ["it went away"] * 2
    assert house.waiting() == 0
    house.batcher.forget(ModelRef(name="never known", version="1"), lambda: UnavailableError("x"))
    assert await house.ask((b"c",)) == classes((b"c",))


@in_virtual_time
async def test_ending_all_ends_what_runs_too() -> None:
    """Every caller gets the error at once, even those of a version that has been forgotten."""
    house = House()
    running, waiting = house.ask((b"a",)), house.ask((b"b",))
    await settle()
    house.batcher.fail_all(lambda: UnavailableError("shut down"))
    answers = await asyncio.gather(running, waiting, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["shut down"] * 2
    assert clock() == 0.0
    forgotten = house.ask((b"c",))
    await asyncio.sleep(1.5)
    house.batcher.forget(REF, lambda: UnavailableError("x"))
    house.batcher.fail_all(lambda: UnavailableError("shut down"))
    with pytest.raises(UnavailableError, match="shut down"):
        await forgotten
    await asyncio.sleep(1.0)
    assert house.pool.running(REF) == 0
