"""The batcher under random events: nothing is lost, doubled, mixed up or left behind."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from serve.core.batching import Limits
from serve.core.errors import (
    DeadlineError,
    EngineError,
    OverloadedError,
)
from serve.core.query import Query
from serve.engines.pool import PoolOptions
from tests.service.house import (
    GATES,
    REF,
    House,
    asked,
    classes,
    images_of,
    numbered,
    query_of,
)
from tests.service.virtual_time import clock, in_virtual_time

LOST = EngineError("engine: lost", reason="lost")
ONE_ATTEMPT = PoolOptions(attempts=1)
EXPECTED = (EngineError, DeadlineError, OverloadedError, asyncio.CancelledError)


STEP = st.tuples(
    st.sampled_from(["ask", "ask", "ask", "cancel", "wait", "fail", "detach", "attach"]),
    st.integers(0, 20),
    st.booleans(),
)


class Story:
    """Random events, and what must hold of them in the end."""

    def __init__(self, limits: Limits) -> None:
        self.house = House(limits=limits, engines=2, pool_options=ONE_ATTEMPT)
        self.requests: list[tuple[Query, asyncio.Task[list[int]]]] = []
        self.names = itertools.count()
        self.steps: dict[str, Callable[[int, bool], None]] = {
            "ask": self.ask,
            "cancel": self.cancel,
            "fail": lambda which, _: self.house.held[which % 2].fail_next(LOST),
            "detach": lambda which, _: self.house.pool.detach(REF, self.house.held[which % 2]),
            "attach": lambda which, _: self.house.pool.attach(REF, self.house.held[which % 2]),
            "wait": lambda _, __: None,
        }

    def ask(self, size: int, gates: bool) -> None:
        """Ask for some images, some of them bad."""
        images = numbered(size + 1, prefix=f"request {next(self.names)}, image")
        query = replace(query_of(images), wants=GATES) if gates else query_of(images)
        self.requests.append((query, self.house.ask(images, wants=query.wants, deadline=clock() + 20.0)))

    def cancel(self, which: int, _: bool) -> None:
        """Let a caller go away."""
        if self.requests:
            self.requests[which % len(self.requests)][1].cancel()

    async def end(self) -> None:
        """Bring the engines back and see every request ended."""
        for engine in self.house.held:
            self.house.pool.attach(REF, engine)
        answers = await asyncio.gather(*(task for _, task in self.requests), return_exceptions=True)
        await asyncio.sleep(30.0)
        for (query, _), answer in zip(self.requests, answers, strict=True):
            if isinstance(answer, list):
                assert answer == classes(query.items.blobs)
            else:
                assert isinstance(answer, EXPECTED), answer


@settings(deadline=None)  # the machine may be busy
@given(
    steps=st.lists(STEP, max_size=30),
    max_batch=st.integers(1, 8),
    prefetch=st.integers(0, 2),
    delay=st.sampled_from([0.0, 0.3]),
)
def test_whatever_happens_every_image_leaves_once_and_in_order(
    steps: list[tuple[str, int, bool]], max_batch: int, prefetch: int, delay: float
) -> None:
    """Requests of both kinds, cancellations, failures, engines that come and go: answers are right or errors.

    No image is sent twice, the images of a request are sent in order, no batch is too large, the gates are
    computed only for who wants them, and in the end nothing waits, nothing runs and nothing is left.
    """
    limits = Limits(max_batch=max_batch, max_queue_images=1000, max_queue_delay_s=delay, prefetch=prefetch)

    @in_virtual_time
    async def tell() -> None:
        story = Story(limits)
        for step, number, flag in steps:
            story.steps[step](number, flag)
            if step == "wait":
                await asyncio.sleep(number / 10)
        await story.end()
        _check(story, max_batch)

    tell()


def _check(story: Story, max_batch: int) -> None:
    batches = [batch for engine in story.house.held for batch in asked(engine)]
    assert all(1 <= batch.count <= max_batch for batch in batches)
    sent = [image for batch in batches for image in images_of(batch)]
    assert len(set(sent)) == len(sent)
    for query, task in story.requests:
        mine = set(query.items.blobs)
        assert task.done()
        for batch in batches:
            run = [image for image in images_of(batch) if image in mine]
            assert run == [image for image in query.items.blobs if image in run]
            assert not run or ("attention" in batch.outputs) == query.attention
    assert story.house.waiting() == 0
    assert story.house.pool.running(REF) == 0
