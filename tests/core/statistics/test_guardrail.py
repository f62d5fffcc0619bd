"""Rare events of an arm against those of the control."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom

from serve.core.statistics.guardrail import Events, rate_ratio_log_e, stratified

TRIP = math.log(100)


@st.composite
def arms(draw: st.DrawFn) -> tuple[Events, Events]:
    """Any two, up to a billion trials."""
    sizes = draw(st.integers(0, 10**9)), draw(st.integers(0, 10**9))
    control, arm = (Events(n=n, events=draw(st.integers(0, n))) for n in sizes)
    return control, arm


@pytest.mark.parametrize("ratio", [1.0, 1.5])
@pytest.mark.parametrize(
    ("control", "arm"), [((950, 9), (50, 3)), ((500, 2), (500, 9)), ((500, 9), (500, 0))]
)
def test_it_is_the_integral_that_it_claims(
    control: tuple[int, int], arm: tuple[int, int], ratio: float
) -> None:
    """Numerically: the likelihood ratio, averaged over all shares above the allowed one."""
    share = arm[0] / (arm[0] + control[0])
    t = share * ratio / (share * ratio + 1 - share)

    def likelihood(x: float) -> float:
        return (x / t) ** arm[1] * ((1 - x) / (1 - t)) ** control[1] / (1 - t)

    found = rate_ratio_log_e(
        Events(n=control[0], events=control[1]), Events(n=arm[0], events=arm[1]), max_ratio=ratio
    )
    assert math.exp(found) == pytest.approx(quad(likelihood, t, 1)[0], rel=1e-8)


@pytest.mark.parametrize("true_ratio", [1.5, 1.0, 0.3])
@pytest.mark.parametrize("events", [1, 5, 20])
def test_its_mean_is_at_most_one_under_the_null(events: int, true_ratio: float) -> None:
    """By enumeration of the events: exactly 1 at the allowed ratio, less below it."""
    share, allowed = 0.2, 1.5
    chance = share * true_ratio / (share * true_ratio + 1 - share)
    n = 10**6
    mean = sum(
        binom.pmf(k, events, chance)
        * math.exp(
            rate_ratio_log_e(Events(n=4 * n, events=events - k), Events(n=n, events=k), max_ratio=allowed)
        )
        for k in range(events + 1)
    )
    assert mean == pytest.approx(1, abs=1e-9) if true_ratio == allowed else mean < 1


@pytest.mark.parametrize(("rate", "ratio"), [(0.02, 1.0), (0.02, 2.0), (0.1, 1.5), (0.4, 1.5), (0.6, 1.0)])
def test_its_mean_is_at_most_one_with_the_realised_share(rate: float, ratio: float) -> None:
    """By enumeration of both arms' events, of 40 trials each: also where events are frequent."""
    n = 40
    control, arm = ([float(binom.pmf(k, n, chance)) for k in range(n + 1)] for chance in (rate, rate * ratio))
    mean = sum(
        control[b]
        * arm[k]
        * math.exp(rate_ratio_log_e(Events(n=n, events=b), Events(n=n, events=k), max_ratio=ratio))
        for b in range(n + 1)
        for k in range(n + 1)
    )
    assert 0 < mean <= 1


def test_a_control_without_errors_hides_nothing() -> None:
    """0 of 1000 against 500 of 1000 is overwhelming, and so are a few on a small canary."""
    assert rate_ratio_log_e(Events(n=1000, events=0), Events(n=1000, events=500), max_ratio=1.5) > 200
    assert rate_ratio_log_e(Events(n=1900, events=0), Events(n=100, events=5), max_ratio=1.0) > TRIP


def test_no_errors_no_trials_no_evidence() -> None:
    """Nothing happened, or one arm has not been tried: 0 or less, and never NaN."""
    idle, busy = Events(n=0, events=0), Events(n=100, events=7)
    assert rate_ratio_log_e(idle, busy, max_ratio=1.5) == 0
    assert rate_ratio_log_e(busy, idle, max_ratio=1.5) == 0
    assert rate_ratio_log_e(idle, idle, max_ratio=1.5) == 0
    quiet = Events(n=100, events=0)
    assert rate_ratio_log_e(quiet, quiet, max_ratio=1.5) == pytest.approx(0)


@given(arms(), st.floats(0.01, 100))
def test_it_is_finite_and_monotone(pair: tuple[Events, Events], ratio: float) -> None:
    """For any counts; one more event of the arm is more evidence, and a larger allowance less."""
    control, arm = pair
    found = rate_ratio_log_e(control, arm, max_ratio=ratio)
    slack = 1e-5 + 1e-6 * abs(found)
    assert math.isfinite(found)
    assert rate_ratio_log_e(control, arm, max_ratio=2 * ratio) <= found + slack or found <= slack
    if arm.events < arm.n:
        more = Events(n=arm.n, events=arm.events + 1)
        assert rate_ratio_log_e(control, more, max_ratio=ratio) >= found - slack


def test_a_far_better_arm_keeps_a_bounded_debt() -> None:
    """Good times cost at most the logarithm of the control's events: a later failure is still seen."""
    found = rate_ratio_log_e(Events(n=10**9, events=10**8), Events(n=10**9, events=0), max_ratio=1.5)
    assert -math.log(10**8 + 1) - 1e-9 <= found < 0


def test_phases_add_up() -> None:
    """Evidence of half the needed size in each of two phases is enough together."""
    assert stratified([TRIP / 2, TRIP / 2]) == pytest.approx(TRIP)
    assert stratified([]) == 0


def test_counts_and_ratios_out_of_range_are_refused() -> None:
    """With the value and the rule."""
    with pytest.raises(ValueError, match="events is 4 of n 3"):
        Events(n=3, events=4)
    with pytest.raises(ValueError, match=r"^max_ratio is 0\.0"):
        rate_ratio_log_e(Events(n=3, events=0), Events(n=3, events=0), max_ratio=0.0)
