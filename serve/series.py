"""Reads the series of a metric where they are kept, and tells what is new in them.

The library's public way, `collect`, makes an object with a dictionary for every bucket: of many models and
experiments that takes several times as long, and meanwhile no request is answered. Tests compare the two.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from prometheus_client import Counter, Gauge, Histogram

from serve.core.live import growth

V = TypeVar("V", Counter, Gauge)
M = TypeVar("M", Counter, Gauge, Histogram)

# Values of a series' labels, in the order of the metric.
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """What a histogram has seen.

    Attributes:
        counts: Observations in each bucket, not those below it; the last one's are above every bound. Empty
            where nothing is known to have happened.
        total: The sum of what was observed.
    """

    counts: tuple[float, ...] = ()
    total: float = 0.0

    @property
    def mean(self) -> float | None:
        """None where nothing was observed."""
        number = sum(self.counts)
        return self.total / number if number else None


def values_of(metric: V) -> Mapping[Labels, float]:
    """The value of every series."""
    return {labels: series._value.get() for labels, series in _series(metric).items()}  # noqa: SLF001  as above


def observed_by(metric: Histogram) -> Mapping[Labels, Observed]:
    """What every series has seen."""
    return {labels: _observed(series) for labels, series in _series(metric).items()}


def _series(metric: M) -> Mapping[Labels, M]:
    return cast("Mapping[Labels, M]", metric._metrics.copy())  # noqa: SLF001  as above


def _observed(series: Histogram) -> Observed:
    counts = tuple([bucket.get() for bucket in series._buckets])  # noqa: SLF001  as above
    return Observed(counts, series._sum.get())  # noqa: SLF001  as above


class Counted:
    """By how much the series of a counter grew between two looks, in groups by their first labels."""

    def __init__(self, metric: Counter, *, group: int, outcome: int) -> None:
        """Take a first look.

        Args:
            metric: The counter.
            group: How many labels make a group.
            outcome: The place of the label `outcome`.
        """
        self._metric = metric
        self._group = group
        self._outcome = outcome
        self._now = values_of(metric)
        self._new: list[tuple[Labels, float]] = []

    def look(self) -> None:
        """Note what is new since the last look; series that were not there yet began at 0."""
        before, self._now = self._now, values_of(self._metric)
        self._new = [
            (labels, growth((before.get(labels, 0.0),), (value,))[0])
            for labels, value in self._now.items()
            if value and value != before.get(labels)
        ]

    def grown(self, outcomes: Collection[str]) -> Mapping[Labels, float]:
        """What was new with one of those outcomes, of groups where something was."""
        found: defaultdict[Labels, float] = defaultdict(float)
        for labels, more in self._new:
            if labels[self._outcome] in outcomes:
                found[labels[: self._group]] += more
        return found


class Trail:
    """What the series of a histogram have seen in the last few looks, in groups by their first labels."""

    def __init__(self, metric: Histogram, *, group: int, looks: int) -> None:
        """Take a first look.

        Args:
            metric: The histogram.
            group: How many labels make a group.
            looks: How many are remembered.
        """
        self._metric = metric
        self._group = group
        self._now = observed_by(metric)
        self._last: deque[Mapping[Labels, Sequence[float]]] = deque(maxlen=looks)

    def look(self) -> None:
        """Note what is new since the last look; series that were not there yet began at 0."""
        before, self._now = self._now, observed_by(self._metric)
        new: dict[Labels, Sequence[float]] = {}
        for labels, seen in self._now.items():
            was = before.get(labels, Observed())
            if seen.total != was.total:
                more = growth((*was.counts, was.total) if was.counts else (), (*seen.counts, seen.total))
                _add(new, labels[: self._group], more)
        self._last.append(new)

    def groups(self) -> Collection[Labels]:
        """Those whose series are there."""
        return dict.fromkeys(labels[: self._group] for labels in self._now)

    def active(self) -> set[Labels]:
        """Those that have seen something in the last looks."""
        return {group for new in self._last for group in new}

    def seen(self, group: Labels) -> Observed:
        """What a group has seen in the last looks."""
        sums: dict[Labels, Sequence[float]] = {}
        for new in self._last:
            if group in new:
                _add(sums, group, new[group])
        *counts, total = sums.get(group, (0.0,))
        return Observed(tuple(counts), total)


def _add(sums: dict[Labels, Sequence[float]], group: Labels, more: Sequence[float]) -> None:
    sums[group] = (
        [one + other for one, other in zip(sums[group], more, strict=True)] if group in sums else more
    )
