"""Percentiles, throughput and failures with their intervals: right values, and as uncertain as they say."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from loadtests.exchanges import Floats
from loadtests.report.document import Figure
from loadtests.report.figures import (
    clopper_pearson,
    durations,
    failures,
    percentile_figures,
    throughput,
)
from loadtests.report.percentiles import fewest, percentiles
from loadtests.report.windows import RESAMPLES, Bootstrap, Span, Windows
from tests.loadtests.made_run import BEGAN, arrivals, exchanges, queue_ms

SHARES = (0.5, 0.9, 0.95, 0.99, 0.999)


@cache
def bootstrap(seconds: float) -> Bootstrap:
    """Of a run with one phase."""
    return Bootstrap.of(Windows.of([Span(begins=BEGAN, ends=BEGAN + seconds)]))


def figure(waited: Floats, due: Floats, drawn: Bootstrap, name: str) -> Figure:
    """One percentile."""
    return next(one for one in percentile_figures(waited, due, drawn) if one.name == name)


def ends(found: Figure) -> tuple[float, float]:
    """Of an interval that is there."""
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def width(found: Figure) -> float:
    """Of an interval, as a logarithm."""
    low, high = ends(found)
    return math.log(high / low)


@given(st.lists(st.floats(0.001, 1e5), min_size=1, max_size=400), st.sampled_from(SHARES))
def test_a_percentile_is_the_order_statistic_of_numpy(values: list[float], q: float) -> None:
    """It is numpy's inverse of the empirical distribution function, a value that was measured."""
    waited = np.array(values)
    assert percentiles(waited, [q]) == [np.quantile(waited, q, method="inverted_cdf")]


def test_a_percentile_needs_ten_requests_beyond_it() -> None:
    """999 requests have no p99, and 1000 have."""
    assert [fewest(q) for q in SHARES] == [20, 100, 200, 1000, 10_000]
    due, drawn = np.linspace(BEGAN, BEGAN + 19, 1000), bootstrap(20)
    waited = np.arange(1.0, 1001.0)
    assert figure(waited[1:], due[1:], drawn, "p99").value is None
    assert figure(waited, due, drawn, "p99").value == 990


def test_a_failed_request_is_slower_than_every_answer() -> None:
    """Requests that fail at once lift the percentiles of the rest; beyond what was answered there is none."""
    due, drawn = np.linspace(BEGAN, BEGAN + 19, 2000), bootstrap(20)
    waited = np.arange(1.0, 2001.0)
    some = figure(durations(waited, waited <= 10), due, drawn, "p99")
    many = figure(durations(waited, waited <= 30), due, drawn, "p99")
    assert (some.value, many.value) == (1990, None)
    assert figure(durations(waited, waited <= 30), due, drawn, "p95").value == 1930


def test_an_interval_whose_end_lies_among_the_failures_is_none() -> None:
    """Failures as frequent as a percentile's tail leave its upper end open, and no number is invented."""
    due, drawn = np.linspace(BEGAN, BEGAN + 30, 6000, endpoint=False), bootstrap(30)
    failed = np.random.default_rng(4).permutation(6000) < 54
    found = figure(durations(np.full(len(due), 20.0), failed), due, drawn, "p99")
    assert (found.value, found.low, found.high, found.log_se) == (20.0, None, None, None)


def test_fewer_than_eight_windows_give_no_interval() -> None:
    """Seven seconds have percentiles without intervals, and eight have them."""
    due = np.linspace(BEGAN, BEGAN + 6.9, 500)
    assert figure(np.arange(1.0, 501.0), due, bootstrap(7), "p50").low is None
    assert figure(np.arange(1.0, 501.0), due, bootstrap(8), "p50").low is not None


@given(
    st.lists(st.integers(0, 400), min_size=100, max_size=300),
    st.floats(0.01, 1000),
    st.integers(8, 40),
)
@settings(max_examples=6)
def test_an_interval_holds_its_value(values: list[int], unit: float, seconds: int) -> None:
    """Whatever was measured, a percentile lies in its interval, and its standard error is above 0."""
    waited = unit * np.array(values, np.float64)
    due = np.linspace(BEGAN, BEGAN + seconds, len(waited), endpoint=False)
    for found in percentile_figures(waited, due, bootstrap(seconds)):
        if found.low is not None and found.value:
            low, high = ends(found)
            assert low <= found.value <= high
            assert found.log_se is not None
            assert found.log_se > 0


def test_a_higher_percentile_has_no_lower_interval() -> None:
    """Not even in few seconds of which one was far slower, where single intervals are very wide."""
    due, drawn = arrivals(200, 8, 9), bootstrap(8)
    waited = np.random.default_rng(9).exponential(10.0, len(due)) * np.where(due < BEGAN + 1, 30, 1)
    found = [ends(one) for one in percentile_figures(waited, due, drawn) if one.low is not None]
    assert len(found) == 4
    assert found == sorted(found)
    assert [high for _, high in found] == sorted(high for _, high in found)


def test_the_resamples_are_those_of_the_circular_block_bootstrap() -> None:
    """The variance of a mean over resamples is that of Politis and Romano's formula.

    With k blocks of b windows it is 1/k times the mean square of (mean of a block - mean), over all n
    circular blocks. 27 windows make 9 blocks of 3.
    """
    drawn, values = bootstrap(27), np.random.default_rng(5).exponential(size=27)
    assert (drawn.draws.sum(axis=1) == 27).all()
    blocks = np.stack([np.roll(values, -lag) for lag in range(3)]).mean(axis=0)
    expected = np.mean((blocks - values.mean()) ** 2) / 9
    found = np.var(drawn.draws @ values / 27)
    assert found == pytest.approx(expected, rel=5 * math.sqrt(2 / RESAMPLES))


