"""`python -m loadtests.bench_batching`: what the learned batch size and batches handed ahead are worth.

A simulation, exact and without a clock: the gateway's own rule (`serve.core.batching`, `growth` and `hand`)
before one worker whose times are given, beside the same rule with the largest size allowed and nothing but
whole batches handed ahead.
"""

from __future__ import annotations

import heapq
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich.table import Table

from loadtests.console import wide
from serve.core.batching import Limits, Queue, Release, Slots, decide
from serve.core.growth import Growth
from serve.core.hand import UNFORESEEN, Foresight, Hand

MAX_BATCH: Final = 16
REQUESTS: Final = 6000
_WARM_UP: Final = 0.1  # share of the requests: nothing has been learned yet
_SPREAD: Final = 0.05  # of the logarithm of the time of a batch
_RETURN_MS: Final = 1.5  # from an answer to the same caller's next request, on average


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Milliseconds of a batch: in the worker, and between gateway and worker, there and back."""

    batch_ms: float
    image_ms: float
    way_ms: float = 2.0

    def work_ms(self, images: int) -> float:
        """In the worker."""
        return self.batch_ms + self.image_ms * images

    @property
    def capacity(self) -> float:
        """Images a second in batches of the largest size."""
        return 1e3 * MAX_BATCH / self.work_ms(MAX_BATCH)


CURVES: Final = {
    "CPU, 5 + 27 b ms": Curve(batch_ms=3.0, image_ms=27.0),
    "GPU, 4 + 0.4 b ms": Curve(batch_ms=2.0, image_ms=0.4),
    "trivial, 3 + 0.4 b ms": Curve(batch_ms=1.0, image_ms=0.4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Either so many callers who ask again when they are answered, or arrivals at random (Poisson).

    Attributes:
        callers: How many; 0: arrivals at random.
        share: Of the curve's capacity that arrives then.
    """

    callers: int = 0
    share: float = 0.0

    def __str__(self) -> str:
        """As a row of the table is called."""
        return f"{self.callers} callers" if self.callers else f"{self.share:.0%} of capacity"


