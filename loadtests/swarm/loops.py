"""When the users of one process ask: each after its last answer, or when a request arrives.

A closed loop slows down with the gateway: while an answer is late, its user asks nothing, and nobody sees
how long the requests would have waited that were not sent (coordinated omission; Tene, How NOT to Measure
Latency, 2013; Schroeder, Wierman & Harchol-Balter, Open Versus Closed, NSDI 2006). In an open loop requests
are due whatever becomes of those before. They are sent by users who are free, the slots; where none is free a
request waits for one, and since its time counts from when it was due, so does that waiting.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeAlias

import gevent
from gevent.event import Event
from gevent.queue import Queue

from loadtests.swarm.clock import now

Due: TypeAlias = Callable[[float], None]


class Loop(Protocol):
    """What users and those who lead them need of a loop.

    Attributes:
        idle: Set while no request is under way, nor waiting.
        finished: Set once all that was to arrive has arrived and is answered; never in a closed loop.
        unsent: Requests that were due and are not sent any more, because the run was stopped.
        waited: Requests that found no free slot.
    """

    idle: Event
    finished: Event
    unsent: int
    waited: int

    def join(self, way: str) -> None:
        """A user is ready to ask in that way."""

    def leave(self, way: str) -> None:
        """A user is not any more."""

    def wait(self, way: str) -> float | None:
        """Wait until a request is due in that way.

        Returns:
            When it was due, as Unix time: it must be sent at once, and `done` called after it. None: no
            more are to come.
        """

    def done(self) -> None:
        """A request that was due is answered, or lost for good."""

    def end(self) -> None:
        """From now on nothing is sent any more; what is under way goes on."""

    @property
    def known_until(self) -> float:
        """Unix time up to which all that is due has been told to whoever counts it."""


class ClosedLoop:
    """Implements `Loop`: whoever waits has a request due at once."""

    def __init__(self, tell: Due) -> None:
        """Begin; `tell` is called with the time of every request."""
        self.idle, self.finished = Event(), Event()
        self.idle.set()
        self.unsent = self.waited = 0
        self._tell = tell
        self._under_way = 0
        self._ended = False

    def join(self, way: str) -> None:
        """See `Loop`."""

    def leave(self, way: str) -> None:
        """See `Loop`."""

    def wait(self, way: str) -> float | None:  # noqa: ARG002  part of the interface
        """See `Loop`."""
        if self._ended:
            return None
        self._under_way += 1
        self.idle.clear()
        due = now()
        self._tell(due)
        return due

    def done(self) -> None:
        """See `Loop`."""
        self._under_way -= 1
        if not self._under_way:
            self.idle.set()

    def end(self) -> None:
        """See `Loop`."""
        self._ended = True

    @property
    def known_until(self) -> float:
        """See `Loop`."""
        return now()


class OpenLoop:
    """Implements `Loop`: requests arrive, and a slot that is free takes the one that waits for longest."""

    def __init__(self, tell: Due, seed: str) -> None:
        """Wait for `begin`; `tell` is called with the time of every request when it is due."""
        self.idle, self.finished = Event(), Event()
        self.idle.set()
        self.unsent = self.waited = 0
        self._tell = tell
        self._chance: Final = random.Random(seed)
        self._slots: list[str] = []  # the way of each
        self._joined = Event()
        self._lines: dict[str, Queue[float | None]] = {}
        self._waiting: dict[str, int] = {}
        self._under_way = 0
        self._next = math.inf
        self._ended = False
        self._clerk: gevent.Greenlet | None = None

    def begin(self, at: float, arrivals: Iterator[float]) -> None:
        """Let requests arrive.

        Args:
            at: Unix time of the begin.
            arrivals: Seconds since then, in their order.
        """
        if not self._ended:
            self.idle.clear()
            self._clerk = gevent.spawn(self._hand_out, at, arrivals)

    def join(self, way: str) -> None:
        """See `Loop`."""
        self._slots.append(way)
        self._line(way)
        self._joined.set()

    def leave(self, way: str) -> None:
        """See `Loop`."""
        self._slots.remove(way)
        if not self._slots:
            self._joined.clear()

    def wait(self, way: str) -> float | None:
        """See `Loop`."""
        line = self._line(way)
        if self._ended and not line.qsize():
            return None
        self._waiting[way] += 1
        try:
            due: float | None = line.get()
        finally:
            self._waiting[way] -= 1
        if due is None:
            line.put(None)  # for the next one who waits
        return due

    def done(self) -> None:
        """See `Loop`."""
        self._under_way -= 1
        self._rest()

    def end(self) -> None:
        """See `Loop`: those that wait for a slot are not sent."""
        if self._clerk is not None:
            self._clerk.kill()
        for line in self._lines.values():
            while line.qsize():
                dropped = line.get() is not None
                self.unsent += dropped
                self._under_way -= dropped
        self._close()

    @property
    def known_until(self) -> float:
        """See `Loop`."""
        return min(now(), self._next)

    def _hand_out(self, at: float, arrivals: Iterator[float]) -> None:
        for seconds in arrivals:
            self._next = due = at + seconds
            while (left := due - now()) > 0:
                gevent.sleep(left)
            self._joined.wait()
            # As if it fell on any slot: each way gets its share, at random, however fast it is answered.
            way = self._chance.choice(self._slots)
            self.waited += self._line(way).qsize() >= self._waiting[way]
            self._under_way += 1
            self._tell(due)
            self._line(way).put(due)
        self._close()

    def _close(self) -> None:
        """Send the users home who have nothing left to ask."""
        self._ended = True
        self._next = math.inf
        for line in self._lines.values():
            line.put(None)
        self._rest()

    def _rest(self) -> None:
        if self._ended and not self._under_way:
            self.idle.set()
            self.finished.set()

    def _line(self, way: str) -> Queue[float | None]:
        self._waiting.setdefault(way, 0)
        return self._lines.setdefault(way, Queue())
