"""Quantiles from histograms, and their ratio between two arms."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import betaln

from serve.core.statistics.quantile import (
    BUCKETS,
    Histogram,
    bucket_of,
    cdf_band,
    edge_us,
    from_counts,
    quantile,
    quantile_interval,
    quantile_log_e,
    quantile_ratio_interval,
    thinned,
)

QS = st.sampled_from([0.5, 0.9, 0.99])
HISTOGRAMS = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(0, 10**9), max_size=12).map(from_counts)


def spread(first: int, n: int = 500) -> Histogram:
    """One call in every second bucket."""
    return from_counts({first + 2 * i: 1 for i in range(n)})


def durations(seed: int, n: int, factor: float = 1.0) -> NDArray[np.float64]:
    """Lognormal, in microseconds, with a median of 20 ms."""
    return factor * np.random.default_rng(seed).lognormal(math.log(20_000), 0.4, n)


def histogram(of: NDArray[np.float64]) -> Histogram:
    """Of durations."""
    return np.bincount([bucket_of(value) for value in of.tolist()], minlength=BUCKETS)


def test_buckets_cover_what_can_happen() -> None:
    """From a microsecond to eleven minutes; beyond, the first and the last take all."""
    assert bucket_of(0) == bucket_of(1) == 0
    assert edge_us(BUCKETS) > 11 * 60e6
    assert bucket_of(1e12) == BUCKETS - 1


@given(st.floats(1, 6e8))
def test_a_bucket_is_one_percent_wide(microseconds: float) -> None:
    """Its ends enclose the duration, but for rounding."""
    bucket = bucket_of(microseconds)
    assert edge_us(bucket) * (1 - 1e-9) <= microseconds <= edge_us(bucket + 1) * (1 + 1e-9)
    assert edge_us(bucket + 1) / edge_us(bucket) == pytest.approx(1.01)


@pytest.mark.parametrize("q", [0.01, 0.5, 0.9, 0.99])
def test_a_quantile_is_right_to_one_percent(q: float) -> None:
    """That of the histogram against numpy's of the durations themselves."""
    values = durations(1, 20_000)
    assert quantile(histogram(values), q) == pytest.approx(np.quantile(values, q), rel=0.01)


@pytest.mark.parametrize(
    ("q", "shift", "log_e"), [(0.5, 81, 0.953234400164), (0.9, 41, 0.155622395972), (0.9, 81, 5.46628041367)]
)
def test_the_e_value_is_that_of_confseq(q: float, shift: int, log_e: float) -> None:
    """By the authors' own package, where no two calls share a bucket.

    confseq 0.0.11, uniform_boundaries.h compiled alone: `a[i] = pow(1.01, 2 * i + 0.5)` and `b[i] = pow(1.01,
    2 * i + shift + 0.5)` for i < 500, `-log(QuantileABTest(q, 1000, 0.05, a, b).p_value())`.
    """
    assert quantile_log_e(spread(0), spread(shift), q) == pytest.approx(log_e, rel=3e-4)


@given(
    st.lists(st.integers(0, 9), max_size=40),
    st.lists(st.integers(0, 9), max_size=40),
    QS,
)
def test_the_e_value_is_the_least_over_all_values(control: list[int], arm: list[int], q: float) -> None:
    """By brute force: every bucket, every number of calls up to a point inside it."""

    def least(calls: list[int], bucket: int) -> float:
        t = len(calls)
        up_to = range(sum(call < bucket for call in calls), sum(call <= bucket for call in calls) + 1)
        return min(
            float(betaln(125 * q + k, 125 * (1 - q) + t - k) - betaln(125 * q, 125 * (1 - q)))
            - k * math.log(q)
            - (t - k) * math.log(1 - q)
            for k in up_to
        )

    expected = min(least(control, bucket) + least(arm, bucket) for bucket in range(11))
    counted = [np.bincount(np.array(calls, dtype=int), minlength=BUCKETS) for calls in (control, arm)]
    assert quantile_log_e(counted[0], counted[1], q) == pytest.approx(expected, abs=1e-9)


@given(HISTOGRAMS, HISTOGRAMS, QS)
def test_any_histograms_give_an_interval(control: Histogram, arm: Histogram, q: float) -> None:
    """No NaN for none, one or a billion calls; swapping the arms inverts the ratio."""
    there, back = (quantile_ratio_interval(*pair, q, 0.05) for pair in ((control, arm), (arm, control)))
    assert 0 <= there.low <= there.estimate * 1.0101 <= there.high * 1.0101**2
    assert there.estimate == pytest.approx(1 / back.estimate)
    assert there.low == pytest.approx(1 / back.high if back.high < math.inf else 0)
    one = quantile_interval(arm, q, 0.05)
    assert 0 <= one.low <= one.estimate <= one.high