def test_each_phase_is_drawn_from_itself() -> None:
    """No resample has more or fewer seconds of a phase than the run had."""
    phases = [Span(begins=0, ends=20), Span(begins=20, ends=25), Span(begins=25, ends=40)]
    drawn = Bootstrap.of(Windows.of(phases)).draws
    assert (drawn[:, :20].sum(axis=1) == 20).all()
    assert (drawn[:, 20:25].sum(axis=1) == 5).all()


def test_the_standard_error_is_the_textbook_s_for_independent_requests() -> None:
    """Of the median of exponential times: sqrt(1 / n) / ln 2 of it, as an order statistic's density says.

    sqrt(q (1 - q) / n) / f(x) with f(x) = (1 - q) / mean, divided by x = mean ln 2. Averaged over 6 runs,
    and with the widening for 15 blocks: sqrt(15 / 14) times 2.145 / 1.960.
    """
    drawn, found, exact = bootstrap(60), [], []
    for seed in range(6):
        due = arrivals(50, 60, seed)
        waited = np.random.default_rng(seed + 100).exponential(20.0, len(due))
        found.append(figure(waited, due, drawn, "p50").log_se)
        exact.append(math.sqrt(1 / len(due)) / math.log(2))
    assert np.mean(np.array(found, np.float64)) == pytest.approx(np.mean(exact) * 1.13, rel=0.25)


def test_what_is_alike_within_seconds_counts_for_less() -> None:
    """The same durations have a wider interval in whole slow seconds than shuffled."""
    due, drawn = arrivals(100, 60, 6), bootstrap(60)
    rng = np.random.default_rng(7)
    slow = rng.lognormal(0.0, 0.5, 61)[(due - BEGAN).astype(int)]
    waited = 20 * slow * rng.lognormal(0.0, 0.2, len(due))
    together, apart = (width(figure(w, due, drawn, "p50")) for w in (waited, rng.permutation(waited)))
    assert together > 3 * apart


def test_throughput_counts_the_right_replies_that_came_in_time() -> None:
    """Replies after the end and failed requests are none of it."""
    due = np.arange(BEGAN, BEGAN + 20, 0.1)
    failed = np.zeros(200, np.bool_)
    failed[:10] = True
    found = throughput(exchanges(due, 1050.0, failed), bootstrap(20))
    assert found.value == pytest.approx(180 / 20)
    assert found.n == 180


@given(st.integers(0, 500), st.integers(1, 500))
def test_shares_have_the_interval_of_clopper_and_pearson(events: int, more: int) -> None:
    """As scipy's exact binomial test inverts it."""
    n = events + more
    expected = binomtest(events, n).proportion_ci(0.95, "exact")
    assert clopper_pearson(events, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_failure_does_not_mean_that_none_can_be() -> None:
    """None of 600 leaves up to 1 - 0.025^(1/600), and some of the same kind less certain than that."""
    found = failures(exchanges(np.linspace(BEGAN, BEGAN + 19.9, 600), 20.0), bootstrap(20))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 600))


def test_a_burst_of_failures_says_less_than_single_ones() -> None:
    """60 failures in one second leave a wider interval than one in each of 60 seconds."""
    due = np.linspace(BEGAN, BEGAN + 60, 6000, endpoint=False)
    burst, single = np.zeros(6000, np.bool_), np.zeros(6000, np.bool_)
    burst[2000:2060] = True
    single[::100] = True
    found = [failures(exchanges(due, 20.0, failed), bootstrap(60)) for failed in (burst, single)]
    assert width(found[0]) > 3 * width(found[1])
    assert found[0].value == found[1].value == 0.01


def coverage(load: float, runs: int) -> tuple[float, float]:
    """How often the interval of p99 holds the truth in an M/M/1 queue, and how often a naive one does.

    There the response time is exponential with the rate mu - lambda (Kleinrock 1975, Queueing Systems I,
    equation 5.119), and neighbours are alike, as they wait in one queue. The naive interval takes them for
    independent: order statistics by the binomial distribution. 60 s at a service rate of 200 a second.
    """
    drawn, hits, naive = bootstrap(60), 0, 0
    truth = 1e3 * math.log(100) / (200 * (1 - load))
    for seed in range(runs):
        due = arrivals(200 * load, 70, seed, begins=BEGAN - 10)
        waited = queue_ms(due, np.random.default_rng(seed + 5000).exponential(1 / 200, len(due)))
        within = due >= BEGAN
        waited, due = waited[within], due[within]
        low, high = ends(figure(waited, due, drawn, "p99"))
        hits += low <= truth <= high
        ordered = np.sort(waited)
        first, last = (int(binom.ppf(tail, len(waited), 0.99)) for tail in (0.025, 0.975))
        naive += ordered[first - 1] <= truth <= ordered[min(last, len(ordered) - 1)]
    return hits / runs, naive / runs


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("load", "least", "naive_at_most"), [(0.2, 0.87, 0.9), (0.5, 0.87, 0.67), (0.8, 0.66, 0.3)]
)
def test_the_interval_of_p99_holds_the_truth(load: float, least: float, naive_at_most: float) -> None:
    """Nearly as often as it says where a queue is short; where it is long, far more often than a naive one.

    A minute is short for a queue at 80 % of its capacity, whose busy periods last seconds: no interval can
    show what a run never saw. The bounds leave 150 runs three standard errors.
    """
    found, naive = coverage(load, 150)
    assert least <= found <= 0.995
    assert naive <= naive_at_most
