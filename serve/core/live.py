"""What a live view shows, computed from counters: what they grew by, and quantiles of histograms. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Of a duration, in milliseconds; None where nothing was measured."""

    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPoint:
    """A model at one moment, all its versions together.

    Attributes:
        requests_s: Requests a second, however they ended, since the point before.
        images_s: Images a second that were answered, since the point before.
        errors_s: Requests a second that failed by no fault of their callers, since the point before.
        latency: From a request's arrival at the gateway to its answer, in the last seconds.
        batch_images: Images in a batch, on average in the last seconds; None where there was no batch.
        queue_images: Images that wait in the gateway now.
        inflight: Requests that wait for their answer now.
    """

    requests_s: float
    images_s: float
    errors_s: float
    latency: Quantiles
    batch_images: float | None
    queue_images: int
    inflight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPoint:
    """An arm of an experiment at one moment; rates as those of a model, mirrored calls included.

    Attributes:
        latency: From the call of the arm to its answer, in the last seconds.
    """

    requests_s: float
    errors_s: float
    latency: Quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One moment.

    Attributes:
        number: Grows with time, also over a restart and from one process to another; not without holes.
        at: Unix time, in seconds.
        models: By name.
        arms: By experiment and arm.
    """

    number: int
    at: float
    models: Mapping[str, ModelPoint]
    arms: Mapping[str, Mapping[str, ArmPoint]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """How an engine stands now.

    Attributes:
        ejected: It takes no batches: it does not answer, or holds no model.
        restarts: Unexpected ends since the gateway started.
        retries: Batches that were sent again after it failed them, since the gateway started.
        models: Name -> state of the circuit breaker: "closed", "open" or "half_open".
    """

    name: str
    ejected: bool
    restarts: int
    retries: int
    models: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which of the gateway processes behind one port this is.

    Attributes:
        index: 1 is the one that started the others.
        of: How many there are.

    Raises:
        ValueError: The index is not one of them.
    """

    index: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of:
            raise ValueError(f"index is {self.index}, must be 1 to {self.of}")


def growth(before: Sequence[float], now: Sequence[float]) -> tuple[float, ...]:
    """What counters that belong together grew by between two looks; all at least 0.

    Args:
        before: None of them for counters that did not exist yet.
        now: As many.

    One that is smaller than before has begun anew at 0, and the others with it: what they show now has
    happened since.
    """
    if not before or any(new < old for old, new in zip(before, now, strict=True)):
        return tuple(now)
    return tuple(new - old for old, new in zip(before, now, strict=True))


def quantile(share: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """A quantile of what a histogram counted, as Prometheus' `histogram_quantile` estimates it.

    Linear between the bounds of the bucket that holds it, the lowest of which begins at 0; what lies above
    the last bound is taken to lie at it. Source: Prometheus, Query functions, histogram_quantile().

    Args:
        share: Which one: 0.5 is the median; above 0 and at most 1.
        bounds: Upper bounds of the buckets but the last, ascending and above 0.
        counts: Observations in each bucket, of which there is one more: above the last bound.

    Returns:
        In the unit of the bounds; None when nothing was counted.

    Raises:
        ValueError: An argument breaks these rules.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, must be above 0 and at most 1")
    if len(counts) != len(bounds) + 1:
        raise ValueError(f"counts has {len(counts)} values, must have {len(bounds) + 1}")
    rank, below, start = share * sum(counts), 0.0, 0.0
    if not rank:
        return None
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= rank:
            return start + (bound - start) * (rank - below) / count
        below, start = below + count, bound
    return start


def quantiles(bounds: Sequence[float], counts: Sequence[float]) -> Quantiles:
    """The quantiles that are shown, of durations counted in buckets with bounds in seconds.

    Without counts nothing is known.
    """
    if not counts:
        return Quantiles()
    p50, p95, p99 = (quantile(share, bounds, counts) for share in (0.5, 0.95, 0.99))
    return Quantiles(p50_ms=_ms(p50), p95_ms=_ms(p95), p99_ms=_ms(p99))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds
