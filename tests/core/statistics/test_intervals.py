"""Intervals for means and rates."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from serve.core.statistics.intervals import (
    Interval,
    asymptotic_interval,
    asymptotic_log_e,
    averaged,
    normal_interval,
    p_value,
    rate_interval,
    wilson,
)

ALPHAS = st.floats(1e-6, 0.5)
COUNTS = st.tuples(st.integers(0, 10**9), st.integers(0, 10**9))


@pytest.mark.parametrize(
    ("planned_n", "low", "high"), [(5000, 0.0013943, 0.0386057), (20000, 0.02 - 0.0180589, 0.02 + 0.0180589)]
)
def test_the_asymptotic_interval_is_that_of_gbstats(planned_n: float, low: float, high: float) -> None:
    """Rates of .76 and .78 at 10 000 units an arm: gbstats 0.8.0, its two-sided sequential test."""
    variance = (0.76 * 0.24 + 0.78 * 0.22) / 10_000
    found = asymptotic_interval(estimate=0.02, variance=variance, n=20_000, alpha=0.05, planned_n=planned_n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-8)


def test_the_asymptotic_interval_is_equation_nine() -> None:
    """Term by term as it is printed, to 1e-12."""
    estimate, variance, n, alpha, planned_n = 0.013, 3e-5, 9000.0, 0.01, 12_000.0
    r2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / planned_n
    log_part = math.log(math.sqrt(n * r2 + 1) / alpha)
    half = math.sqrt(variance * n) * math.sqrt(2 * (n * r2 + 1) / (n**2 * r2) * log_part)
    found = asymptotic_interval(estimate=estimate, variance=variance, n=n, alpha=alpha, planned_n=planned_n)
    assert found.width / 2 == pytest.approx(half, rel=1e-12)


@given(
    estimate=st.floats(-1, 1),
    variance=st.floats(1e-300, 1e9),
    n=st.integers(1, 10**9),
    alpha=ALPHAS,
    planned_n=st.integers(1, 10**9),
)
def test_interval_and_e_value_agree(
    estimate: float, variance: float, n: int, alpha: float, planned_n: int
) -> None:
    """The e-value reaches 1 / alpha exactly when the interval leaves out 0, whatever the sizes."""
    found = asymptotic_interval(estimate=estimate, variance=variance, n=n, alpha=alpha, planned_n=planned_n)
    log_e = asymptotic_log_e(estimate=estimate, variance=variance, n=n, alpha=alpha, planned_n=planned_n)
    assert not math.isnan(found.width + log_e)
    if abs(log_e + math.log(alpha)) > 1e-9:
        assert (log_e > -math.log(alpha)) == (not found.contains(0))


@pytest.mark.parametrize(("variance", "n"), [(0.0, 100), (0.1, 0), (0.0, 0)])
def test_nothing_known_is_unbounded(variance: float, n: int) -> None:
    """Without units, or while they show no variance: never a false certainty."""
    known = {"estimate": 0.3, "variance": variance, "n": n, "alpha": 0.05, "planned_n": 1000}
    assert asymptotic_interval(**known) == Interval(estimate=0.3, low=-math.inf, high=math.inf)
    assert asymptotic_log_e(**known) == 0
    if variance == 0:
        assert normal_interval(estimate=0.3, variance=0, alpha=0.05).width == math.inf


@pytest.mark.parametrize(("alpha", "planned_n"), [(0.0, 10), (1.0, 10), (math.nan, 10), (0.05, 0)])
def test_settings_out_of_range_are_refused(alpha: float, planned_n: float) -> None:
    """The message names the one that is meant."""
    name = "planned_n" if planned_n == 0 else "alpha"
    with pytest.raises(ValueError, match=f"^{name} is"):
        asymptotic_interval(estimate=0, variance=1, n=10, alpha=alpha, planned_n=planned_n)


@pytest.mark.parametrize(("events", "n"), [(0, 10), (3, 100), (10, 10), (760, 1000), (1, 10**9)])
def test_wilson_is_that_of_statsmodels(events: int, n: int) -> None:
    """proportion_confint(method="wilson"), also at both ends."""
    found = wilson(events, n, 0.05)
    assert (found.low, found.high) == pytest.approx(
        proportion_confint(events, n, 0.05, method="wilson"), abs=1e-12
    )


@pytest.mark.parametrize(
    ("events", "n", "low", "high"),
    [
        (3, 100, 0.0015255186193510423, 0.12972014355230072),
        (37, 500, 0.03899385645805395, 0.12366843247595555),
        (250, 1000, 0.20337814402782817, 0.3008504039427725),
    ],
)
def test_the_rate_interval_is_that_of_ville(events: int, n: int, low: float, high: float) -> None:
    """The same mixture with the same prior in another implementation.

    ville 0.1.0: `cs = BernoulliCS(alpha=0.05, intersect=False).fit(np.repeat([1, 0], [events, n - events]))`,
    `cs.lower_[-1], cs.upper_[-1]`.
    """
    found = rate_interval(events, n, 0.05)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_the_rate_interval_covers_at_all_looks_together(rate: float) -> None:
    """By enumeration of all paths over 60 looks: some look misses the truth with at most alpha."""
    alpha, alive, missed = 0.2, {0: 1.0}, 0.0
    for n in range(1, 61):
        following: dict[int, float] = {}
        for events, weight in alive.items():
            for more, chance in ((0, 1 - rate), (1, rate)):
                following[events + more] = following.get(events + more, 0.0) + weight * chance
        lost = [events for events in following if not rate_interval(events, n, alpha).contains(rate)]
        missed += sum(following.pop(events) for events in lost)
        alive = following
    assert missed <= alpha
    assert missed + sum(alive.values()) == pytest.approx(1)


def test_intervals_without_observations_hold_every_rate() -> None:
    """From 0 to 1; the estimate is 0 by declaration."""
    assert wilson(0, 0, 0.05) == rate_interval(0, 0, 0.05) == Interval(estimate=0, low=0, high=1)


@given(counts=COUNTS, alpha=ALPHAS)
def test_rates_stay_in_range_and_mirror(counts: tuple[int, int], alpha: float) -> None:
    """0 <= low <= estimate <= high <= 1 for any counts; swapping events and others mirrors the interval."""
    events, others = counts
    for interval in (wilson, rate_interval):
        found, mirror = interval(events, events + others, alpha), interval(others, events + others, alpha)
        assert 0 <= found.low <= found.estimate <= found.high <= 1
        assert found.low == pytest.approx(1 - mirror.high, abs=1e-9)


@given(events=st.integers(0, 200), others=st.integers(0, 200), alpha=ALPHAS)
def test_peeking_costs_width(events: int, others: int, alpha: float) -> None:
    """The interval for all looks holds the exact one for a single look (Clopper and Pearson)."""
    found = rate_interval(events, events + others, alpha)
    if events:
        assert binom.sf(events - 1, events + others, found.low) <= alpha / 2 + 1e-9
    if others:
        assert binom.cdf(events, events + others, found.high) <= alpha / 2 + 1e-9


@pytest.mark.parametrize(("events", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_counts_that_are_no_part_are_refused(events: int, n: int) -> None:
    """Both rates say which counts."""
    for interval in (wilson, rate_interval):
        with pytest.raises(ValueError, match=f"^events is {events} of n {n}"):
            interval(events, n, 0.05)


def test_an_interval_says_what_it_holds() -> None:
    """Its ends belong to it; "within" a margin is strict."""
    interval = Interval(estimate=0.0, low=-0.01, high=0.02)
    assert interval.width == pytest.approx(0.03)
    assert interval.contains(0.02)
    assert not interval.contains(0.0201)
    assert interval.within(0.021)
    assert not interval.within(0.02)


@given(st.floats(-1e300, 1e300) | st.just(math.inf) | st.just(-math.inf))
def test_an_e_value_gives_a_p_value(log_e: float) -> None:
    """1 / e, at most 1, without overflow."""
    assert 0 <= p_value(log_e) <= 1
    assert p_value(math.log(20)) == pytest.approx(0.05)
    assert p_value(-3) == 1


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=9))
def test_averaged_e_values_lie_between_the_least_and_the_most(log_es: list[float]) -> None:
    """The mean of e-values, in logarithms; of equal ones it is one of them, of none it is no evidence."""
    assert min(log_es) - 1e-9 <= averaged(log_es) <= max(log_es) + 1e-9
    assert averaged(log_es) == pytest.approx(math.log(sum(map(math.exp, log_es)) / len(log_es)))
    assert averaged([log_es[0]] * 3) == pytest.approx(log_es[0])
    assert averaged([]) == 0
    assert averaged([0.0, math.inf]) == math.inf
