"""Laboratory: its tasks outlive their bugs."""

from __future__ import annotations

import asyncio

import pytest

from serve import laboratory


async def test_a_task_that_a_bug_ends_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the gateway nor the other tasks end with it; whoever cancels it does end it."""
    monkeypatch.setattr(laboratory, "AGAIN_S", 0.0)
    begun, enough = 0, asyncio.Event()

    async def task() -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            enough.set()
            await asyncio.Event().wait()
        raise ZeroDivisionError

    running = asyncio.create_task(laboratory.for_ever(task))
    await asyncio.wait_for(enough.wait(), 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
