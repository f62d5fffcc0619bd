"""What a run came to, before anything is computed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from loadtests.exchanges import Exchanges

OPEN: Final = "open"  # requests arrive whatever becomes of those before
CLOSED: Final = "closed"  # each user waits for its answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What callers were promised, and for how long it may be broken before a run stops.

    Attributes:
        p99_ms: Most milliseconds from when a request is due until its reply, for 99 % of them.
        failures: Most share of requests that fail.
        for_s: So many seconds in a row of broken promises stop the run; None: nothing stops it.
    """

    p99_ms: float
    failures: float = 0.01
    for_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of a run with one load, such as a step.

    Attributes:
        name: For people: "40 a second", "8 users", "ramp to 200 a second".
        begins: Unix time; requests belong to the phase in which they are due.
        ends: Unix time.
        load: Requests a second that were to arrive, or users; of a ramp, its mean.
    """

    name: str
    begins: float
    ends: float
    load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCounters:
    """What the gateway counted of a model since its start; seconds are sums.

    Attributes:
        batches: That left the queue.
        batched_images: In them.
        queue_s: That answered requests waited in the gateway, and of how many requests.
        inference_s: That the handler spent in the net, and of how many batches.
        handler_s: That the handler spent in all: decode, inference, encode.
        queued_images: That wait at this moment.
        inflight: Requests that wait for their answer at this moment.
    """

    batches: float = 0.0
    batched_images: float = 0.0
    queue_s: float = 0.0
    queue_requests: float = 0.0
    inference_s: float = 0.0
    inference_batches: float = 0.0
    handler_s: float = 0.0
    queued_images: float = 0.0
    inflight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One scrape of the gateway's metrics.

    Attributes:
        at: Unix time.
        models: By name.
        gateway_cpu_s: CPU time of the gateway's process since its start.
        gateway_rss: Its memory in bytes.
    """

    at: float
    models: Mapping[str, ModelCounters]
    gateway_cpu_s: float
    gateway_rss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorCost:
    """What one process that made the load has used.

    Attributes:
        name: Of the process: "worker 1 on HOST".
        requests: That it sent.
        seconds: While it made load.
        cpu_s: CPU time meanwhile.
        busiest: Largest share of a core that it used in any half second; near 1 its requests wait for it.
        full_s: Seconds in which it used nearly all of a core (`generators.FULL`).
        machine_busy: Share of all cores of its machine that were busy meanwhile, with whatever.
    """

    name: str
    requests: int
    seconds: float
    cpu_s: float
    busiest: float
    full_s: float = 0.0
    machine_busy: float = 0.0

    @property
    def cores(self) -> float:
        """That it kept busy on average."""
        return self.cpu_s / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that has ended.

    Attributes:
        scenario: Its name.
        summary: What it does, in a sentence.
        loop: "open" or "closed".
        options: What it was started with, for people, by name.
        target: Its address.
        began: Unix time of the first arrival that was planned.
        ended: Unix time.
        stopped: Why it ended early; "" when it did not.
        exchanges: Every request.
        phases: Those of the load, in order.
        slo: What was promised.
        snapshots: Of the gateway, about one a second; none where its metrics could not be read.
        generators: Each process that made load.
        differences: Where the gateway counted other requests than were sent; lines.
        receipts: Outcomes told to experiments, by what became of them.
        errors: Everything that failed, in lines.
        machine: Where the load was made: name of a property -> its value.
        slots: Most requests in flight of an open loop, of all processes together; 0: a closed loop.
        waited: Requests of an open loop that were due when no slot was free.
    """

    scenario: str
    summary: str
    loop: str
    options: Mapping[str, str]
    target: str
    began: float
    ended: float
    stopped: str
    exchanges: Exchanges
    phases: tuple[Phase, ...]
    slo: Slo
    snapshots: tuple[Snapshot, ...] = ()
    generators: tuple[GeneratorCost, ...] = ()
    differences: tuple[str, ...] = ()
    receipts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    errors: tuple[str, ...] = ()
    machine: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    slots: int = 0
    waited: int = 0
