"""How the requests went over the time of the run, in bins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtests.exchanges import Exchanges, Floats, Ints
from loadtests.report.document import PERCENTILES, Point
from loadtests.report.figures import durations
from loadtests.report.percentiles import percentiles
from loadtests.report.rows import Group
from loadtests.report.windows import Span

MOST_BINS: Final = 120
_TAIL: Final = 2  # requests beyond a percentile: a line of a plot shows its own noise, and needs no interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Equal parts of the time that load was made, `MOST_BINS` at most, each a second or longer."""

    span: Span
    count: int

    @classmethod
    def of(cls, spans: Sequence[Span]) -> Bins:
        """Those of a run's phases."""
        span = Span(begins=spans[0].begins, ends=spans[-1].ends)
        return cls(span=span, count=min(MOST_BINS, max(1, math.floor(span.seconds + 1e-9))))

    @property
    def width(self) -> float:
        """Seconds."""
        return self.span.seconds / self.count

    def of_times(self, times: Floats) -> Ints:
        """The bin of each time; negative or `count` and above outside."""
        return np.floor((times - self.span.begins) / self.width).astype(np.int64)

    def counts(self, times: Floats) -> Ints:
        """How many times lie in each bin; those outside in none."""
        at = self.of_times(times)
        return np.bincount(at[(at >= 0) & (at < self.count)], minlength=self.count)


def timeline(groups: Sequence[Group], bins: Bins, began: float) -> tuple[Point, ...]:
    """The points of each group but kinds, in order; `began` is what their times count from."""
    shown = [group for group in groups if group.group != "kind"]
    return tuple(point for group in shown for point in _points(group, bins, began))


def _points(group: Group, bins: Bins, began: float) -> Iterator[Point]:
    exchanges = group.exchanges
    failed = exchanges.failed
    offered = bins.counts(exchanges.due)
    answered = bins.counts(exchanges.ended[~failed])
    failing = bins.counts(exchanges.due[failed])
    response = _percentiles(exchanges, exchanges.response_ms, bins)
    service = _percentiles(exchanges, exchanges.service_ms, bins)
    for number, (found, sent) in enumerate(zip(response, service, strict=True)):
        yield Point(
            group=group.group,
            name=group.name,
            at=bins.span.begins - began + (number + 0.5) * bins.width,
            offered=int(offered[number]) / bins.width,
            answered=int(answered[number]) / bins.width,
            failed=int(failing[number]),
            p50=found[0],
            p90=found[1],
            p95=found[2],
            p99=found[3],
            p999=found[4],
            service_p50=sent[0],
            service_p90=sent[1],
            service_p95=sent[2],
            service_p99=sent[3],
        )


def _percentiles(exchanges: Exchanges, took_ms: Floats, bins: Bins) -> Iterator[list[float | None]]:
    """Of each bin: percentiles of those due in it, None with too few or among the failed."""
    waited = durations(took_ms, exchanges.failed)
    at = bins.of_times(exchanges.due)
    for part in np.split(waited, np.searchsorted(at, np.arange(bins.count + 1)))[1:-1]:
        enough = [len(part) * (1 - q) >= _TAIL - 1e-6 for q in PERCENTILES]
        values = percentiles(part, PERCENTILES) if len(part) else [math.inf] * len(PERCENTILES)
        yield [
            value if fits and math.isfinite(value) else None
            for value, fits in zip(values, enough, strict=True)
        ]
