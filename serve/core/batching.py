"""What to release now, and why.

Rules of this module: pure functions of the queues' states, the room at the workers and a clock value;
the asyncio shell in `serve.batcher` asks again whenever one of them changes.

The policy, in words: an idle worker never waits for company (a lone caller pays no window), unless
`max_queue_delay_s` asks for one; while workers are busy the queue fills; and as soon as a whole
batch has gathered it is handed over even to a busy worker, up to `prefetch` batches ahead, so that
the worker finds the next one in its hand when it is done. What is less than a batch by then sets out
when the worker should be done by the time it arrives, if it is no smaller than the one that runs and nobody
is just coming. How many images make a batch whole is learned by `serve.core.growth`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from serve.core.hand import NEVER, Due, Hand

# Nobody is just coming if nobody has come for this share of the way to a worker and back.
_QUIET: Final = 0.25


class Reason(Enum):
    """Why a batch left; the value is the `reason` label of the metrics."""

    IDLE = "idle"
    FULL = "full"
    DEADLINE = "deadline"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How a lane batches.

    Attributes:
        max_batch: Most images in a batch, at least 1.
        max_batch_bytes: Requests that are larger together do not share a batch: an engine may refuse a
            message that is too large, which would fail all for the size of one.
        max_queue_images: Most images that may wait; more are refused.
        max_queue_delay_s: How long an idle worker may wait for a batch to fill; 0 means not at all.
        prefetch: Batches that may be handed to a busy worker ahead of time.
        slack: Share of the throughput that may be given up for shorter batches; 0: none.
    """

    max_batch: int
    max_queue_images: int
    max_batch_bytes: int = 64 << 20
    max_queue_delay_s: float = 0.0
    prefetch: int = 1
    slack: float = 0.02

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could ever leave."""
        for name in ("max_batch", "max_queue_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What waits in a lane.

    Attributes:
        images: Images that wait.
        oldest: Clock value, in seconds, at which the first in line came.
        deadline: Earliest clock value at which one of the callers gives up.
        urgent: Whether anybody waits for their answers; else they leave for idle workers only, since whoever
            comes next would wait for what was handed over ahead of time.
        target: Images that make a batch whole; None: as many as are allowed.
        latest: Clock value at which the latest request came.
    """

    images: int
    oldest: float
    deadline: float
    urgent: bool = True
    target: int | None = None
    latest: float = -math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Room at the workers: `idle` have nothing to do; `busy` run one batch or more.

    Attributes:
        ahead: Batches already handed to busy workers ahead of time.
        due: When a busy worker needs its next batch.
    """

    idle: int
    busy: int = 0
    ahead: int = 0
    due: Due = NEVER

    @classmethod
    def over(cls, hands: Collection[Hand]) -> Slots:
        """Those of some engines, by what each has in hand."""
        idle = busy = ahead = 0
        due = NEVER
        for hand in hands:  # once for every request: a loop is quicker than four sums
            idle += hand.idle
            busy += hand.busy
            ahead += hand.ahead
            due = min(due, hand.due, key=_at)
        return cls(idle=idle, busy=busy, ahead=ahead, due=due)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Send that many images now."""

    images: int
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Send nothing; ask again when something changes, and at `until` at the latest (infinity: no need)."""

    until: float = math.inf


def decide(queue: Queue, slots: Slots, limits: Limits, now: float) -> Release | Wait:
    """Say what to release.

    Args:
        queue: What waits; at least one image.
        slots: Room at the workers.
        limits: The lane's policy.
        now: The clock, in seconds.

    Returns:
        A release of 1..max_batch images, or until when to wait.
    """
    whole = min(queue.target or limits.max_batch, limits.max_batch)
    if not slots.idle and not (queue.urgent and slots.ahead < limits.prefetch * slots.busy):
        return Wait()
    if queue.images >= whole:
        return Release(images=whole, reason=Reason.FULL)
    due, reason = (-math.inf, Reason.IDLE) if slots.idle else (_ahead_at(queue, slots.due), Reason.AHEAD)
    if limits.max_queue_delay_s > 0.0:
        # A caller whose deadline falls inside the window is served with half of its time left to compute in.
        patience = min(limits.max_queue_delay_s, (queue.deadline - queue.oldest) / 2)
        due, reason = max(due, queue.oldest + patience), Reason.DEADLINE
    return Release(images=queue.images, reason=reason) if now >= due else Wait(until=due)


def _ahead_at(queue: Queue, due: Due) -> float:
    """When what waits may be handed to a busy worker, the clock's value; infinity: not as it is.

    Only where that costs no company: batches that become smaller cost all processors more than they gain by a
    worker that need not wait.
    """
    return max(due.at, queue.latest + _QUIET * due.way_s) if queue.images >= due.images else math.inf


def choose(queues: Sequence[Queue], slots: Slots, limits: Limits, now: float) -> tuple[int, Release] | Wait:
    """Say which of several queues before the same workers goes next.

    The one whose first in line has waited longest is asked first, one that is not urgent last. A younger one
    may overtake it to an idle worker (while it waits for company), but is never handed ahead to a busy one:
    a stream of full batches would otherwise keep the worker from ever being idle, and a lone request waiting
    for good.

    Args:
        queues: What waits in each; an empty one is passed over.
        slots: Room at the workers.
        limits: The policy of every queue.
        now: The clock, in seconds.

    Returns:
        The index of a queue and what to release from it, or until when to wait.
    """
    until = math.inf
    waiting = (index for index, queue in enumerate(queues) if queue.images)
    for index in sorted(waiting, key=lambda index: (not queues[index].urgent, queues[index].oldest)):
        decision = decide(queues[index], slots, limits, now)
        if isinstance(decision, Release):
            return index, decision
        until = min(until, decision.until)
        slots = Slots(idle=slots.idle)
    return Wait(until=until)


def _at(due: Due) -> float:
    return due.at
