"""The gateway as a queue: requests arrive at random, leave in batches, and what each waits is simulated.

The rule is that of `serve.core.batching`: an idle worker takes at once whatever waits, up to a full batch;
a busy one is handed full batches ahead of time. In queueing theory that is bulk service with sizes 1 to B,
as in Bailey, On queueing processes with bulk service, J. R. Statist. Soc. B 16, 1954, with service times
that depend on the size. No closed form gives percentiles of that, so they come out of a simulation, which
is compared with closed forms wherever one exists.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loadtests.capacity.service import Batching, Service

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

REQUESTS: Final = 20_000
_WARM_UP: Final = 0.1  # share of the requests: the queue begins empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Requests and the chance that the batches meet.

    Attributes:
        at_ms: [N] arrivals, ascending.
        images: [N] int64, of each request, at least 1.
        factors: [at least as many as batches] by which each batch takes longer than its mean.
        front_factors: [N] likewise of each request, where all go through one by one.
        settled: The first request that counts; those before only fill the queue.
    """

    at_ms: Floats
    images: Ints
    factors: Floats
    front_factors: Floats
    settled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a flow, after it had settled.

    Attributes:
        rate: Requests a second that arrived.
        response_ms: [N] from each arrival to its answer.
        queue_ms: [N] from each arrival at the queue until its last image left it.
        predict_ms: [N] from each arrival at the queue to its answer from the worker.
        transport_ms: Of each response time, outside of the gateway.
        mean_batch: Images in a batch.
        answered: Requests a second that were answered.
    """

    rate: float
    response_ms: Floats
    queue_ms: Floats
    predict_ms: Floats
    transport_ms: float
    mean_batch: float
    answered: float

    def percentile(self, share: float) -> float:
        """Of the response time, in milliseconds."""
        return float(np.quantile(self.response_ms, share))

    @property
    def concurrency(self) -> float:
        """Requests that wait for a worker's answer, on average: arrivals a second times mean seconds of it.

        Little, A proof for the queuing formula L = lambda W, Operations Research 9, 1961. The gateway's own
        time before the queue is not in it: no worker more would make that shorter.
        """
        return self.rate * float(self.predict_ms.mean()) / 1e3


def simulate(
    service: Service, batching: Batching, rate: float, *, requests: int = REQUESTS, seed: int = 1
) -> Outcome:
    """Poisson arrivals at `rate` a second; the same seed meets the same chance at any rate."""
    random = np.random.default_rng(seed)
    at_ms = np.cumsum(random.exponential(1e3 / rate, requests))
    images = service.counts(random.random(requests))
    return serve(service, batching, drawn(at_ms, images, service.spread, random, int(_WARM_UP * requests)))


def drawn(at_ms: Floats, images: Ints, spread: float, random: np.random.Generator, settled: int = 0) -> Flow:
    """Requests with chance to meet: lognormal factors of mean 1, as many as there may be batches."""
    factors = (
        np.exp(spread * random.standard_normal(number) - spread**2 / 2)
        for number in (int(images.sum()), len(at_ms))  # no batch is empty
    )
    return Flow(
        at_ms=at_ms, images=images, factors=next(factors), front_factors=next(factors), settled=settled
    )


def serve(service: Service, batching: Batching, flow: Flow) -> Outcome:
    """What becomes of these requests."""
    queued = through_front(flow.at_ms, service.front_ms * flow.front_factors)
    batches = _Batches(np.repeat(queued, flow.images).tolist(), flow.factors.tolist())
    batches.run(service, batching)
    sizes = np.array(batches.sizes)
    firsts = np.cumsum(flow.images) - flow.images
    # A request is there when its last image is, in whichever of its batches that comes.
    back = np.maximum.reduceat(np.repeat(batches.back, sizes), firsts)
    left = np.maximum.reduceat(np.repeat(batches.left, sizes), firsts)
    settled = slice(flow.settled, None)
    seconds = (flow.at_ms[-1] - flow.at_ms[flow.settled]) / 1e3
    number = len(flow.at_ms) - flow.settled - 1
    return Outcome(
        rate=number / seconds,
        response_ms=(back - flow.at_ms)[settled] + service.transport_ms,
        queue_ms=(left - queued)[settled],
        predict_ms=(back - queued)[settled],
        transport_ms=service.transport_ms,
        mean_batch=float(sizes.mean()),
        answered=1e3 * len(back) / float(back.max() - flow.at_ms[0]),
    )


def through_front(at_ms: Floats, times_ms: Floats) -> Floats:
    """When requests leave a place that serves one after the other, [N].

    d(i) = max(a(i), d(i - 1)) + s(i), which is T(i) + max over j <= i of (a(j) - T(j - 1)), with T(i) the sum
    of all times to s(i).
    """
    total = np.cumsum(times_ms)
    left: Floats = np.maximum.accumulate(at_ms - (total - times_ms)) + total
    return left


@dataclass(slots=True)
class _Batches:
    """The queue at work; times in milliseconds.

    Attributes:
        at: Arrival of every image.
        factors: Of every batch.
        sizes: Images of every batch that has left, in the order in which they left.
        left: When each left.
        back: When its answers were back.
    """

    at: list[float]
    factors: list[float]
    sizes: list[int] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)

    def run(self, service: Service, batching: Batching) -> None:
        """Let all images through."""
        free = [0.0] * batching.workers
        out: list[float] = []  # when those that are under way will be back
        now, first, images = 0.0, 0, len(self.at)
        most_ahead = batching.workers * (1 + batching.prefetch)
        while first < images:
            if len(out) < batching.workers:
                now = max(now, self.at[first])
                while out and out[0] <= now:
                    heappop(out)
                size = bisect_right(self.at, now, first, min(images, first + batching.max_batch)) - first
            elif len(out) < most_ahead and self._full(first, batching.max_batch, out[0]):
                now = max(now, self.at[first + batching.max_batch - 1])
                size = batching.max_batch
            else:
                now = heappop(out)
                continue
            heappush(out, self._send(service, free, now, size))
            first += size

    def _full(self, first: int, size: int, before: float) -> bool:
        """Whether a full batch has gathered by then."""
        last = first + size - 1
        return last < len(self.at) and self.at[last] < before

    def _send(self, service: Service, free: list[float], now: float, size: int) -> float:
        """To the worker that is free first; returns when the answers are back."""
        begin = max(now + service.held_ms / 2, free[0])
        end = begin + self.factors[len(self.sizes)] * service.handler_ms(size)
        heapreplace(free, end)
        self.sizes.append(size)
        self.left.append(now)
        self.back.append(end + service.held_ms / 2)
        return self.back[-1]
