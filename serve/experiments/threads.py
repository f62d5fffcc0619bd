"""The threads in which the ledger is asked: a database may take its time, the event loop may not.

They are daemons, unlike those of `concurrent.futures`: a database that takes statements and answers none (a
frozen process, a disk that hangs) must not keep the gateway from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from serve.core.errors import DrainingError, OverloadedError, UnavailableError

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 4
PATIENCE_S = 20.0
CLOSE_S = 0.5


class LedgerThreads:
    """A few threads; what they are given and cannot begin yet waits."""

    def __init__(
        self, threads: int = THREADS, patience_s: float = PATIENCE_S, most_waiting: int | None = None
    ) -> None:
        """Start none before the first call.

        Args:
            threads: How many.
            patience_s: The longest time for one call.
            most_waiting: Calls that wait for a thread, beyond which more are refused; None: no bound.
        """
        self._count = threads
        self._most_waiting = most_waiting
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._patience_s = patience_s
        self._closed = False

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function that blocks; what it raises comes back.

        Raises:
            OverloadedError: Too many wait already.
            DrainingError: They are closed.
            UnavailableError: It took too long. It may still be done later, or not.
        """
        if self._closed:
            raise DrainingError("the server is shutting down", retry_after_s=1.0)
        if self._most_waiting is not None and self._work.qsize() >= self._most_waiting:
            raise OverloadedError(
                "the experiment store is asked too much, come back later", retry_after_s=1.0
            )
        if not self._threads:
            self._threads = [Thread(target=self._run, name="ledger", daemon=True) for _ in range(self._count)]
            for thread in self._threads:
                thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()
        self._work.put(partial(_call, loop, done, partial(function, *args, **kwargs)))
        try:
            async with asyncio.timeout(self._patience_s):
                return await done
        except TimeoutError:
            message = f"the experiment store has not answered within {self._patience_s:g} s"
            raise UnavailableError(message, retry_after_s=1.0) from None

    def close(self) -> None:
        """Take nothing more, and wait a moment for what was taken."""
        self._closed = True
        for _ in self._threads:
            self._work.put(None)
        ends = time.monotonic() + CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def _call(loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any], function: Callable[[], Any]) -> None:
    if done.cancelled():  # nobody waits any more
        return
    try:
        settle = partial(_settle, done, function(), None)
    except BaseException as error:  # noqa: BLE001  it is raised where the call was made
        settle = partial(_settle, done, None, error)
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(settle)


def _settle(done: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
