"""Latencies: quantiles of each arm, their ratio between two, slow calls, and the curves to draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from serve.core.definitions import CALL_RATE, QUANTILE, QUANTILES
from serve.core.report.figures import UNKNOWN, Figure, lacking_units
from serve.core.report.rows import CurvePoint, LatencyCurve
from serve.core.report.study import Study, slow_sum
from serve.core.statistics import quantile
from serve.core.statistics.intervals import Interval, averaged, rate_interval, wilson

_US_IN_MS = 1000
_MOST_POINTS = 100
# Buckets; a ratio of 20 000 is as good as none.
_MOST_SHIFT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """The histograms of the control and of an arm over the same time."""

    control: quantile.Histogram
    arm: quantile.Histogram


def latency_level(study: Study, arm: int, metric: str) -> Figure:
    """A quantile of one arm's latency, in milliseconds."""
    sums, q = study.arms[arm], QUANTILES[metric]
    histogram, thinned = sums.histogram, sums.thinned
    estimate = quantile.quantile(histogram, q)
    found = replace(quantile.quantile_interval(thinned, q, study.alpha), estimate=estimate)
    return Figure(
        interval=_times(found, 1 / _US_IN_MS),
        fixed=_times(_order_interval(thinned, q, study.alpha), 1 / _US_IN_MS),
        alpha=study.alpha,
        n=int(histogram.sum()),
        n_of="calls",
        method=QUANTILE,
    )


def latency_change(study: Study, arm: int, metric: str) -> Figure:
    """The ratio of the arm's quantile to the control's, minus 1.

    In split mode the phases are taken apart: with the weights the hours, and so the load, may have changed;
    and the calls of a unit, all of one arm, count together as little as if they were all alike. In the other
    modes both arms saw the same requests of the same units.
    """
    q, alpha = QUANTILES[metric], study.alpha
    whole = Both(control=study.arms[0].histogram, arm=study.arms[arm].histogram)
    parts = [Both(control=one.arms[0].thinned, arm=one.arms[arm].thinned) for one in study.strata]
    strata = [whole] if study.paired else [both for both in parts if both.control.any() and both.arm.any()]
    calls = min(int(whole.control.sum()), int(whole.arm.sum()))
    return Figure(
        interval=_minus_one(_ratio(strata, q, alpha)),
        fixed=_minus_one(_fixed_ratio(strata, q, alpha)),
        alpha=alpha,
        log_e=averaged([quantile.quantile_log_e(both.control, both.arm, q) for both in strata]),
        n=int(whole.control.sum() + whole.arm.sum()) if calls else 0,
        n_of="calls",
        method=QUANTILE,
        lacking=lacking_units(calls, "answered calls in each arm"),
    )


def slow_level(study: Study, arm: int, threshold_ms: float) -> Figure:
    """The share of the arm's calls that took longer than the threshold."""
    sums = study.arms[arm]
    slow, calls = sums.count(slow_sum(threshold_ms)), sums.count("calls")
    counted = math.floor(slow * sums.independent), math.floor(calls * sums.independent)
    estimate = slow / calls if calls else 0.0
    return Figure(
        interval=replace(rate_interval(*counted, study.alpha), estimate=estimate),
        fixed=replace(wilson(*counted, study.alpha), estimate=estimate),
        alpha=study.alpha,
        n=calls,
        n_of="calls",
        method=CALL_RATE,
        note=f"threshold {threshold_ms:g} ms",
    )


def curve(study: Study, arm: int) -> LatencyCurve:
    """The distribution function at up to 100 durations, ascending."""
    sums = study.arms[arm]
    histogram = sums.histogram
    band = quantile.cdf_band(histogram, study.alpha, sums.independent)
    seen = np.flatnonzero(histogram)
    if len(seen) > _MOST_POINTS:
        seen = seen[np.linspace(0, len(seen) - 1, _MOST_POINTS).astype(int)]
    return LatencyCurve(
        arm=study.names[arm],
        calls=int(histogram.sum()),
        points=tuple(
            CurvePoint(
                ms=quantile.edge_us(int(bucket) + 1) / _US_IN_MS,
                share=float(band.share[bucket]),
                low=float(band.low[bucket]),
                high=float(band.high[bucket]),
            )
            for bucket in seen
        ),
    )


