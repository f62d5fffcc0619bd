"""What an engine has in hand of one version, and when it could use the next batch."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Foresight:
    """What is foreseen of a batch.

    Attributes:
        images: How many are in it; 0: unknown.
        work_s: Seconds that a worker takes for it; infinity: unknown.
        way_s: Seconds that it is under way to the worker and back.
    """

    images: int = 0
    work_s: float = math.inf
    way_s: float = 0.0


UNFORESEEN = Foresight()


@dataclass(frozen=True, slots=True)
class Due:
    """When a worker needs its next batch.

    Attributes:
        at: Clock value at which it should set out, to be there when the worker is done; infinity: unknown.
        images: Of the batch on which the worker is then.
        way_s: Seconds that the next batch is under way, there and back.
    """

    at: float
    images: int
    way_s: float


NEVER = Due(math.inf, 0, 0.0)


@dataclass(eq=False, slots=True)
class Hand:
    """The batches that an engine's workers have in hand, first come, first served.

    Attributes:
        workers: Batches that run at once.
    """

    workers: int
    _run: list[Due] = field(default_factory=list)
    _ahead: deque[Foresight] = field(default_factory=deque)

    @property
    def count(self) -> int:
        """Batches in hand."""
        return len(self._run) + len(self._ahead)

    @property
    def idle(self) -> int:
        """Workers that have nothing to do."""
        return self.workers - len(self._run)

    @property
    def busy(self) -> int:
        """Workers that have something to do."""
        return len(self._run)

    @property
    def ahead(self) -> int:
        """Batches that wait there for a worker."""
        return len(self._ahead)

    @property
    def due(self) -> Due:
        """When the next batch should come; never while a worker is idle or has one already."""
        return NEVER if self._ahead or self.idle else self._first()

    @property
    def largest(self) -> int:
        """Images of the largest batch; 0 where none is known."""
        return max([*(run.images for run in self._run), *(one.images for one in self._ahead)], default=0)

    def enter(self, now: float, foresight: Foresight = UNFORESEEN) -> None:
        """Take one more."""
        if self.idle:
            # The answer comes after work and way; what sets out one way before it comes as the work ends.
            self._run.append(Due(now + foresight.work_s, foresight.images, foresight.way_s))
        else:
            self._ahead.append(foresight)

    def leave(self, now: float) -> None:
        """The one that should be done first is; a worker goes on to what was handed ahead."""
        self._run.remove(self._first())
        if self._ahead:
            following = self._ahead.popleft()
            at = now + following.work_s - following.way_s
            self._run.append(Due(at, following.images, following.way_s))

    def _first(self) -> Due:
        return self._run[0] if len(self._run) == 1 else min(self._run, key=lambda due: due.at)
