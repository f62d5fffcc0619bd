"""The batcher: when requests leave, what they share, and that answers come back whole."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from serve.core.batching import Limits
from serve.core.errors import (
    OverloadedError,
)
from serve.engines.fake import Pace
from tests.service.house import (
    CARD,
    FAR,
    GATES,
    PROBABILITIES,
    REF,
    House,
    classes,
    images_of,
    numbered,
    query_of,
)
from tests.service.virtual_time import clock, in_virtual_time, settle


def releases(house: House) -> dict[str, float]:
    """Batches by why they left."""
    name = "attnserve_batch_release_total"
    return {
        reason: house.sample(name, model=REF.name, reason=reason) for reason in ("idle", "full", "deadline")
    }


@in_virtual_time
async def test_a_lone_request_leaves_at_once() -> None:
    """Before an idle worker nobody waits: the answer takes as long as the batch does."""
    house = House(pace=Pace(batch_s=1.0))
    prediction = await house.batcher.predict(CARD, query_of((b"a",)), FAR)
    assert clock() == 1.0
    assert prediction.queue_s == 0.0
    assert releases(house) == {"idle": 1, "full": 0, "deadline": 0}


@in_virtual_time
async def test_a_busy_worker_lets_the_queue_fill() -> None:
    """What comes while a batch runs leaves together when it ends."""
    house = House()
    tasks = [house.ask((image,)) for image in numbered(6)]
    await settle()
    assert house.sizes == [1]
    assert house.waiting() == 5
    assert await asyncio.gather(*tasks) == [[label] for label in classes(numbered(6))]
    assert house.sizes == [1, 5]
    assert clock() == 2.0


@in_virtual_time
async def test_a_full_batch_is_handed_ahead() -> None:
    """A busy worker gets one full batch ahead and no more; the rest goes on waiting."""
    house = House(limits=Limits(max_batch=4, max_queue_images=100))
    tasks = [house.ask((image,)) for image in numbered(11)]
    await settle()
    assert house.sizes == [1, 4]
    assert house.waiting() == 6
    await asyncio.gather(*tasks)
    assert house.sizes == [1, 4, 4, 2]
    assert releases(house) == {"idle": 2, "full": 2, "deadline": 0}


@in_virtual_time
async def test_a_window_gathers_company() -> None:
    """With a window an idle worker waits for it to end, or for a full batch."""
    house = House(limits=Limits(max_batch=4, max_queue_images=100, max_queue_delay_s=0.5))
    first = house.ask((b"a",))
    await asyncio.sleep(0.3)
    second = house.ask((b"b",))
    await asyncio.gather(first, second)
    assert house.sizes == [2]
    assert clock() == pytest.approx(1.5)
    began = clock()
    await asyncio.gather(*(house.ask((image,)) for image in numbered(4)))
    assert clock() - began == pytest.approx(1.0)
    assert releases(house) == {"idle": 0, "full": 1, "deadline": 1}


@in_virtual_time
async def test_a_window_leaves_time_to_answer() -> None:
    """A caller with less time than the window is sent when half of its time is over."""
    house = House(limits=Limits(max_batch=4, max_queue_images=100, max_queue_delay_s=100.0))
    assert await house.ask((b"a",), deadline=4.0) == classes((b"a",))
    assert clock() == pytest.approx(3.0)


@in_virtual_time
async def test_a_large_request_comes_back_in_order() -> None:
    """Forty images go in three batches, share them with others, and come back as one answer in order."""
    house = House(pace=Pace(batch_s=0.1, image_s=0.1))
    images = numbered(40)
    before, large, after = house.ask((b"x",)), house.ask(images), house.ask((b"y",))
    assert await large == classes(images)
    assert await before == classes((b"x",))
    assert await after == classes((b"y",))
    assert house.sizes == [1, 16, 16, 9]


@in_virtual_time
async def test_timings_and_queue_of_a_request_span_its_batches() -> None:
    """The queue ends when the last image leaves; the handler's time is that of every batch involved."""
    house = House(pace=Pace(batch_s=1.0), limits=Limits(max_batch=2, max_queue_images=100, prefetch=0))
    prediction = await house.batcher.predict(CARD, query_of(numbered(5)), FAR)
    assert prediction.queue_s == pytest.approx(2.0)
    assert prediction.timings.inference_s == pytest.approx(3.0)


