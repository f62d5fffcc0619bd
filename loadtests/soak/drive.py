"""The load: workers in a closed loop, each asking the next question as soon as it has its reply."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import psutil

from loadtests.scrape import scrape
from loadtests.soak.account import Account
from loadtests.soak.clients import GRACE_S, Asker
from loadtests.soak.faults import Saboteur
from loadtests.soak.health import LEAST_SAMPLES, Sample, take
from loadtests.soak.judge import judge
from loadtests.soak.questions import Stock, draw
from loadtests.soak.replies import Reply, Silence
from loadtests.stack import Stack, StackError, Target

SAMPLES: Final = 200
SETTLED_S: Final = 0.5  # after a fault, before a sample counts as one in quiet
_POLL_S: Final = 0.02
_SETTLE_S: Final = 15.0  # for the gateway to end what its callers have left


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send.

    Attributes:
        workers: Requests in flight.
    """

    requests: int
    seed: int
    workers: int
    stock: Stock


@dataclass(slots=True, kw_only=True)
class Course:
    """What was seen of a run; does not grow with it.

    Attributes:
        counted: What the gateway counted meanwhile, by protocol and outcome.
        seconds: How long it took.
        rests: The gateway before the first request, and when nothing is in flight after the last.
    """

    account: Account
    samples: list[Sample] = field(default_factory=list)
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0
    rests: list[Sample] = field(default_factory=list)


class Drive:
    """One run against a gateway that is ready."""

    def __init__(
        self, load: Load, stack: Stack, saboteur: Saboteur, tasks: Callable[[], Awaitable[int | None]]
    ) -> None:
        """Nothing is sent before `run`.

        Args:
            load: What to send.
            stack: The gateway.
            saboteur: Breaks the engines meanwhile.
            tasks: Gives the number of tasks of the gateway's event loop, if anybody can tell.
        """
        self.course = Course(account=Account(requests=load.requests))
        self._load = load
        self._stack = stack
        self._saboteur = saboteur
        self._tasks = tasks

    async def run(self) -> Course:
        """Send all requests, break engines meanwhile, and look at the gateway's process.

        Raises:
            StackError: The gateway's process has ended.
        """
        before = _counted(self._stack.target)
        self.course.rests.append(await self._look())
        began = time.monotonic()
        breaking = asyncio.create_task(self._saboteur.run())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                for _ in range(self._load.workers):
                    group.create_task(self._work())
        except ExceptionGroup as failed:
            if failed.subgroup(psutil.NoSuchProcess):
                raise StackError("the gateway's process has ended") from None
            raise
        finally:
            self.course.seconds = time.monotonic() - began
            breaking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await breaking
        self.course.counted = await self._settled(before)
        self.course.rests.append(await self._look())
        return self.course

    async def _work(self) -> None:
        asker = Asker(self._stack.target)
        account, load = self.course.account, self._load
        try:
            while account.sent < load.requests:
                number = account.sent
                account.sent += 1
                await self._exchange(asker, number)
        finally:
            await asker.close()

    async def _exchange(self, asker: Asker, number: int) -> None:
        question = draw(self._load.seed, number, self._load.stock)
        began = time.monotonic()
        reply: Reply
        try:
            # The clients stop by themselves; this is for one that does not.
            async with asyncio.timeout(question.deadline_s + 2 * GRACE_S):
                reply = await asker.ask(question)
        except TimeoutError:
            reply = Silence()
        ended = time.monotonic()
        ending = judge(question, reply, self._load.stock, outage=self._saboteur.outage(began, ended))
        self.course.account.add(question, ending, ended - began, quiet=self._saboteur.quiet(began))

    async def _watch(self) -> None:
        """Take a sample for every so many requests; those that are due at once are one."""
        account, every = self.course.account, max(1, self._load.requests // SAMPLES)
        due = 0
        while account.sent < self._load.requests or len(self.course.samples) < LEAST_SAMPLES:
            if account.sent >= due or account.sent == self._load.requests:
                due = account.sent + every
                self.course.samples.append(await self._look())
            await asyncio.sleep(_POLL_S)

    async def _look(self) -> Sample:
        began = time.monotonic()
        tasks = await self._tasks()
        # A fault of a moment ago may still have requests waiting.
        quiet = self._saboteur.quiet(began - SETTLED_S)
        return take(psutil.Process(self._stack.pid), self.course.account.sent, tasks, quiet=quiet)

    async def _settled(self, before: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
        """What the gateway has counted once nothing is in flight there and the figures stand still."""
        found: Counter[tuple[str, str]] = Counter()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                while True:
                    last, found = found, _counted(self._stack.target)
                    if found == last:
                        break
                    await asyncio.sleep(1.0)
        found.subtract(before)
        return found


def _counted(target: Target) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for sample in scrape(target.metrics).samples:
        if sample.name == "attnserve_requests_total":
            found[sample.labels["protocol"], sample.labels["outcome"]] += int(sample.value)
    return found
