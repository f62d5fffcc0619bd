"""The report of a run as values: what its page shows, and what is kept as JSON beside it.

Times are seconds since the run began, latencies milliseconds; None is "too few to say".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final

FORMAT: Final = 1
PERCENTILES: Final = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure.

    Attributes:
        name: "throughput", "failures", "p50", "p90", "p95", "p99" or "p99.9".
        unit: "1/s", "share" or "ms".
        value: None where there are too few requests for it, or where it lies among those that failed.
        low: Lower end of the 95 % interval; None where none can be given.
        high: Its upper end.
        log_se: Standard error of the value's logarithm: the interval reaches 1.96 times as far.
        n: Requests behind it.
    """

    name: str
    unit: str
    value: float | None
    low: float | None = None
    high: float | None = None
    log_se: float | None = None
    n: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Some requests of the run: all, those of a way, of a model, or of an arm.

    Attributes:
        group: What tells them apart: "all", "way", "model", "arm" or "kind".
        name: Of the group: "gRPC", "digits_se".
        requests: How many.
        failures: Of them, with a wrong reply.
        images: In them.
        response: Throughput, share of failures, and percentiles of the time from when each was due.
        service: Percentiles of the time from when each was sent, which leaves out what it waited before.
    """

    group: str
    name: str
    requests: int
    failures: int
    images: int
    response: tuple[Figure, ...]
    service: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One bin of the timeline of a row.

    Attributes:
        group: As in `Row`.
        name: As in `Row`.
        at: Middle of the bin.
        offered: Requests a second that were due in it.
        answered: Replies a second that came in it.
        failed: Requests due in it that failed.
        p50: Of the response time of those due in it.
        p90: Likewise.
        p95: Likewise.
        p99: Likewise.
        p999: Likewise.
        service_p50: Of the time from when each was sent, which leaves out what it waited before.
        service_p90: Likewise.
        service_p95: Likewise.
        service_p99: Likewise.
    """

    group: str
    name: str
    at: float
    offered: float
    answered: float
    failed: int
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    service_p50: float | None = None
    service_p90: float | None = None
    service_p95: float | None = None
    service_p99: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPoint:
    """What the gateway's metrics say of a model in one bin of the timeline.

    Attributes:
        model: Its name.
        at: Middle of the bin.
        mean_batch: Images in a batch; None without one.
        queue_ms: Mean wait in the gateway.
        inference_ms: Mean time of a batch in the net.
        queued_images: That waited at the bin's end.
    """

    model: str
    at: float
    mean_batch: float | None
    queue_ms: float | None
    inference_ms: float | None
    queued_images: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One phase of the run, without its first fifth, in which things settle.

    Attributes:
        name: "40 a second".
        load: Requests a second that were to arrive, or users.
        begins: When its measured part begins.
        ends: When it ends.
        response: As in `Row`; the throughput is of good replies.
        service: As in `Row`.
        mean_batch: Images in a batch, from the gateway's metrics; None without them.
        queue_ms: Mean wait in the gateway.
        inference_ms: Mean time of a batch in the net.
        handler_ms: Mean time of a batch in the handler: decoding, net and encoding.
        gateway_cores: Cores that the gateway's process kept busy.
        kept: Whether the load was carried: answers kept up with arrivals, and the promise held.
        why: Why it was not; "" when it was.
    """

    name: str
    load: float
    begins: float
    ends: float
    response: tuple[Figure, ...]
    service: tuple[Figure, ...]
    mean_batch: float | None
    queue_ms: float | None
    inference_ms: float | None
    handler_ms: float | None
    gateway_cores: float | None
    kept: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """Where the service stops keeping up.

    Attributes:
        load: The highest load that was carried, in the steps' unit; None where none was. Of a closed loop:
            the users who get the most answers for their waiting.
        broken: The load at which it broke first; None where it never did.
        text: Both in a sentence.
    """

    load: float | None
    broken: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A figure of this run over that of a baseline, or of one arm over that of another.

    Attributes:
        what: Which figure of which row: "p99, gRPC".
        baseline: The other's value.
        now: This one's.
        unit: Of both.
        ratio: now / baseline.
        low: Lower end of its interval.
        high: Upper end.
        verdict: "worse", "better", "same" or "unclear".
        sentence: What that means.
        tolerance: Share by which the two may differ and still count as the same.
        doubt: Why nothing can be concluded, whatever the interval is; "" when something may.
    """

    what: str
    baseline: float
    now: float
    unit: str
    ratio: float
    low: float
    high: float
    verdict: str
    sentence: str
    tolerance: float = 0.1
    doubt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Requests that failed alike."""

    way: str
    kind: str
    fault: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """What making the load has cost: a process of it; `busiest` is a share of one core."""

    name: str
    requests: int
    cpu_ms_per_request: float | None
    cores: float
    busiest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a run showed.

    Attributes:
        scenario: Its name.
        summary: What it does.
        loop: "open" or "closed".
        options: What it was started with.
        target: Address.
        began: Unix time.
        seconds: How long it took.
        stopped: Why it ended early; "" when it did not.
        slo: "p99_ms" and "failures".
        headline: The findings, each a sentence, the most important first.
        warnings: What stands against believing them.
        rows: All requests first.
        timeline: Of all requests, of each way, model and arm.
        steps: Where the run has any.
        knee: None where the run had no steps.
        gateway: By model and time.
        comparisons: With baselines.
        arms: Of the arms of an experiment, as the callers saw them.
        failures: By kind.
        refused: Requests that were refused as they should be, by kind.
        differences: Where the gateway counted otherwise.
        receipts: Outcomes told to experiments.
        generators: Their cost.
        machine: Where the load was made.
        capacity: Answer of the capacity model, as JSON; None without one.
        experiment: The gateway's own report of the experiment, as JSON; None without one.
    """

    scenario: str
    summary: str
    loop: str
    options: Mapping[str, str]
    target: str
    began: float
    seconds: float
    stopped: str
    slo: Mapping[str, float]
    headline: tuple[str, ...]
    warnings: tuple[str, ...]
    rows: tuple[Row, ...]
    timeline: tuple[Point, ...]
    steps: tuple[Step, ...] = ()
    knee: Knee | None = None
    gateway: tuple[GatewayPoint, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    arms: tuple[Comparison, ...] = ()
    failures: tuple[Failure, ...] = ()
    refused: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    differences: tuple[str, ...] = ()
    receipts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    generators: tuple[Generator, ...] = ()
    machine: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    capacity: Mapping[str, Any] | None = None
    experiment: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        """As a document; NaN and infinities are none of JSON's and none of ours."""
        plain = {name: _plain(getattr(self, name)) for name in self.__slots__}
        return json.dumps({"format": FORMAT, **plain}, indent=1, allow_nan=False)


def _plain(value: Any) -> Any:  # noqa: ANN401  any part of a report
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
