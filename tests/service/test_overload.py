"""More than the engines can do: what cannot be answered in time is refused at once, the rest is answered.

On the fake engine and the virtual clock, so that capacity is exact and the load generator takes none of it.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from serve.core.batching import Limits
from serve.core.errors import DeadlineError, OverloadedError
from serve.core.query import DEFAULT_PRIORITY
from serve.core.ticket import Ticket
from serve.engines.fake import Pace
from tests.service.house import CARD, House, query_of
from tests.service.virtual_time import clock, in_virtual_time

PACE = Pace(batch_s=0.02, image_s=0.005)
MAX_BATCH = 16
CAPACITY = MAX_BATCH / (PACE.batch_s + MAX_BATCH * PACE.image_s)  # images/s, in full batches: 160
PATIENCE_S = 0.5


@dataclass(kw_only=True)
class Crowd:
    """Callers that come at random (Poisson), each with one image and a deadline; and what became of them."""

    house: House
    principal: str = "anonymous"
    patience_s: float = PATIENCE_S
    priority: int = DEFAULT_PRIORITY
    ends: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    queue: int = 0

    async def come(self, per_s: float, seconds: float, seed: int) -> None:
        """Send for a while, and wait until all have heard."""
        rng, until = random.Random(seed), clock() + seconds  # noqa: S311
        async with asyncio.TaskGroup() as group:
            while clock() < until:
                group.create_task(self.ask())
                await asyncio.sleep(rng.expovariate(per_s))
                self.queue = max(self.queue, self.house.batcher.waiting(CARD.ref))

    async def ask(self) -> None:
        """Send one, and note how and when it ended."""
        began, query = clock(), replace(query_of((b"image",)), priority=self.priority)
        try:
            await self.house.batcher.predict(CARD, query, began + self.patience_s, self.principal)
            end = "ok"
        except OverloadedError:
            end = "refused"
        except DeadlineError:
            end = "late"
        self.ends[end] += 1
        self.seconds.setdefault(end, []).append(clock() - began)


def house() -> House:
    """One engine, and room for more requests than it can answer in time."""
    return House(pace=PACE, limits=Limits(max_batch=MAX_BATCH, max_queue_images=1024))


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return sorted(values)[int(0.99 * len(values))]


@pytest.mark.parametrize("times", [1.5, pytest.param(3.0, marks=pytest.mark.slow), 10.0])
@in_virtual_time
async def test_goodput_holds_under_overload(times: float) -> None:
    """At up to ten times capacity: 80 % of capacity or more in time, refusals at once, hardly any in vain."""
    crowd = Crowd(house=house())
    await crowd.come(times * CAPACITY, 10.0, seed=3)
    assert crowd.ends["ok"] / 10.0 >= 0.8 * CAPACITY
    assert p99(crowd.seconds["ok"]) <= PATIENCE_S
    assert p99(crowd.seconds["refused"]) == 0.0
    assert crowd.ends["late"] <= 0.02 * crowd.ends.total()
    assert crowd.queue <= 2 * PATIENCE_S * CAPACITY, "the queue is as long as the deadlines allow"


@in_virtual_time
async def test_nothing_is_refused_below_capacity() -> None:
    """At 80 % of capacity everybody is answered in time."""
    crowd = Crowd(house=house())
    await crowd.come(0.8 * CAPACITY, 10.0, seed=5)
    assert crowd.ends["ok"] == crowd.ends.total()


@in_virtual_time
async def test_it_recovers_at_once() -> None:
    """Within a second after the overload everybody is answered again, and nothing of it is kept."""
    here = house()
    await Crowd(house=here).come(3 * CAPACITY, 10.0, seed=1)
    await asyncio.sleep(1.0)
    after = Crowd(house=here)
    await after.come(0.7 * CAPACITY, 5.0, seed=2)
    assert after.ends["ok"] == after.ends.total()
    gc.collect()
    assert [kept for kept in gc.get_objects() if isinstance(kept, Ticket)] == []


@in_virtual_time
async def test_engines_that_become_slower_are_believed() -> None:
    """When every batch takes four times as long, fewer are let in, and those are answered in time."""
    here = house()
    await Crowd(house=here).come(1.5 * CAPACITY, 5.0, seed=1)
    here.engine._pace = Pace(batch_s=4 * PACE.batch_s, image_s=4 * PACE.image_s)  # noqa: SLF001
    await asyncio.sleep(1.0)
    crowd = Crowd(house=here, patience_s=2.0)
    await crowd.come(CAPACITY, 20.0, seed=2)
    assert crowd.ends["ok"] / 20.0 >= 0.8 * CAPACITY / 4
    assert crowd.ends["late"] <= 0.1 * crowd.ends.total()


@pytest.mark.parametrize(("deadline_s", "per_s"), [(0.25, 100), (0.25, 140), (0.3, 240), (0.2, 100)])
@in_virtual_time
async def test_batches_of_one_price_are_filled(deadline_s: float, per_s: float) -> None:
    """Where a batch takes the same whatever its size (a GPU), small ones do not make the queue look slow."""
    crowd = Crowd(house=House(pace=Pace(batch_s=0.1)), patience_s=deadline_s)
    await crowd.come(per_s, 10.0, seed=1)
    assert crowd.ends["ok"] / 10.0 >= 0.85 * min(per_s, CAPACITY)


@in_virtual_time
async def test_a_stall_is_forgotten() -> None:
    """Engines that stood still for longer than any deadline are believed again as soon as they answer."""
    here = House(pace=Pace(batch_s=0.1))
    await Crowd(house=here, patience_s=1.0).come(120, 5.0, seed=1)
    here.engine.hang()
    stalled = asyncio.create_task(Crowd(house=here, patience_s=1.0).come(120, 12.0, seed=2))
    await asyncio.sleep(12.0)
    here.engine.wake()
    await stalled
    await asyncio.sleep(3.0)
    after = Crowd(house=here, patience_s=1.0)
    await after.come(120, 5.0, seed=3)
    assert after.ends["ok"] >= 0.95 * after.ends.total()


@in_virtual_time
async def test_priority_is_among_ones_own() -> None:
    """A caller who calls everything urgent does not get more than its share."""
    here = house()
    pushy = Crowd(house=here, principal="pushy", patience_s=3.0, priority=1)
    polite = Crowd(house=here, principal="polite", patience_s=3.0)
    await asyncio.gather(pushy.come(2 * CAPACITY, 10.0, seed=1), polite.come(2 * CAPACITY, 10.0, seed=2))
    assert polite.ends["ok"] >= 0.8 * pushy.ends["ok"]


@in_virtual_time
async def test_one_caller_cannot_starve_another() -> None:
    """A client that sends ten times what the engines can do leaves a modest one its answers."""
    here = house()
    greedy = Crowd(house=here, principal="greedy", patience_s=5.0)
    modest = Crowd(house=here, principal="modest")
    await asyncio.gather(greedy.come(10 * CAPACITY, 10.0, seed=1), modest.come(0.3 * CAPACITY, 10.0, seed=2))
    assert modest.ends["ok"] >= 0.99 * modest.ends.total()
    assert greedy.ends["ok"] / 10.0 >= 0.5 * CAPACITY, "what the modest one leaves is the other's"


@in_virtual_time
async def test_shares_are_equal() -> None:
    """Three clients that all want more than there is get a third each, whoever sends most."""
    here = house()
    crowds = [Crowd(house=here, principal=name, patience_s=3.0) for name in ("a", "b", "c")]
    loads = (1.0, 1.5, 3.0)
    await asyncio.gather(
        *(
            crowd.come(load * CAPACITY, 12.0, seed=i)
            for i, (crowd, load) in enumerate(zip(crowds, loads, strict=True))
        )
    )
    answered = [crowd.ends["ok"] for crowd in crowds]
    assert max(answered) <= 1.2 * min(answered)
