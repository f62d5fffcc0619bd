"""Work that goes on to its end, whether whoever asked for it waits or not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from serve.core.errors import UnavailableError


class Errands:
    """The errands of one part of the gateway, which end with it."""

    def __init__(self) -> None:
        """Begin without any."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Do some work and wait for its end; a caller who is cancelled leaves it running.

        Raises:
            UnavailableError: It was given up by `close`.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task})
        if task.cancelled():
            raise UnavailableError("the server is shutting down")
        task.result()

    async def close(self) -> None:
        """Give up what is not done yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone
