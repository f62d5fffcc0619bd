"""What happens now, for the page: taken from the metrics every two seconds, and kept for half an hour.

It needs no Prometheus, and knows of this process only. A rate is over the time since the look before; a
quantile, and the mean size of batches, are of the last ten seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from serve.core.live import ArmPoint, EngineState, ModelPoint, Place, Point, quantiles
from serve.experiment_metrics import ExperimentMetrics
from serve.metrics import OUTCOME_LABELS, REQUEST_BUCKETS, Metrics
from serve.series import Counted, Labels, Trail, values_of

log = structlog.get_logger(__name__)

EVERY_S = 2.0
KEPT_POINTS = 900
# A quantile needs more than what two seconds bring, and must not hide what happens now.
TRAILING_LOOKS = 5
OK = "ok"
# How requests end for which the gateway, or what is behind it, has to answer; as in our dashboards.
FAILED = frozenset(OUTCOME_LABELS) - {OK, "client_error", "cancelled"}


@dataclass(frozen=True, slots=True)
class Clocks:
    """The time: `monotonic` for spans, `now` as Unix time; both in seconds."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time


class Live:
    """Looks at the metrics again and again, and remembers what it saw."""

    def __init__(
        self,
        metrics: Metrics,
        experiments: ExperimentMetrics | None,
        place: Place,
        clocks: Clocks = Clocks(),
    ) -> None:
        """Begin to count; what was counted before is no news.

        Args:
            metrics: Of the models and engines.
            experiments: None where these are disabled.
            place: Which process this is: what it sees is its own.
            clocks: Tell the time.
        """
        self.place = place
        self._metrics = metrics
        self._clocks = clocks
        self._models = _Models(metrics)
        self._arms = _Arms(experiments) if experiments else None
        self._looked = clocks.monotonic()
        self._points: deque[Point] = deque(maxlen=KEPT_POINTS)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                self.look()
            except Exception:  # what is shown must not end what is served
                log.exception("a look at the metrics failed")

    def look(self) -> None:
        """Make a point of what has happened since the last look."""
        looked, at = self._clocks.monotonic(), self._clocks.now()
        span_s = max(looked - self._looked, 1e-3)
        self._looked = looked
        newest = self._points[-1].number if self._points else 0
        point = Point(
            number=max(newest + 1, int(at / EVERY_S)),
            at=at,
            models=self._models.look(span_s),
            arms=self._arms.look(span_s) if self._arms else {},
        )
        self._points.append(point)

    def now(self) -> float:
        """Unix time, as the points have it."""
        return self._clocks.now()

    def since(self, number: int, most: int = KEPT_POINTS) -> tuple[Point, ...]:
        """The newest points that come after that number, oldest first; `most` at most."""
        found: list[Point] = []
        for point in reversed(self._points):
            if point.number <= number or len(found) == most:
                break
            found.append(point)
        return tuple(reversed(found))

    def engines(self) -> tuple[EngineState, ...]:
        """How each engine stands now, by name."""
        metrics = self._metrics
        restarts, retries = values_of(metrics.engine_restarts), values_of(metrics.engine_retries)
        breakers: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for (model, engine, state), is_so in values_of(metrics.engine_breaker).items():
            if is_so:
                breakers[engine][model] = state
        return tuple(
            EngineState(
                name=name,
                ejected=bool(ejected),
                restarts=int(restarts.get((name,), 0)),
                retries=int(retries.get((name,), 0)),
                models=breakers[name],
            )
            for (name,), ejected in sorted(values_of(metrics.engine_ejected).items())
        )


class _Models:
    """What models do."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._requests = Counted(metrics.requests, group=1, outcome=3)
        self._images = Counted(metrics.images, group=1, outcome=2)
        self._durations = Trail(metrics.request_duration, group=1, looks=TRAILING_LOOKS)
        self._batches = Trail(metrics.batch_images, group=1, looks=TRAILING_LOOKS)

    def look(self, span_s: float) -> Mapping[str, ModelPoint]:
        """Those that are ready, and those that have been asked for in the last seconds."""
        for part in (self._requests, self._images, self._durations, self._batches):
            part.look()
        metrics = self._metrics
        asked, failed = self._requests.grown(OUTCOME_LABELS), self._requests.grown(FAILED)
        images = self._images.grown((OK,))
        queued, inflight = values_of(metrics.queue_images), values_of(metrics.inflight)
        points: dict[str, ModelPoint] = {}
        for group in self._shown():
            latency, batches = self._durations.seen(group), self._batches.seen(group)
            points[group[0]] = ModelPoint(
                requests_s=asked.get(group, 0.0) / span_s,
                images_s=images.get(group, 0.0) / span_s,
                errors_s=failed.get(group, 0.0) / span_s,
                latency=quantiles(REQUEST_BUCKETS, latency.counts),
                batch_images=batches.mean,
                queue_images=int(queued.get(group, 0)),
                inflight=int(inflight.get(group, 0)),
            )
        return points

    def _shown(self) -> list[Labels]:
        ready = {labels[:1] for labels, is_so in values_of(self._metrics.model_ready).items() if is_so}
        return sorted(ready | self._durations.active())


class _Arms:
    """What the arms of experiments do; their series are there for as long as these are live."""

    def __init__(self, experiments: ExperimentMetrics) -> None:
        self._requests = Counted(experiments.requests, group=2, outcome=2)
        self._durations = Trail(experiments.duration, group=2, looks=TRAILING_LOOKS)

    def look(self, span_s: float) -> Mapping[str, Mapping[str, ArmPoint]]:
        """Every arm of every experiment that is live."""
        self._requests.look()
        self._durations.look()
        asked, failed = self._requests.grown(OUTCOME_LABELS), self._requests.grown(FAILED)
        points: defaultdict[str, dict[str, ArmPoint]] = defaultdict(dict)
        for group in self._durations.groups():
            experiment, arm = group
            points[experiment][arm] = ArmPoint(
                requests_s=asked.get(group, 0.0) / span_s,
                errors_s=failed.get(group, 0.0) / span_s,
                latency=quantiles(REQUEST_BUCKETS, self._durations.seen(group).counts),
            )
        return points
