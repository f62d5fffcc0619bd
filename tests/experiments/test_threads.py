"""Threads of the ledger: what blocks there blocks nobody for longer than is allowed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from serve.core.errors import DrainingError, OverloadedError, UnavailableError
from serve.experiments.threads import THREADS, LedgerThreads

HANGS = """
import asyncio, threading
from serve.experiments.threads import LedgerThreads

async def main():
    threads = LedgerThreads(patience_s=0.1)
    try:
        await threads.run(threading.Event().wait)
    except Exception as error:
        print(error)
    threads.close()

asyncio.run(main())
"""


async def test_results_and_errors_come_back() -> None:
    """Whatever the function gives or raises; several run at a time."""
    threads = LedgerThreads()
    barrier = threading.Barrier(THREADS)
    await asyncio.gather(*(threads.run(barrier.wait, 5) for _ in range(THREADS)))
    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)
    threads.close()


async def test_whoever_comes_after_the_end_is_told_at_once() -> None:
    """Not left waiting for threads that have gone."""
    threads = LedgerThreads()
    assert await threads.run(divmod, 7, 2) == (3, 1)
    threads.close()
    with pytest.raises(DrainingError, match="shutting down"):
        await threads.run(divmod, 7, 2)


async def test_what_takes_too_long_is_unavailable_and_the_rest_goes_on() -> None:
    """One call that hangs takes one thread; those that nobody waits for any more are not begun."""
    threads, gate, begun = LedgerThreads(patience_s=0.2), threading.Event(), []

    def slow(name: str) -> None:
        begun.append(name)
        gate.wait(10)

    with pytest.raises(UnavailableError, match=r"not answered within 0\.2 s"):
        await threads.run(slow, "first")
    assert await threads.run(divmod, 7, 2) == (3, 1)
    jobs = [asyncio.create_task(threads.run(slow, f"{n}")) for n in range(THREADS + 3)]
    assert all(
        isinstance(one, UnavailableError) for one in await asyncio.gather(*jobs, return_exceptions=True)
    )
    gate.set()
    assert await threads.run(divmod, 7, 2) == (3, 1)
    assert len(begun) == THREADS
    threads.close()


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    """It ends with a store that never answers."""
    done = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "the experiment store has not answered within 0.1 s\n"


async def test_more_than_may_wait_are_refused_at_once() -> None:
    """People who ask for more reports than the store can give hear so, and do not queue for ever."""
    threads, gate = LedgerThreads(1, most_waiting=2), threading.Event()
    begun = threading.Event()

    def hang() -> bool:
        begun.set()
        return gate.wait(10)

    jobs = [asyncio.create_task(threads.run(hang))]
    assert await asyncio.to_thread(begun.wait, 10)
    jobs += [asyncio.create_task(threads.run(hang)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="asked too much"):
        await threads.run(hang)
    gate.set()
    assert await asyncio.gather(*jobs) == [True] * 3
    threads.close()