LOADS: Final = (
    *(Load(callers=callers) for callers in (1, 2, 4, 8, 16, 32, 64)),
    *(Load(share=share) for share in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a load: answers a second, milliseconds from request to answer, images in a batch."""

    rate: float
    p50_ms: float
    p99_ms: float
    batch: float


def simulate(curve: Curve, load: Load, *, learns: bool, requests: int = REQUESTS, seed: int = 1) -> Outcome:
    """Let the requests through; the same seed makes the same arrivals and returns, whatever the rule.

    Args:
        curve: The worker's times.
        load: Who asks.
        learns: Whether the batch size is learned and what is less than a batch handed ahead.
        requests: How many are answered.
        seed: Of the arrivals and of how batches vary.
    """
    gateway = _Gateway(curve=curve, load=load, learns=learns, seed=seed)
    gateway.run(requests)
    settled = np.array(gateway.answered[int(_WARM_UP * requests) : requests])
    times = settled[:, 1] - settled[:, 0]
    return Outcome(
        rate=1e3 * (len(settled) - 1) / float(settled[-1, 1] - settled[0, 1]),
        p50_ms=float(np.quantile(times, 0.5)),
        p99_ms=float(np.quantile(times, 0.99)),
        batch=float(np.mean(gateway.sizes[int(_WARM_UP * len(gateway.sizes)) :])),
    )


@dataclass(slots=True)
class _Batch:
    """One under way: when its requests came, when it set out for an idle worker, how long it is worked on."""

    came: list[float]
    idle_at: float | None
    work_ms: float


class _Gateway:
    """The queue, one worker, and what the gateway knows of it; times are milliseconds."""

    def __init__(self, *, curve: Curve, load: Load, learns: bool, seed: int) -> None:
        self.answered: list[tuple[float, float]] = []
        self.sizes: list[int] = []
        self._curve, self._load, self._learns = curve, load, learns
        self._limits = Limits(max_batch=MAX_BATCH, max_queue_images=sys.maxsize)
        self._growth = Growth(MAX_BATCH, self._limits.slack)
        self._hand = Hand(workers=1)
        self._waiting: list[float] = []
        self._free = 0.0
        self._events: list[tuple[float, int, _Batch | None]] = []
        self._arrivals, self._times = (np.random.default_rng([seed, part]) for part in (0, 1))

    def run(self, requests: int) -> None:
        """Until so many have been answered."""
        for _ in range(self._load.callers or 1):
            self._push(self._gap(), None)
        wake = math.inf
        while len(self.answered) < requests:
            if wake < self._events[0][0]:
                now = wake
            else:
                now, _, batch = heapq.heappop(self._events)
                self._end(batch, now) if batch else self._come(now)
            wake = self._pump(now)

    def _gap(self) -> float:
        """Until the next one comes, or comes back."""
        mean = _RETURN_MS if self._load.callers else 1e3 / (self._load.share * self._curve.capacity)
        return float(self._arrivals.exponential(mean))

    def _push(self, at: float, batch: _Batch | None) -> None:
        heapq.heappush(self._events, (at, len(self.sizes) + len(self.answered) + len(self._events), batch))

    def _come(self, now: float) -> None:
        self._waiting.append(now)
        if not self._load.callers:
            self._push(now + self._gap(), None)

    def _end(self, batch: _Batch, now: float) -> None:
        self._hand.leave(now)
        if batch.idle_at is not None:
            self._growth.add_way(now - batch.idle_at - batch.work_ms)
        self._growth.add(len(batch.came), batch.work_ms)
        for came in batch.came:
            self.answered.append((came, now))
            if self._load.callers:
                self._push(now + self._gap(), None)

    def _pump(self, now: float) -> float:
        """Release what may leave; returns when to ask again."""
        while self._waiting:
            slots = Slots(
                idle=self._hand.idle, busy=self._hand.busy, ahead=self._hand.ahead, due=self._hand.due
            )
            decision = decide(self._queue(), slots, self._limits, now)
            if not isinstance(decision, Release):
                return decision.until
            self._release(decision.images, now, idle=slots.idle > 0)
        return math.inf

    def _queue(self) -> Queue:
        return Queue(
            images=len(self._waiting),
            oldest=self._waiting[0],
            latest=self._waiting[-1],
            deadline=math.inf,
            target=self._growth.target if self._learns else None,
        )

    def _release(self, images: int, now: float, *, idle: bool) -> None:
        came, self._waiting = self._waiting[:images], self._waiting[images:]
        work_ms = self._curve.work_ms(images) * float(self._times.lognormal(-(_SPREAD**2) / 2, _SPREAD))
        way = self._curve.way_ms / 2
        self._free = max(now + way, self._free) + work_ms
        self._hand.enter(now, self._foresight(images))
        self.sizes.append(images)
        self._push(self._free + way, _Batch(came, now if idle else None, work_ms))

    def _foresight(self, images: int) -> Foresight:
        return self._growth.foresee(images) if self._learns else UNFORESEEN


def compared(curve: Curve, load: Load) -> tuple[Outcome, Outcome]:
    """The rule that learns nothing, and the gateway's."""
    return simulate(curve, load, learns=False), simulate(curve, load, learns=True)


def rows() -> Iterator[tuple[str, ...]]:
    """Every curve under every load: the rule that learns nothing, the gateway's, and their ratio."""
    for name, curve in CURVES.items():
        for load in LOADS:
            plain, learned = compared(curve, load)
            yield (
                name,
                str(load),
                f"{plain.rate:.0f} / {learned.rate:.0f}",
                f"{learned.rate / plain.rate - 1:+.0%}",
                f"{plain.p50_ms:.1f} / {learned.p50_ms:.1f}",
                f"{plain.p99_ms:.1f} / {learned.p99_ms:.1f}",
                f"{learned.p99_ms / plain.p99_ms - 1:+.0%}",
                f"{plain.batch:.1f} / {learned.batch:.1f}",
            )


def main() -> None:
    """Simulate and print."""
    table = Table("worker", "load", "images/s", "", "p50, ms", "p99, ms", "", "images a batch")
    for row in rows():
        table.add_row(*row)
    wide().print(table)


if __name__ == "__main__":
    main()
