"""Means over clustered observations, and their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.sandwich_covariance import cov_cluster

from serve.core.statistics.units import Estimate, UnitSums, difference, stratified

UNITS = st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1)), max_size=30)


def sums(units: Sequence[tuple[float, float]]) -> UnitSums:
    """Of units with n and x."""
    return UnitSums(
        units=len(units),
        n=sum(n for n, _ in units),
        x=sum(x for _, x in units),
        nn=sum(n * n for n, _ in units),
        nx=sum(n * x for n, x in units),
        xx=sum(x * x for _, x in units),
    )


def test_one_observation_a_unit_is_the_sample_mean() -> None:
    """Then the variance is that of numpy, with n - 1, divided by n."""
    values = [0.2, 0.9, 0.4, 0.4, 0.75]
    found = sums([(1, value) for value in values])
    assert found.mean == pytest.approx(np.mean(values))
    assert found.variance == pytest.approx(np.var(values, ddof=1) / 5, rel=1e-12)


def test_the_variance_is_the_cluster_robust_one_of_statsmodels() -> None:
    """A regression on a constant, with cov_cluster by unit."""
    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 30, 80)
    rates = rng.beta(3, 1, 80)
    answers = [rng.random(size) < rate for size, rate in zip(sizes, rates, strict=True)]
    fit = OLS(np.concatenate(answers).astype(float), np.ones(int(sizes.sum()))).fit()
    robust = float(cov_cluster(fit, np.repeat(np.arange(80), sizes)).item())
    found = sums([(int(size), int(answer.sum())) for size, answer in zip(sizes, answers, strict=True)])
    assert found.mean == pytest.approx(float(fit.params[0]), rel=1e-12)
    assert found.variance == pytest.approx(robust, rel=1e-9)


@given(UNITS, UNITS)
def test_merged_sums_are_one_sum(one: list[tuple[int, float]], other: list[tuple[int, float]]) -> None:
    """Whole counts add up exactly, whatever the order."""
    parts = [[(n, round(n * share)) for n, share in units] for units in (one, other)]
    assert sums(parts[0]).plus(sums(parts[1])) == sums(parts[0] + parts[1])


@given(UNITS, UNITS)
def test_a_difference_is_antisymmetric_and_finite(
    one: list[tuple[int, float]], other: list[tuple[int, float]]
) -> None:
    """Swapping the arms changes the sign and nothing else; no NaN and no negative variance for any units."""
    control, arm = (sums([(n, n * share) for n, share in units]) for units in (one, other))
    there, back = difference(control, arm), difference(arm, control)
    assert there.estimate == -back.estimate
    assert there.variance == back.variance >= 0
    assert math.isfinite(there.variance)
    assert there.n == len(one) + len(other)


@pytest.mark.parametrize("units", [[], [(3, 1)], [(3, 1)] * 500, [(7, 0)] * 9, [(4, 4)] * 9])
def test_units_that_show_no_variance_leave_it_unknown(units: list[tuple[int, int]]) -> None:
    """None, one, or all alike: 0 says unknown, also where rounding would leave a little."""
    assert sums(units).variance == 0
    varied = sums([(1, 0), (1, 1), (2, 1)])
    assert difference(varied, sums(units)).variance == 0


def test_phases_are_weighted_by_their_units() -> None:
    """By hand: shares of 1/4 and 3/4; standard errors add up, since the units may be the same."""
    parts = [Estimate(estimate=0.1, variance=0.04, n=100), Estimate(estimate=-0.1, variance=0.02, n=300)]
    found = stratified(parts)
    assert found.estimate == pytest.approx(-0.05)
    assert found.variance == pytest.approx((0.2 / 4 + 0.02**0.5 * 3 / 4) ** 2)
    assert found.n == 400


def test_phases_are_not_pooled() -> None:
    """Simpson's paradox: no difference in either phase, a large one where they are thrown together."""
    easy = [(1, 1), (1, 1), (1, 1), (1, 0)] * 100
    hard = [(1, 1), (1, 0), (1, 0), (1, 0)] * 100
    first = difference(sums(easy * 9), sums(easy))
    second = difference(sums(hard), sums(hard * 9))
    pooled = difference(sums(easy * 9 + hard), sums(easy + hard * 9))
    assert stratified([first, second]).estimate == pytest.approx(0, abs=1e-12)
    assert pooled.estimate == pytest.approx(-0.4)


def test_a_phase_without_variance_gives_no_false_certainty() -> None:
    """It is taken to vary as the other phases do, for each of its units; alone it stays unknown."""
    quiet = Estimate(estimate=0.0, variance=0.0, n=900)
    shown = Estimate(estimate=0.5, variance=0.01, n=100)
    both = stratified([quiet, shown])
    assert both.estimate == pytest.approx(0.05)
    assert both.variance == pytest.approx(0.01 * 0.1**2 * 4**2)
    assert stratified([quiet]) == quiet
    assert stratified([]) == stratified([Estimate(estimate=0.0, variance=0.0, n=0)])


@given(UNITS)
def test_one_phase_is_itself(units: list[tuple[int, float]]) -> None:
    """And an empty one beside it changes nothing."""
    one = difference(sums([(n, n * share) for n, share in units]), sums([(1, 0), (1, 1)]))
    again = stratified([one, Estimate(estimate=0.0, variance=0.0, n=0)])
    assert (again.estimate, again.variance) == pytest.approx((one.estimate, one.variance))