@given(HISTOGRAMS, HISTOGRAMS, QS)
def test_interval_and_e_value_agree(control: Histogram, arm: Histogram, q: float) -> None:
    """While the e-value has not reached 1 / alpha, equal quantiles are inside."""
    if quantile_log_e(control, arm, q) < math.log(20):
        assert quantile_ratio_interval(control, arm, q, 0.05).contains(1)


@given(HISTOGRAMS, HISTOGRAMS, QS)
def test_the_interval_is_that_of_all_shifts(control: Histogram, arm: Histogram, q: float) -> None:
    """By brute force on a part of the shifts: one that the e-value keeps lies inside."""
    found = quantile_ratio_interval(control, arm, q, 0.05)
    for shift in (-500, -50, -5, 5, 50, 500):
        moved = np.zeros(2 * BUCKETS, dtype=np.int64)
        moved[BUCKETS // 2 : BUCKETS // 2 + BUCKETS] = arm
        shifted = moved[BUCKETS // 2 + shift :][:BUCKETS]
        if shifted.sum() == arm.sum() and quantile_log_e(control, shifted, q) < math.log(20):
            assert found.low <= edge_us(shift) <= found.high


def test_few_calls_leave_a_high_quantile_open() -> None:
    """Of 100 calls none can bound the p99 from above; the median has both ends."""
    few = histogram(durations(2, 100))
    assert quantile_interval(few, 0.99, 0.05).high == math.inf
    assert quantile_interval(few, 0.5, 0.05).high < math.inf
    nothing = np.zeros(BUCKETS, dtype=np.int64)
    assert quantile_ratio_interval(few, nothing, 0.5, 0.05).low == 0
    assert quantile_ratio_interval(few, nothing, 0.5, 0.05).estimate == 1
    assert quantile(nothing, 0.5) == 0


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.3])
def test_the_ratio_is_found(factor: float) -> None:
    """5000 calls of each arm: the interval of the median holds it, to within a few percent."""
    control, arm = histogram(durations(3, 5000)), histogram(durations(4, 5000, factor))
    found = quantile_ratio_interval(control, arm, 0.5, 0.05)
    assert found.contains(factor)
    assert found.width < 0.12 * factor


def test_merged_histograms_are_one() -> None:
    """They add up."""
    values = durations(5, 1000)
    assert (histogram(values[:300]) + histogram(values[300:]) == histogram(values)).all()


def test_a_full_histogram_is_fast() -> None:
    """The interval in under 50 ms with every bucket filled."""
    rng = np.random.default_rng(6)
    control, arm = (rng.integers(1, 10**6, BUCKETS) for _ in range(2))
    took = []
    for _ in range(5):
        start = time.perf_counter()
        quantile_ratio_interval(control, arm, 0.99, 0.05)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.05


@pytest.mark.parametrize(("t", "half"), [(1000, 0.0858060719740604), (10**6, 0.00279576280408268)])
def test_the_band_is_that_of_confseq(t: int, half: float) -> None:
    """The paper's rounded constants are at most 2 % wider than `empirical_process_lil_bound(t, 0.05, 1)`."""
    band = cdf_band(from_counts({100: t // 2, 200: t - t // 2}), 0.05)
    assert half <= band.high[150] - band.share[150] <= 1.02 * half
    assert half <= band.share[150] - band.low[150] <= 1.02 * half


@given(HISTOGRAMS)
def test_the_band_stays_between_0_and_1(of: Histogram) -> None:
    """And rises, for any number of calls."""
    band = cdf_band(of, 0.05)
    for line in (band.low, band.share, band.high):
        assert ((line >= 0) & (line <= 1)).all()
        assert (np.diff(line) >= 0).all()


def test_what_is_out_of_range_is_refused() -> None:
    """Quantiles, buckets and error rates, each by name."""
    nothing = np.zeros(BUCKETS, dtype=np.int64)
    with pytest.raises(ValueError, match="q is 1"):
        quantile(nothing, 1)
    with pytest.raises(ValueError, match="q is 0"):
        quantile_log_e(nothing, nothing, 0)
    with pytest.raises(ValueError, match="alpha is 0"):
        quantile_interval(nothing, 0.5, 0)
    with pytest.raises(ValueError, match=f"bucket {BUCKETS}"):
        from_counts({BUCKETS: 1})
    with pytest.raises(ValueError, match="count -1"):
        from_counts({1: -1})


@given(HISTOGRAMS, st.floats(0.01, 1))
def test_a_thinned_histogram_has_that_share_of_the_calls(of: Histogram, share: float) -> None:
    """In every part of it, to one call; all of them it leaves alone."""
    few = thinned(of, share)
    assert (few >= 0).all()
    assert (np.abs(np.cumsum(few) - share * np.cumsum(of)) <= 1).all()
    assert (thinned(of, 1) == of).all()
    with pytest.raises(ValueError, match="share is 0"):
        thinned(of, 0)
