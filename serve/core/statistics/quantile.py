"""Quantiles of durations, and their ratio between two arms, from histograms with buckets of 1 %.

A histogram is an int64 array of BUCKETS counts. Bucket b holds durations from 1.01^b to 1.01^(b + 1)
microseconds; the first also what is shorter, the last also what is longer (than 11 minutes). Histograms of
two sets of calls add up.

The e-process is Howard and Ramdas 2022 (Bernoulli 28(3), arXiv 1906.09712): if x is the q-quantile, each
call is at most x with the probability q, which a Beta mixture of likelihood ratios tests. What a bucket hides
counts for the null hypothesis, so that the results hold for the durations themselves, whatever their
distribution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from serve.core.statistics.intervals import Interval, check_alpha

BUCKETS = 2048
_LOG_STEP = math.log(1.01)
# Of the Beta mixture: narrowest at about 1000 calls (8 times as many, by the rule of `asymptotic_interval`).
_CONCENTRATION = 125.0

Histogram = NDArray[np.int64]
Evidence = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A distribution function with a band that covers all of it, at all looks together.

    Attributes:
        share: Float array of BUCKETS: the share of the calls up to the end of each bucket.
        low: Lower end of the band, at least 0.
        high: Upper end, at most 1.
    """

    share: Evidence
    low: Evidence
    high: Evidence


def bucket_of(microseconds: float) -> int:
    """The bucket of a duration."""
    if microseconds <= 1:
        return 0
    return min(BUCKETS - 1, math.floor(math.log(microseconds) / _LOG_STEP))


def edge_us(bucket: float) -> float:
    """The lower end of a bucket, in microseconds: 1.01^bucket."""
    return math.exp(bucket * _LOG_STEP)


def from_counts(counts: Mapping[int, int]) -> Histogram:
    """The histogram of counts by bucket.

    Raises:
        ValueError: A bucket or a count is out of range.
    """
    histogram = np.zeros(BUCKETS, dtype=np.int64)
    for bucket, count in counts.items():
        if not 0 <= bucket < BUCKETS or count < 0:
            raise ValueError(f"bucket {bucket} has the count {count}; must be 0 to {BUCKETS - 1}, at least 0")
        histogram[bucket] = count
    return histogram


