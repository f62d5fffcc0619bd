"""An event loop whose clock only moves when nothing is left to do: seconds of waiting cost no time.

The test is also held to what it leaves behind: no task still running, no exception that nobody saw.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


# Awaited when a test is through: what it has left running on purpose, say the probing of an ejected engine.
at_end: list[Callable[[], Coroutine[Any, Any, None]]] = []


class _Selector(selectors.SelectSelector):
    """Instead of sleeping it moves the clock on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What has happened already; or else the time is now when something is due."""
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing will ever happen"
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, which starts at 0."""

    def __init__(self) -> None:
        self.selector = _Selector()
        self.problems: list[str] = []
        super().__init__(self.selector)
        self.set_exception_handler(lambda _loop, context: self.problems.append(str(context)))

    def time(self) -> float:
        """The virtual clock, in seconds."""
        return self.selector.now


def clock() -> float:
    """The virtual clock of the test that runs, in seconds."""
    return asyncio.get_running_loop().time()


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs an asynchronous test on a loop of its own and sees that it leaves nothing behind."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        gc.freeze()  # what was there before need not be looked through below
        try:
            with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                runner.run(_tidily(test(*args, **kwargs)))
                gc.collect()  # an exception that nobody saw is reported when its future goes
                loop = runner.get_loop()
                assert isinstance(loop, VirtualLoop)
                assert not loop.problems, loop.problems
        finally:
            gc.unfreeze()

    # pytest reads the parameters from here; following `__wrapped__` it would find a coroutine function.
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    del run.__wrapped__
    return run


async def settle() -> None:
    """Lets everything happen that needs no time."""
    for _ in range(20):
        await asyncio.sleep(0)


async def _tidily(test: Coroutine[Any, Any, None]) -> None:
    at_end.clear()
    await test
    for close in at_end:
        await close()
    await settle()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert left == set(), f"still running: {left}"
