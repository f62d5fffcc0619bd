"""The load generator: callers in a closed loop, in a process of its own so that its cost is known.

It checks every answer: a server that names another class than the reference, or refuses, is out.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from loadtests.bench.generator import AnswerLog, LoadError
from loadtests.peers.doors import AnswerError, Ask, Images, Target, asking

_ANSWERS_PER_CALLER = 2  # else a slow server's rate would come from a batch or two


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send.

    Attributes:
        target: To whom.
        images: One a request, taken in turn.
        classes: The right answer to each of them.
        callers: Concurrent ones, each with a connection of its own.
    """

    target: Target
    images: Images
    classes: tuple[int, ...]
    callers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of it.

    Attributes:
        requests: Answered in all, with those after the end of the window.
        rate: Answers a second within the window: the slope of `steady_rate`.
        p50_ms: Of a call, as its caller sees it.
        p99_ms: Likewise.
        cpu_s: CPU time of the generator's process.
    """

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_s: float


class WrongAnswerError(Exception):
    """A server answered with another class than the reference, or not at all; it cannot be compared."""


class Generator:
    """A handle on the generator's process."""

    def __init__(self, process: ProcessPoolExecutor) -> None:
        self._process = process

    def run(self, load: Load, seconds: float) -> Run:
        """Keep every caller asking for so long, and until each has had two answers on average.

        Raises:
            WrongAnswerError: An answer is wrong or missing.
            LoadError: There were too few for a rate.
        """
        return self._process.submit(_run, load, seconds).result()

    def first_answer(self, load: Load, seconds: float) -> None:
        """Ask until the first right answer comes.

        Raises:
            WrongAnswerError: None came within so many seconds; the message has the last failure.
        """
        self._process.submit(_first_answer, load, seconds).result()


@contextmanager
def generator() -> Iterator[Generator]:
    """Start the process; it is idle between two runs."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        process.submit(time.process_time).result()
        yield Generator(process)


def _run(load: Load, seconds: float) -> Run:
    cpu = time.process_time()
    log = AnswerLog()
    try:
        asyncio.run(_closed_loop(load, log, seconds))
    except* (AnswerError, WrongAnswerError) as errors:
        raise WrongAnswerError(str(errors.exceptions[0])) from None
    found = log.run(time.process_time() - cpu)
    return Run(
        requests=found.requests,
        rate=found.rate,
        p50_ms=found.median_ms,
        p99_ms=found.p99_ms,
        cpu_s=found.cpu_s,
    )


def _first_answer(load: Load, seconds: float) -> None:
    asyncio.run(_until_right(load, seconds))


async def _closed_loop(load: Load, log: AnswerLog, seconds: float) -> None:
    numbers = count()
    least = _ANSWERS_PER_CALLER * load.callers
    ends = time.perf_counter() + seconds

    async def caller() -> None:
        async with asking(load.target, load.images) as ask:
            while time.perf_counter() < ends or len(log.ended) < least:
                started = time.perf_counter()
                await _asked(load, ask, next(numbers) % len(load.classes))
                log.ended.append(time.perf_counter())
                log.took.append(log.ended[-1] - started)
        log.closed = min(log.closed, time.perf_counter())

    async with asyncio.TaskGroup() as group:
        for _ in range(load.callers):
            group.create_task(caller())


async def _asked(load: Load, ask: Ask, place: int) -> None:
    given = await ask(place)
    if given != load.classes[place]:
        raise WrongAnswerError(
            f"image {place}: answered class {given}, the reference is {load.classes[place]}"
        )


async def _until_right(load: Load, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while True:
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + seconds):
                async with asking(load.target, load.images) as ask:
                    return await _asked(load, ask, 0)
        except (AnswerError, WrongAnswerError, TimeoutError, LookupError, ValueError) as error:
            if time.monotonic() > ends:
                raise WrongAnswerError(f"no right answer within {seconds:g} s; the last: {error}") from None
        await asyncio.sleep(0.2)


__all__ = ["Generator", "Load", "LoadError", "Run", "WrongAnswerError", "generator"]