@in_virtual_time
async def test_the_models_own_limit_holds() -> None:
    """A batch is never larger than the largest that the model has warmed up."""
    house = House(card=replace(CARD, max_batch=3))
    await house.ask(numbered(8))
    assert house.sizes == [3, 3, 2]


@in_virtual_time
async def test_large_requests_do_not_share_a_message() -> None:
    """Requests that are too large together go in batches of their own, in order; a huge one goes alone."""
    house = House(limits=Limits(max_batch=16, max_queue_images=100, max_batch_bytes=1000))
    tasks = [house.ask((b"x" * size,)) for size in (600, 600, 1500, 600)]
    small = house.ask(numbered(2))
    await asyncio.gather(*tasks, small)
    assert house.sizes == [1, 1, 1, 3]


@in_virtual_time
async def test_a_full_queue_refuses() -> None:
    """What does not fit whole is refused with the time to come back, and nothing of it is begun."""
    house = House(limits=Limits(max_batch=4, max_queue_images=10, prefetch=0))
    tasks = [house.ask((b"a",)), house.ask(numbered(9))]
    await settle()
    with pytest.raises(OverloadedError, match="9 images wait, at most 10 may") as raised:
        await house.ask((b"b", b"c"))
    assert raised.value.retry_after_s == 1.0
    assert house.waiting() == 9
    tasks.append(house.ask((b"d",)))
    await asyncio.gather(*tasks)


@in_virtual_time
async def test_a_request_larger_than_the_queue_is_let_in_alone() -> None:
    """It would never find room, however long its caller tried; when nothing else waits it is served."""
    house = House(limits=Limits(max_batch=4, max_queue_images=5))
    assert await house.ask(numbered(20)) == classes(numbered(20))


@in_virtual_time
async def test_requests_for_the_gates_are_batched_apart() -> None:
    """A batch asks for the gates only when every request in it does."""
    house = House()
    tasks = [house.ask((image,)) for image in numbered(3)]
    tasks += [house.ask((image,), wants=GATES) for image in numbered(3)]
    await asyncio.gather(*tasks)
    asked = [(batch.count, "attention" in batch.outputs) for _, batch in house.engine.batches]
    assert asked == [(1, False), (2, False), (3, True)]


@pytest.mark.parametrize("lonely", [GATES, PROBABILITIES])
@in_virtual_time
async def test_neither_kind_of_request_starves(lonely: frozenset[str]) -> None:
    """A lone request of one kind is served although the other kind never lets the queue run dry."""
    crowd = GATES if lonely != GATES else PROBABILITIES
    house = House(pace=Pace(batch_s=1.0), limits=Limits(max_batch=4, max_queue_images=1000))
    tasks = [house.ask((image,), wants=crowd) for image in numbered(20)]
    await asyncio.sleep(0.1)
    alone = house.ask((b"alone",), wants=lonely)
    for _ in range(30):
        await asyncio.sleep(1.0)
        tasks += [house.ask((image,), wants=crowd) for image in numbered(4)]
    assert alone.done()
    place = next(at for at, (_, batch) in enumerate(house.engine.batches) if b"alone" in images_of(batch))
    # The twenty before it leave in batches of 1, 4, 4, 4, 4 and 3.
    assert place <= 6
    await asyncio.gather(*tasks)


@in_virtual_time
async def test_priority_overtakes_those_that_wait() -> None:
    """1 goes before the default and the default before 3; among equals the first comes first."""
    house = House(limits=Limits(max_batch=1, max_queue_images=100, prefetch=0))
    priorities = {b"a": 2, b"b": 3, b"c": 2, b"d": 1, b"e": 1}
    await asyncio.gather(*(house.ask((image,), priority=rank) for image, rank in priorities.items()))
    order = [images_of(batch)[0] for _, batch in house.engine.batches]
    assert order == [b"a", b"d", b"e", b"c", b"b"]


@in_virtual_time
async def test_two_engines_share_the_work() -> None:
    """Batches run on both at the same time."""
    house = House(engines=2, limits=Limits(max_batch=4, max_queue_images=100))
    await house.ask(numbered(16))
    assert [len(engine.batches) for engine in house.held] == [2, 2]
    assert clock() == 2.0
