"""What the gateway's own metrics say of the time between two scrapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Final

from loadtests.outcome import ModelCounters, Snapshot
from loadtests.report.document import GatewayPoint
from loadtests.report.timeline import Bins
from loadtests.report.windows import Span

_GAUGES: Final = {"queued_images", "inflight"}
_COUNTERS: Final = tuple(field.name for field in fields(ModelCounters) if field.name not in _GAUGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Between two scrapes.

    Attributes:
        span: From one to the other.
        models: By how much each model's counters grew; its gauges are those of the second scrape.
        cpu_s: CPU time of the gateway's process.
    """

    span: Span
    models: Mapping[str, ModelCounters]
    cpu_s: float

    @property
    def middle(self) -> float:
        """Unix time."""
        return (self.span.begins + self.span.ends) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What counters come to for one batch or request; None where there was none."""

    batch: float | None
    queue_ms: float | None
    inference_ms: float | None
    handler_ms: float | None

    @classmethod
    def of(cls, grown: ModelCounters) -> Means:
        """Of counters that grew by so much."""
        return cls(
            batch=_over(grown.batched_images, grown.batches),
            queue_ms=_over(1e3 * grown.queue_s, grown.queue_requests),
            inference_ms=_over(1e3 * grown.inference_s, grown.inference_batches),
            handler_ms=_over(1e3 * grown.handler_s, grown.inference_batches),
        )


def changes(snapshots: Sequence[Snapshot]) -> tuple[Change, ...]:
    """One for every two scrapes in a row, but none where a counter fell: the gateway had started anew."""
    return tuple(_change(before, after) for before, after in pairwise(snapshots) if _went_on(before, after))


def means(found: Iterable[Change]) -> Means:
    """Of all models together."""
    return Means.of(_sum(counters for change in found for counters in change.models.values()))


def cores(found: Sequence[Change]) -> float | None:
    """How many cores the gateway's process kept busy; None without two scrapes."""
    return _over(sum(change.cpu_s for change in found), sum(change.span.seconds for change in found))


def gateway_points(found: Iterable[Change], bins: Bins, began: float) -> tuple[GatewayPoint, ...]:
    """By model and bin; none of a bin in which nothing was scraped. `began` is what times count from."""
    cells: dict[tuple[str, int], list[ModelCounters]] = defaultdict(list)
    for change in found:
        number = int((change.middle - bins.span.begins) // bins.width)
        if 0 <= number < bins.count:
            for model, counters in change.models.items():
                cells[model, number].append(counters)
    return tuple(_points(cells, bins, bins.span.begins - began))


def _points(
    cells: Mapping[tuple[str, int], list[ModelCounters]], bins: Bins, first: float
) -> Iterator[GatewayPoint]:
    for (model, number), counters in sorted(cells.items(), key=lambda cell: cell[0]):
        mean = Means.of(_sum(counters))
        yield GatewayPoint(
            model=model,
            at=first + (number + 0.5) * bins.width,
            mean_batch=mean.batch,
            queue_ms=mean.queue_ms,
            inference_ms=mean.inference_ms,
            queued_images=counters[-1].queued_images,
        )


def _went_on(before: Snapshot, after: Snapshot) -> bool:
    grown = _change(before, after)
    fell = (getattr(one, name) < 0 for one in grown.models.values() for name in _COUNTERS)
    return grown.span.seconds > 0 and grown.cpu_s >= 0 and not any(fell)


def _change(before: Snapshot, after: Snapshot) -> Change:
    nothing = ModelCounters()
    return Change(
        span=Span(begins=before.at, ends=after.at),
        models={name: _grown(before.models.get(name, nothing), now) for name, now in after.models.items()},
        cpu_s=after.gateway_cpu_s - before.gateway_cpu_s,
    )


def _grown(before: ModelCounters, after: ModelCounters) -> ModelCounters:
    counted = {name: getattr(after, name) - getattr(before, name) for name in _COUNTERS}
    return ModelCounters(**counted, queued_images=after.queued_images, inflight=after.inflight)


def _sum(many: Iterable[ModelCounters]) -> ModelCounters:
    """Of the counters; gauges are no sums and stay 0."""
    listed = list(many)
    return ModelCounters(**{name: sum(getattr(one, name) for one in listed) for name in _COUNTERS})


def _over(total: float, count: float) -> float | None:
    return total / count if count > 0 else None
