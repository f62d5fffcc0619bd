"""Which faults, when: a schedule that follows from the seed, and what carries it out.

However the schedule falls, at least one engine is always well, but for the faults that are meant to take
all away: one that would strike the last engine waits until another has recovered.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

ALL_ENGINES: Final = -1
# A request may meet the end of an outage late: its engine is taken into use again a moment after it is back.
OUTAGE_GRACE_S: Final = 1.0
_REMEMBERED: Final = 100  # outages; a request lives far shorter than so many


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """A sort of fault.

    Attributes:
        name: For the report and the command line.
        seconds: It lasts at least and at most so long; 0 where it is over at once.
        recovery_s: After that the engine is taken to be well again.
        share: How likely it is, relative to the others.
        all_engines: Whether it strikes every engine, so that none is left.
        on_request: Whether it is injected only when it is named: requests are lost to it by design.
    """

    name: str
    seconds: tuple[float, float]
    recovery_s: float
    share: float = 1.0
    all_engines: bool = False
    on_request: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a schedule.

    Attributes:
        at_s: Seconds after the start of the load; later where no other engine is well.
        engine: Its number, or `ALL_ENGINES`.
        seconds: How long it lasts.
        times: For kinds that can strike several times in a row.
    """

    at_s: float
    kind: FaultKind
    engine: int
    seconds: float
    times: int


class Engines(Protocol):
    """What faults are done to."""

    @property
    def count(self) -> int:
        """How many engines there are."""
        ...

    async def begin(self, fault: Fault) -> None:
        """Break what the fault says."""
        ...

    async def end(self, fault: Fault) -> None:
        """Repair it; returns when the engine can be used again."""
        ...


def schedule(
    seed: int, kinds: Sequence[FaultKind], engines: int, pause_s: tuple[float, float]
) -> Iterator[Fault]:
    """An endless schedule; the same for the same arguments.

    Args:
        seed: Of the run.
        kinds: What may happen; none gives no fault.
        engines: How many there are.
        pause_s: Least and greatest time between the beginnings of two faults.
    """
    chance = random.Random(f"{seed}:faults")
    at_s = 0.0
    while kinds:
        at_s += chance.uniform(*pause_s)
        kind = chance.choices(kinds, weights=[kind.share for kind in kinds])[0]
        engine = chance.randrange(engines)
        yield Fault(
            at_s=at_s,
            kind=kind,
            engine=ALL_ENGINES if kind.all_engines else engine,
            seconds=chance.uniform(*kind.seconds),
            times=chance.randint(1, 5),
        )


class Saboteur:
    """Carries a schedule out, and knows what was broken when.

    Attributes:
        done: Faults that were begun, by kind.
    """

    def __init__(self, engines: Engines, faults: Iterator[Fault]) -> None:
        self.done: Counter[str] = Counter()
        self._engines = engines
        self._faults = faults
        self._unwell: Counter[int] = Counter()
        self._recovered = asyncio.Condition()
        self._outages: deque[list[float]] = deque(maxlen=_REMEMBERED)
        self._quiet_since = time.monotonic()

    async def run(self) -> None:
        """Break and repair until cancelled; then repair what is still broken.

        Raises:
            Exception: Whatever breaking or repairing raised, at the end.
        """
        began = time.monotonic()
        stop = asyncio.Event()
        running: set[asyncio.Task[None]] = set()

        def forget(task: asyncio.Task[None]) -> None:
            if task.exception() is None:
                running.discard(task)

        try:
            for fault in self._faults:
                await asyncio.sleep(began + fault.at_s - time.monotonic())
                await self._wait_for_another(fault)
                task = asyncio.create_task(self._strike(fault, stop))
                running.add(task)
                task.add_done_callback(forget)
        finally:
            stop.set()
            await asyncio.gather(*running)

    def outage(self, began: float, ended: float) -> bool:
        """Whether all engines were away at any time between two values of the monotonic clock."""
        return any(start <= ended and began <= end + OUTAGE_GRACE_S for start, end in self._outages)

    def quiet(self, began: float) -> bool:
        """Whether every engine has been well since then."""
        return not self._unwell and self._quiet_since <= began

    async def _wait_for_another(self, fault: Fault) -> None:
        struck = set(range(self._engines.count)) if fault.engine == ALL_ENGINES else {fault.engine}

        def possible() -> bool:
            if fault.engine == ALL_ENGINES:
                return not self._unwell
            return not struck & set(self._unwell) and len(struck | set(self._unwell)) < self._engines.count

        async with self._recovered:
            await self._recovered.wait_for(possible)
        for engine in struck:
            self._unwell[engine] += 1

    async def _strike(self, fault: Fault, stop: asyncio.Event) -> None:
        self.done[fault.kind.name] += 1
        lasts = [time.monotonic(), float("inf")]
        if fault.engine == ALL_ENGINES:
            self._outages.append(lasts)
        try:
            await self._engines.begin(fault)
            await _sleep(fault.seconds, stop)
            await self._engines.end(fault)
            lasts[1] = time.monotonic()
            await _sleep(fault.kind.recovery_s, stop)
        finally:
            await self._recover(fault)

    async def _recover(self, fault: Fault) -> None:
        struck = range(self._engines.count) if fault.engine == ALL_ENGINES else (fault.engine,)
        for engine in struck:
            self._unwell[engine] -= 1
        self._unwell = +self._unwell
        self._quiet_since = time.monotonic()
        async with self._recovered:
            self._recovered.notify_all()


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but not beyond `stop`."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
