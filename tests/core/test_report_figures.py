"""Figures of a report, made from the ledger's sums, are those that the raw units give, to 1e-9."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from serve.core.evidence import Evidence
from serve.core.report import Report, evaluate
from serve.core.report.rows import Kind, Row
from serve.core.statistics import quantile
from serve.core.statistics.intervals import asymptotic_interval, asymptotic_log_e
from serve.core.statistics.paired import mcnemar_log_e
from serve.core.tally import UnitTally
from tests.core.studied import Count, PairTruth, an_experiment, evidence_of, paired_arms

HALVES = (5000, 5000)
UNITS = 1500


def row(report: Report, metric: str, kind: Kind, arm: str = "b") -> Row:
    """The one row of that metric, kind and arm."""
    (found,) = [one for one in report.rows if (one.metric, one.kind, one.arm) == (metric, kind, arm)]
    return found


def same(found: Row, estimate: float, variance: float, n: int, planned_n: float = UNITS * 2) -> None:
    """Assert that the row has the estimate, the interval and the e-value of a direct computation."""
    interval = asymptotic_interval(estimate=estimate, variance=variance, n=n, alpha=0.05, planned_n=planned_n)
    log_e = asymptotic_log_e(estimate=estimate, variance=variance, n=n, alpha=0.05, planned_n=planned_n)
    reach = 1.959963984540054 * math.sqrt(variance)
    expected = (estimate, interval.low, interval.high, estimate - reach, estimate + reach, log_e, n)
    figures = (
        found.estimate,
        found.low,
        found.high,
        found.fixed_low,
        found.fixed_high,
        found.log_e,
        found.n,
    )
    assert figures == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("metric", "tally", "scale"),
    [
        ("accuracy", lambda n, x: UnitTally(calls=1, labelled=n, right=x), 1),
        ("error_rate", lambda n, x: UnitTally(calls=n, failures=x), 1),
        ("brier", lambda n, x: UnitTally(calls=1, labelled=n, brier=x), 10_000),
    ],
)
def test_means_of_a_split(metric: str, tally: Callable[[int, int], UnitTally], scale: int) -> None:
    """Ratios of sums over units, and the variance of their residuals."""
    random, direct, counts = np.random.default_rng(7), [], [Count(), Count()]
    for count, share in zip(counts, (0.8, 0.85), strict=True):
        n = random.integers(1, 5, UNITS)
        x = random.binomial(n, share)
        for one, other in zip(n.tolist(), x.tolist(), strict=True):
            count.unit(tally(one, other))
        mean = float(x.sum() / n.sum())
        squares = float(((x - mean * n) ** 2).sum())
        direct.append((mean / scale, squares / float(n.sum()) ** 2 * UNITS / (UNITS - 1) / scale**2))
    experiment = an_experiment(planned_units=2 * UNITS)
    report = evaluate(experiment, evidence_of((HALVES, counts)), 0.0)
    (one, its), (other, others) = direct
    same(row(report, metric, Kind.DIFFERENCE), other - one, its + others, 2 * UNITS)
    same(row(report, metric, Kind.LEVEL, "a"), one, its, UNITS, UNITS)


def test_first_pairs_are_the_values_of_each_pair() -> None:
    """With all labels known, the interval is that of the mean of -1, 0 and 1."""
    counts = paired_arms(PairTruth(pairs=4000, arm_right=0.07), np.random.default_rng(3))
    report = evaluate(an_experiment("paired", planned_units=4000), evidence_of((HALVES, counts)), 0.0)
    sums = counts[1].sums
    losses, wins = sums["first:control_right"], sums["first:arm_right"]
    values = np.array([-1] * losses + [1] * wins + [0] * (4000 - losses - wins))
    found = row(report, "accuracy", Kind.DIFFERENCE)
    assert found.log_e == pytest.approx(mcnemar_log_e(losses, wins), abs=1e-9)
    interval = asymptotic_interval(
        estimate=float(values.mean()),
        variance=float(values.var(ddof=1)) / 4000,
        n=4000,
        alpha=0.05,
        planned_n=4000,
    )
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (interval.estimate, interval.low, interval.high), abs=1e-9
    )
    assert row(report, "agreement", Kind.SHARE).estimate == pytest.approx((losses + wins) / 4000, abs=1e-12)


def test_pairs_of_one_unit_are_clustered() -> None:
    """With all labels known, the difference is a ratio of sums over units like any other."""
    random, arm = np.random.default_rng(5), Count()
    n = random.integers(1, 6, UNITS)
    losses, wins = random.binomial(n, 0.05), random.binomial(n, 0.05)
    for size, loss, win in zip(n.tolist(), losses.tolist(), wins.tolist(), strict=True):
        moved = min(size, loss + win)
        kept = min(win, moved)
        signed = kept - (moved - kept)
        arm.unit(
            UnitTally(calls=size, pairs=size, differ=moved, differ_labelled=moved, signed=signed, scored=size)
        )
    moved = np.minimum(n, losses + wins)
    signed = 2 * np.minimum(wins, moved) - moved
    mean = float(signed.sum() / n.sum())
    variance = float(((signed - mean * n) ** 2).sum()) / float(n.sum()) ** 2 * UNITS / (UNITS - 1)
    experiment = an_experiment("shadow", pairs="all", planned_units=UNITS)
    report = evaluate(experiment, evidence_of(((10_000, 0), [Count(), arm])), 0.0)
    same(row(report, "accuracy", Kind.DIFFERENCE), mean, variance, UNITS, UNITS)


def test_brier_of_pairs_is_their_mean_difference() -> None:
    """Image by image, over the labelled ones."""
    counts = paired_arms(PairTruth(pairs=3000, labelled=0.6), np.random.default_rng(6))
    report = evaluate(an_experiment("paired", planned_units=3000), evidence_of((HALVES, counts)), 0.0)
    sums = counts[1].sums
    losses, wins = sums["first:control_right"], sums["first:arm_right"]
    rest = sums["scored"] - losses - wins
    values = np.array([0.8] * losses + [-0.8] * wins + [0.0] * rest)
    found = row(report, "brier", Kind.DIFFERENCE)
    same(found, float(values.mean()), float(values.var(ddof=1)) / len(values), len(values), 3000)


def test_simpson_phases_are_never_pooled() -> None:
    """An arm that is worse in each phase, but got more of the easy one, is not called better."""
    random = np.random.default_rng(8)
    phases = []
    for weights, shares in (((9000, 1000), (0.50, 0.44)), ((1000, 9000), (0.95, 0.90))):
        counts = [Count(), Count()]
        for count, weight, share in zip(counts, weights, shares, strict=True):
            for right in (random.random(weight) < share).tolist():
                count.unit(UnitTally(calls=1, labelled=1, right=int(right)))
        phases.append((weights, counts))
    report = evaluate(an_experiment(planned_units=20_000), evidence_of(*phases), 0.0)
    pooled = [sum(counts[arm].sums["right"] for _, counts in phases) / 10_000 for arm in (0, 1)]
    found = row(report, "accuracy", Kind.DIFFERENCE)
    assert pooled[1] - pooled[0] > 0.2
    assert found.high is not None
    assert found.high < 0
    levels = [row(report, "accuracy", Kind.LEVEL, arm).estimate for arm in "ab"]
    assert levels[1] - levels[0] == pytest.approx(found.estimate, abs=1e-9)  # type: ignore[operator]
    assert report.verdict.value == "worse"
    assert not [one for one in report.health if one.state.value == "broken"]


def latencies(ratio: float, calls: int = 5000) -> tuple[Count, Count]:
    """Two arms, of which the second takes so many times as long."""
    random = np.random.default_rng(9)
    arms = Count(), Count()
    for arm, factor in zip(arms, (1.0, ratio), strict=True):
        arm.calls((20 * factor * random.lognormal(0, 0.4, calls)).tolist())
        for _ in range(calls):
            arm.unit(UnitTally(calls=1))
    return arms


@pytest.mark.parametrize("metric", ["latency_p50", "latency_p99"])
@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, {"undecided", "no_difference"}), (1.3, {"worse"})])
def test_an_arm_that_is_slower_is_found(metric: str, ratio: float, verdict: set[str]) -> None:
    """By 30 % with 5000 calls an arm; and in an A/A nothing is found."""
    report = evaluate(an_experiment(primary_metric=metric), evidence_of((HALVES, latencies(ratio))), 0.0)
    found = row(report, metric, Kind.RATIO)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= ratio - 1 <= found.high
    assert report.verdict.value in verdict


def test_latencies_of_two_phases_are_taken_apart() -> None:
    """Of a busy hour most calls went to the arm: pooled it looks slower, phase by phase it does not."""
    random = np.random.default_rng(10)
    phases = []
    for weights, busy in (((8000, 2000), 1.0), ((2000, 8000), 3.0)):
        counts = [Count(), Count()]
        for count, weight in zip(counts, weights, strict=True):
            count.calls((20 * busy * random.lognormal(0, 0.4, weight)).tolist())
        phases.append((weights, counts))
    report = evaluate(an_experiment(), evidence_of(*phases), 0.0)
    found = row(report, "latency_p50", Kind.RATIO)
    pooled = [
        quantile.quantile(quantile.from_counts(phases[0][1][arm].latency + phases[1][1][arm].latency), 0.5)
        for arm in (0, 1)
    ]
    assert pooled[1] > 2 * pooled[0]
    assert found.low is not None
    assert found.high is not None
    assert -0.1 < found.low < 0 < found.high < 0.1
    assert found.log_e is not None
    assert found.log_e < 0


def test_a_second_phase_leaves_the_ratio() -> None:
    """Two equal phases agree with one; they say no more, since their units may be the same."""
    one = evaluate(an_experiment(), evidence_of((HALVES, latencies(1.3))), 0.0)
    two = evaluate(an_experiment(), evidence_of((HALVES, latencies(1.3)), (HALVES, latencies(1.3))), 0.0)
    before, after = (row(report, "latency_p50", Kind.RATIO) for report in (one, two))
    assert after.estimate == pytest.approx(before.estimate, rel=1e-9)
    assert (after.low or 0) >= (before.low or 0)
    assert (after.high or 0) <= (before.high or 0)
    assert (after.log_e or 0) == pytest.approx(before.log_e)


def test_counts_and_throughput() -> None:
    """Calls by the minutes since the start, where that is known; until the end, where it has ended."""
    counts = latencies(1.0, 600)
    experiment = an_experiment()
    known = Evidence(phases=evidence_of((HALVES, counts)).phases, since=60.0)
    report = evaluate(experiment, known, 660.0)
    assert row(report, "throughput", Kind.LEVEL).estimate == pytest.approx(60.0)
    assert row(report, "calls", Kind.LEVEL).estimate == 600
    assert row(report, "units", Kind.LEVEL).estimate == 600
    unknown = evaluate(experiment, evidence_of((HALVES, counts)), 660.0)
    assert row(unknown, "throughput", Kind.LEVEL).estimate is None


def test_calls_of_one_unit_are_not_so_many_observations() -> None:
    """The same latencies, once of a unit each and once all of ten units: then next to nothing is known."""
    many = latencies(1.3, 600)
    few = [Count(latency=one.latency) for one in many]
    for count in few:
        for _ in range(10):
            count.unit(UnitTally(calls=60))
    reports = [evaluate(an_experiment(), evidence_of((HALVES, arms)), 0.0) for arms in (many, few)]
    sharp, blunt = (row(report, "latency_p50", Kind.RATIO) for report in reports)
    assert sharp.estimate == pytest.approx(blunt.estimate, abs=0.1)
    assert (sharp.log_e or 0) > 3 > (blunt.log_e or 0)