def thinned(histogram: Histogram, share: float) -> Histogram:
    """The same distribution with fewer calls: as much evidence as so many independent ones.

    Args:
        histogram: Of calls.
        share: Of them that is left, above 0 and at most 1.

    Raises:
        ValueError: `share` is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, must be above 0 and at most 1")
    below = np.floor(np.cumsum(histogram) * share).astype(np.int64)
    return np.asarray(np.diff(below, prepend=0), dtype=np.int64)


def quantile(histogram: Histogram, q: float) -> float:
    """The q-quantile in microseconds, within a bucket by geometric interpolation; 0 without calls.

    Raises:
        ValueError: `q` is not between 0 and 1.
    """
    _check(q)
    below = np.cumsum(histogram)
    wanted = q * int(below[-1])
    if not wanted:
        return 0.0
    bucket = int(np.searchsorted(below, wanted))
    inside = int(histogram[bucket])
    return edge_us(bucket) * math.exp(_LOG_STEP * (1 - (int(below[bucket]) - wanted) / inside))


def quantile_log_e(control: Histogram, arm: Histogram, q: float) -> float:
    """Log e-value against "both arms have the same q-quantile", valid at every look.

    The least evidence against any common value, min over x of E_control(x) E_arm(x).

    Raises:
        ValueError: `q` is not between 0 and 1.
    """
    return float((_log_e(control, q) + _log_e(arm, q)).min())


def quantile_interval(histogram: Histogram, q: float, alpha: float) -> Interval:
    """A confidence sequence for the q-quantile, in microseconds; it reaches to 0 or inf where calls are few.

    Raises:
        ValueError: `q` or `alpha` is not between 0 and 1.
    """
    check_alpha(alpha)
    kept = np.flatnonzero(_log_e(histogram, q) < -math.log(alpha))
    first, last = int(kept[0]), int(kept[-1])
    return Interval(
        estimate=quantile(histogram, q),
        low=edge_us(first) if first > 0 else 0.0,
        high=edge_us(last + 1) if last < BUCKETS - 1 else math.inf,
    )


def quantile_ratio_interval(control: Histogram, arm: Histogram, q: float, alpha: float) -> Interval:
    """A confidence sequence for the arm's q-quantile divided by the control's.

    The ratios that the e-process does not reject, rounded outwards to powers of 1.01. It reaches to 0 or inf
    where calls are few, and the estimate is 1 while one of the arms has none.

    Raises:
        ValueError: `q` or `alpha` is not between 0 and 1.
    """
    check_alpha(alpha)
    ours, theirs = _log_e(arm, q), _log_e(control, q)
    threshold = -math.log(alpha)
    base = quantile(control, q)
    estimate = quantile(arm, q) / base if base and arm.any() else 1.0
    highest, lowest = _furthest(ours, theirs, threshold), -_furthest(theirs, ours, threshold)
    return Interval(
        estimate=estimate,
        low=edge_us(lowest - 1),
        high=edge_us(highest + 1),
    )


def cdf_band(histogram: Histogram, alpha: float, independent: float = 1.0) -> Band:
    """The empirical distribution function with a band around all of it that stays valid at every look.

    Howard and Ramdas 2022, theorem 2 with its constants for t >= 1: 0.85 sqrt((ln ln(e t) + 0.8 ln(1612 /
    alpha)) / t), the time-uniform form of the Dvoretzky-Kiefer-Wolfowitz inequality.

    Args:
        histogram: Of calls.
        alpha: Between 0 and 1.
        independent: The share of the calls that counts as independent.

    Raises:
        ValueError: `alpha` is not between 0 and 1.
    """
    check_alpha(alpha)
    below = np.cumsum(histogram)
    n = max(1, int(below[-1]))
    t = max(1.0, n * independent)
    half = 0.85 * math.sqrt((math.log1p(math.log(t)) + 0.8 * math.log(1612 / alpha)) / t)
    share = below / n
    return Band(share=share, low=np.maximum(share - half, 0), high=np.minimum(share + half, 1))


def _log_e(histogram: Histogram, q: float) -> Evidence:
    """Of each bucket: the least log e-value against "the q-quantile lies here" that its calls allow.

    With t calls, k of them up to x, log E(x) = ln B(c q + k, c (1 - q) + t - k) - ln B(c q, c (1 - q)) -
    k ln q - (t - k) ln(1 - q). It is convex in k, and of whole numbers k = ceil(q (t - 1)) makes it least; an
    x inside the bucket leaves k anywhere between the counts below and up to it.
    """
    _check(q)
    up_to = np.cumsum(histogram)
    t = int(up_to[-1])
    k = np.clip(math.ceil(q * (t - 1)), up_to - histogram, up_to).astype(np.float64)
    a, b = _CONCENTRATION * q, _CONCENTRATION * (1 - q)
    mixed = betaln(a + k, b + t - k) - betaln(a, b)
    return np.asarray(mixed - k * math.log(q) - (t - k) * math.log1p(-q), dtype=np.float64)


def _furthest(ours: Evidence, theirs: Evidence, threshold: float) -> float:
    """The most buckets by which our quantile may lie above theirs; inf where nothing bounds it.

    A pair of buckets is possible while its evidence adds up to less than the threshold. Along the buckets the
    evidence falls to its least and then rises, so that the last one possible is found by bisection.
    """
    unbounded = ours[-1] + theirs.min() < threshold or ours.min() + theirs[0] < threshold
    if unbounded:
        return math.inf
    least = int(ours.argmin())
    last = least - 1 + np.searchsorted(ours[least:], threshold - theirs)
    reachable = np.flatnonzero(last >= least)
    return int((last[reachable] - reachable).max())


def _check(q: float) -> None:
    if not 0 < q < 1:
        raise ValueError(f"q is {q}, must be between 0 and 1")
