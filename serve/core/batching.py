"""What to release now, and why.

Rules of this module: pure functions of the queues' states, the room at the workers and a clock value;
the asyncio shell in `serve.batcher` asks again whenever one of them changes.

The policy, in words: an idle worker never waits for company (a lone caller pays no window), unless
`max_queue_delay_s` asks for one; while workers are busy the queue fills; and as soon as a whole
batch has gathered it is handed over even to a busy worker, up to `prefetch` batches ahead, so that
the worker finds the next one in its hand when it is done.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Reason(Enum):
    """Why a batch left; the value is the `reason` label of the metrics."""

    IDLE = "idle"
    FULL = "full"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How a lane batches.

    Attributes:
        max_batch: Most images in a batch, at least 1.
        max_batch_bytes: Requests that are larger together do not share a batch: an engine may refuse a
            message that is too large, which would fail all for the size of one.
        max_queue_images: Most images that may wait; more are refused.
        max_queue_delay_s: How long an idle worker may wait for a batch to fill; 0 means not at all.
        prefetch: Full batches that may be handed to a busy worker ahead of time.
    """

    max_batch: int
    max_queue_images: int
    max_batch_bytes: int = 64 << 20
    max_queue_delay_s: float = 0.0
    prefetch: int = 1

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
    """

    images: int
    oldest: float
    deadline: float
    urgent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Room at the workers: `idle` have nothing to do; `busy` run one batch or more.

    Attributes:
        ahead: Batches already handed to busy workers ahead of time.
    """

    idle: int
    busy: int = 0
    ahead: int = 0


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
    full = queue.images >= limits.max_batch
    if full and (slots.idle or (queue.urgent and slots.ahead < limits.prefetch * slots.busy)):
        return Release(images=limits.max_batch, reason=Reason.FULL)
    if not slots.idle:
        return Wait()
    if limits.max_queue_delay_s <= 0.0:
        return Release(images=queue.images, reason=Reason.IDLE)
    # A caller whose deadline falls inside the window is served with half of its time left to compute in.
    patience = min(limits.max_queue_delay_s, (queue.deadline - queue.oldest) / 2)
    due = queue.oldest + patience
    return Release(images=queue.images, reason=Reason.DEADLINE) if now >= due else Wait(until=due)


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
