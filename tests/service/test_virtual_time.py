"""The loop that the other tests run on: it moves its clock, and notices what a test leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from tests.service.virtual_time import clock, in_virtual_time

tasks: set[asyncio.Future[None]] = set()


@in_virtual_time
async def test_waiting_moves_the_clock() -> None:
    """An hour goes by in no time, and things happen in the order in which they are due."""
    order: list[str] = []

    async def note(name: str, after: float) -> None:
        await asyncio.sleep(after)
        order.append(f"{name} at {clock():.0f}")

    await asyncio.gather(note("late", 3600.0), note("early", 60.0))
    assert order == ["early at 60", "late at 3600"]


def test_a_task_left_running_is_noticed() -> None:
    """A test that leaves a task behind fails."""

    @in_virtual_time
    async def leaves_a_task() -> None:
        tasks.add(asyncio.create_task(asyncio.sleep(5.0)))

    with pytest.raises(AssertionError, match="still running"):
        leaves_a_task()
    tasks.clear()


def test_an_exception_that_nobody_saw_is_noticed() -> None:
    """A test that loses an exception in a future fails."""

    @in_virtual_time
    async def loses_an_exception() -> None:
        asyncio.get_running_loop().create_future().set_exception(ValueError("lost"))

    with pytest.raises(AssertionError, match="never retrieved"):
        loses_an_exception()


def test_waiting_for_ever_is_noticed() -> None:
    """A test in which nothing can happen any more fails instead of hanging."""

    @in_virtual_time
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="nothing will ever happen"):
        waits_for_ever()
