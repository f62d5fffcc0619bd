"""A figure with its uncertainty, before it becomes a row."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scipy.special import ndtri

from serve.core.definitions import COUNT, Method, Metric
from serve.core.report.rows import Kind, Row
from serve.core.statistics.intervals import Interval, asymptotic_interval, asymptotic_log_e, p_value
from serve.core.statistics.units import Estimate

# Below these no asymptotic interval is given: it would be too narrow.
LEAST_UNITS = 100
LEAST_EVENTS = 20

UNKNOWN = Interval(estimate=0.0, low=-math.inf, high=math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What is known of one quantity.

    Attributes:
        interval: Holds at every look.
        fixed: Holds for a single look.
        alpha: Of both.
        log_e: Against "no difference"; None where there is no such test.
        n: Independent observations; 0 says that nothing was seen.
        n_of: What these are.
        method: How the interval was found.
        lacking: Why there is too little data for a verdict; "" where there is enough.
        note: What else one should know.
    """

    interval: Interval
    fixed: Interval = UNKNOWN
    alpha: float
    log_e: float | None = None
    n: int
    n_of: str
    method: Method
    lacking: str = ""
    note: str = ""

    @property
    def proven(self) -> bool:
        """Whether the e-value against "no difference" has reached 1 / alpha."""
        return self.log_e is not None and self.log_e >= -math.log(self.alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asymptotic:
    """How an asymptotic interval is made.

    Attributes:
        alpha: Of the interval.
        planned_n: For which it is narrowest.
        n_of: What the estimate's n counts.
        method: As it is told.
        lacking: Why it cannot be given yet; "" when it can.
        scale: By which estimates are divided.
    """

    alpha: float
    planned_n: float
    n_of: str
    method: Method
    lacking: str
    scale: float = 1.0


def asymptotic(estimate: Estimate, how: Asymptotic) -> Figure:
    """The figure of a mean or of a difference of means, from its estimate and variance."""
    value, variance = estimate.estimate / how.scale, estimate.variance / how.scale**2
    interval = Interval(estimate=value, low=-math.inf, high=math.inf)
    fixed, log_e = interval, None
    if not how.lacking:
        interval = asymptotic_interval(
            estimate=value, variance=variance, n=estimate.n, alpha=how.alpha, planned_n=how.planned_n
        )
        log_e = asymptotic_log_e(
            estimate=value, variance=variance, n=estimate.n, alpha=how.alpha, planned_n=how.planned_n
        )
        half = float(ndtri(1 - how.alpha / 2)) * math.sqrt(variance) if variance > 0 else math.inf
        fixed = Interval(estimate=value, low=value - half, high=value + half)
    return Figure(
        interval=interval,
        fixed=fixed,
        alpha=how.alpha,
        log_e=log_e,
        n=int(estimate.n),
        n_of=how.n_of,
        method=how.method,
        lacking=how.lacking,
    )


def lacking_units(units: int, what: str) -> str:
    """Why so many units (or pairs, or calls) are too few, "" if they are not."""
    return "" if units >= LEAST_UNITS else f"{units} of the {LEAST_UNITS} {what} that are needed"


def lacking_events(events: float, what: str) -> str:
    """Why so many events are too few, "" if they are not."""
    return (
        "" if events >= LEAST_EVENTS else f"{math.floor(events)} of the {LEAST_EVENTS} {what} that are needed"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a figure stands in the report; `against` is "" for a figure of one arm."""

    metric: Metric
    kind: Kind
    arm: str
    against: str = ""


def row(place: Place, figure: Figure) -> Row:
    """The figure as a row of the report."""
    metric, seen = place.metric, figure.n > 0
    return Row(
        metric=metric.name,
        title=metric.title,
        definition=metric.definition,
        unit="ratio" if place.kind is Kind.RATIO else metric.unit,
        better=metric.better,
        kind=place.kind,
        arm=place.arm,
        against=place.against,
        estimate=_finite(figure.interval.estimate) if seen else None,
        low=_finite(figure.interval.low) if seen else None,
        high=_finite(figure.interval.high) if seen else None,
        fixed_low=_finite(figure.fixed.low) if seen else None,
        fixed_high=_finite(figure.fixed.high) if seen else None,
        alpha=figure.alpha,
        log_e=None if figure.log_e is None else _finite(figure.log_e),
        p=None if figure.log_e is None else p_value(figure.log_e),
        n=figure.n,
        n_of=figure.n_of,
        method=figure.method.name,
        why=figure.method.why,
        anytime=figure.method.anytime,
        note="; ".join(filter(None, (figure.lacking, figure.note))),
    )


def plain_row(place: Place, value: float | None, *, n: int, n_of: str, alpha: float) -> Row:
    """A row that only counts; None where the count is not known."""
    known = Interval(estimate=math.nan if value is None else value, low=-math.inf, high=math.inf)
    figure = Figure(interval=known, alpha=alpha, n=n, n_of=n_of, method=COUNT)
    return replace(row(place, figure), estimate=value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