def _ratio(strata: Sequence[Both], q: float, alpha: float) -> Interval:
    """A confidence sequence for a ratio of quantiles that is the same in all strata."""
    if not strata:
        return UNKNOWN
    if len(strata) == 1:
        return quantile.quantile_ratio_interval(strata[0].control, strata[0].arm, q, alpha)
    ratios = [quantile.quantile(both.arm, q) / quantile.quantile(both.control, q) for both in strata]
    calls = [int(both.control.sum() + both.arm.sum()) for both in strata]
    middle = math.fsum(n * math.log(ratio) for n, ratio in zip(calls, ratios, strict=True)) / sum(calls)
    shifts = [math.log(ratio) / math.log(quantile.edge_us(1)) for ratio in ratios]

    def possible(shift: int) -> bool:
        evidence = [quantile.quantile_log_e(_shifted(both.control, shift), both.arm, q) for both in strata]
        return averaged(evidence) < -math.log(alpha)

    # Beyond the largest and the smallest ratio of a stratum, the evidence of every stratum grows.
    highest = _last(possible, math.ceil(max(shifts)), 1)
    lowest = _last(possible, math.floor(min(shifts)), -1)
    return Interval(
        estimate=math.exp(middle), low=quantile.edge_us(lowest - 1), high=quantile.edge_us(highest + 1)
    )


def _last(possible: Callable[[int], bool], start: int, direction: int) -> float:
    """The furthest shift from `start` that is possible, by bisection; `start` where not even that is."""
    inside, outside = 0, _MOST_SHIFT
    if possible(start + direction * outside):
        return direction * math.inf
    while outside - inside > 1:
        middle = (inside + outside) // 2
        inside, outside = (middle, outside) if possible(start + direction * middle) else (inside, middle)
    return start + direction * inside


def _shifted(histogram: quantile.Histogram, buckets: int) -> quantile.Histogram:
    """The histogram of durations 1.01^buckets times as long."""
    moved = np.zeros_like(histogram)
    seen = np.flatnonzero(histogram)
    np.add.at(moved, np.clip(seen + buckets, 0, quantile.BUCKETS - 1), histogram[seen])
    return moved


def _order_interval(histogram: quantile.Histogram, q: float, alpha: float) -> Interval:
    """For a single look: order statistics around the quantile, by the normal approximation."""
    n = int(histogram.sum())
    if not n:
        return UNKNOWN
    below = np.cumsum(histogram)
    reach = float(ndtri(1 - alpha / 2)) * math.sqrt(n * q * (1 - q))
    first, last = math.floor(n * q - reach), math.ceil(n * q + reach) + 1
    return Interval(
        estimate=quantile.quantile(histogram, q),
        low=quantile.edge_us(int(np.searchsorted(below, first))) if first > 0 else 0.0,
        high=quantile.edge_us(int(np.searchsorted(below, last)) + 1) if last <= n else math.inf,
    )


def _fixed_ratio(strata: Sequence[Both], q: float, alpha: float) -> Interval:
    """For a single look: the quotients of the two arms' intervals at half of alpha each."""
    if not strata:
        return UNKNOWN
    control = _order_interval(_sum([both.control for both in strata]), q, alpha / 2)
    arm = _order_interval(_sum([both.arm for both in strata]), q, alpha / 2)
    return Interval(
        estimate=arm.estimate / control.estimate if control.estimate else 1.0,
        low=arm.low / control.high,
        high=arm.high / control.low if control.low else math.inf,
    )


def _sum(histograms: Sequence[quantile.Histogram]) -> quantile.Histogram:
    return np.asarray(np.sum(np.stack(list(histograms)), axis=0), dtype=np.int64)


def _times(interval: Interval, factor: float) -> Interval:
    return Interval(
        estimate=interval.estimate * factor, low=interval.low * factor, high=interval.high * factor
    )


def _minus_one(ratio: Interval) -> Interval:
    return Interval(estimate=ratio.estimate - 1, low=ratio.low - 1, high=ratio.high - 1)
