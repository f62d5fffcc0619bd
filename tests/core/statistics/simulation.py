"""Simulated experiments, looked at again and again: how often each test of accuracy speaks up.

Each function takes a number of runs and gives named figures, mostly shares of runs in which something
happened at any look. Seeds are fixed, and data are made for all runs at once; what is tested are the
functions of `serve.core.statistics` themselves, once a look.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from serve.core.statistics.guardrail import Events, rate_ratio_log_e
from serve.core.statistics.intervals import asymptotic_interval, asymptotic_log_e, rate_interval
from serve.core.statistics.paired import (
    PairCounts,
    PairSums,
    clustered_difference,
    difference,
    mcnemar_log_e,
    mean_difference,
)
from serve.core.statistics.power import paired_pairs_needed, unpaired_units_needed
from serve.core.statistics.units import Estimate, UnitSums
from serve.core.statistics.units import difference as unpaired_difference

ALPHA = 0.05
Z = -float(ndtri(ALPHA / 2))
Counts = NDArray[np.int64]
Looks = NDArray[np.bool_]
Figures = Mapping[str, float]
Simulation = Callable[[int], Figures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A planted truth of two arms on the same images, one image a unit.

    Attributes:
        disagreement: Share of the images where exactly one arm is right.
        effect: Accuracy of the arm minus that of the control.
        pairs: At the last look.
        looks: Equally spaced.
    """

    disagreement: float
    effect: float
    pairs: int = 10_000
    looks: int = 100

    @property
    def seen(self) -> NDArray[np.int64]:
        """Pairs at each look."""
        return np.arange(1, self.looks + 1) * (self.pairs // self.looks)


def share(looks: Looks) -> float:
    """Of the runs, those where it happened at one look or another; one run a row."""
    return float(looks.any(axis=1).mean())


def median_stop(looks: Looks, seen: NDArray[np.int64]) -> float:
    """The median of what had been seen when it first happened; inf where it never did."""
    first = np.where(looks.any(axis=1), seen[looks.argmax(axis=1)].astype(float), math.inf)
    return float(np.median(first))


def reaches(log_es: list[list[float]], alpha: float = ALPHA) -> Looks:
    """At which looks the evidence is enough."""
    return np.array(log_es) >= -math.log(alpha)


def log_e_of(estimate: Estimate, planned_n: float) -> float:
    """Of the asymptotic confidence sequence against no difference."""
    return asymptotic_log_e(
        estimate=estimate.estimate,
        variance=estimate.variance,
        n=estimate.n,
        alpha=ALPHA,
        planned_n=planned_n,
    )


def single(n: int, x: int) -> UnitSums:
    """Units with one image each."""
    return UnitSums(units=n, n=n, x=x, nn=n, nx=x, xx=x)


def binomials(rng: np.random.Generator, step: int, rates: float, shape: tuple[int, int]) -> Counts:
    """Cumulative counts, one run a row, one look a column."""
    return rng.binomial(step, rates, shape).cumsum(axis=1)


@cache
def unpaired(runs: int, rates: tuple[float, float], per_arm: int = 10_000) -> Figures:
    """Two arms with one image a unit, 100 looks."""
    rng, shape = np.random.default_rng(1), (runs, 100)
    step = per_arm // 100
    control, arm = (binomials(rng, step, rate, shape) for rate in rates)
    seen = np.arange(1, 101) * step
    p, q = control / seen, arm / seen
    with np.errstate(invalid="ignore"):
        z = np.abs(p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / seen)
    pairs = [
        list(zip(seen.tolist(), a, b, strict=True))
        for a, b in zip(control.tolist(), arm.tolist(), strict=True)
    ]
    anytime = [
        [log_e_of(unpaired_difference(single(n, a), single(n, b)), 2 * per_arm) for n, a, b in run]
        for run in pairs
    ]
    conditional = [
        [rate_ratio_log_e(Events(n=n, events=a), Events(n=n, events=b), max_ratio=1) for n, a, b in run]
        for run in pairs
    ]
    return {
        "anytime": share(reaches(anytime)),
        "conditional": share(reaches(conditional)),
        "naive": share(z > Z),
    }


@cache
def paired(runs: int, truth: Paired) -> Figures:
    """Two arms on the same images; the asymptotic sequence planned for the last look, McNemar with a = 50."""
    rng = np.random.default_rng(2)
    shares = [(truth.disagreement - truth.effect) / 2, (truth.disagreement + truth.effect) / 2]
    step = truth.pairs // truth.looks
    made = rng.multinomial(step, [*shares, 1 - sum(shares)], (runs, truth.looks)).cumsum(axis=1)
    b, c, seen = made[..., 0], made[..., 1], truth.seen
    with np.errstate(invalid="ignore"):
        z = np.abs(b - c) / np.sqrt(b + c)
    exact, anytime, missed = [], [], []
    for run in made.tolist():
        estimates = [
            difference(PairCounts(pairs=n, differ=b + c, labelled=b + c, control_right=b, arm_right=c))
            for n, (b, c, _) in zip(seen.tolist(), run, strict=True)
        ]
        exact.append([mcnemar_log_e(b, c) for b, c, _ in run])
        anytime.append([log_e_of(estimate, truth.pairs) for estimate in estimates])
        missed.append([not _holds(estimate, truth) for estimate in estimates])
    return {
        "exact": share(reaches(exact)),
        "exact stop": median_stop(reaches(exact), seen),
        "anytime": share(reaches(anytime)),
        "missed": share(np.array(missed)),
        "naive": share(z > Z),
    }


def _holds(estimate: Estimate, truth: Paired) -> bool:
    return asymptotic_interval(
        estimate=estimate.estimate,
        variance=estimate.variance,
        n=estimate.n,
        alpha=ALPHA,
        planned_n=truth.pairs,
    ).contains(truth.effect)


@cache
def disagreement(runs: int) -> Figures:
    """The interval of a rate of .08, 100 looks up to 10 000 pairs."""
    rate, seen = 0.08, np.arange(1, 101) * 100
    events = binomials(np.random.default_rng(3), 100, rate, (runs, 100))
    missed = [
        [not rate_interval(k, n, ALPHA).contains(rate) for k, n in zip(run, seen.tolist(), strict=True)]
        for run in events.tolist()
    ]
    z = np.abs(events / seen - rate) / np.sqrt(rate * (1 - rate) / seen)
    return {"missed": share(np.array(missed)), "naive": share(z > Z)}


@cache
def scores(runs: int) -> Figures:
    """Two models that are as good, scored on the same images (Brier): 100 looks up to 10 000 images."""
    rng, seen = np.random.default_rng(10), np.arange(1, 101) * 100
    # Look by look, so that not all images are held at once.
    made = (rng.beta(0.3, 1, (runs, 100)) - rng.beta(0.3, 1, (runs, 100)) for _ in seen)
    sums = [(look.sum(axis=1), (look * look).sum(axis=1)) for look in made]
    x, xx = np.array(sums).cumsum(axis=0).transpose(1, 2, 0)
    anytime = [
        [
            log_e_of(mean_difference(UnitSums(units=n, n=n, x=a, nn=n, nx=a, xx=b)), 10_000)
            for n, a, b in zip(seen.tolist(), *run, strict=True)
        ]
        for run in zip(x.tolist(), xx.tolist(), strict=True)
    ]
    z = np.abs(x) / np.sqrt(xx)
    return {"anytime": share(reaches(anytime)), "naive": share(z > Z)}


@cache
def clusters(runs: int) -> Figures:
    """200 units an arm with 20 images each, correlated by .1: one look at the end."""
    rng = np.random.default_rng(8)
    rates = rng.beta(0.76 * 9, 0.24 * 9, (2, runs, 200))
    right = rng.binomial(20, rates)
    by_unit = []
    for control, arm in zip(*right, strict=True):
        sums = [
            UnitSums(
                units=200, n=4000, x=int(x.sum()), nn=80_000, nx=int(20 * x.sum()), xx=int((x * x).sum())
            )
            for x in (control, arm)
        ]
        found = unpaired_difference(*sums)
        by_unit.append(abs(found.estimate) > Z * math.sqrt(found.variance))
    p, q = right.sum(axis=2) / 4000
    z = np.abs(p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 4000)
    return {"by unit": float(np.mean(by_unit)), "by image": float((z > Z).mean())}


@cache
def opposite_preferences(runs: int) -> Figures:
    """200 units with 20 pairs each; 30 % differ, nearly always for the arm that suits the unit.

    Either arm suits half of the units, so that there is no difference overall. Looks from 100 units on.
    """
    rng = np.random.default_rng(9)
    suits = rng.choice([0.05, 0.95], (runs, 200))
    differ = rng.binomial(20, 0.3, (runs, 200))
    wins = rng.binomial(differ, suits)
    # Of each unit one pair, whichever: here its first.
    first = rng.random((runs, 200)) < 0.3
    first_wins = first & (rng.random((runs, 200)) < suits)
    until = range(100, 201, 10)
    pooled = [
        [mcnemar_log_e(int((d - w)[:k].sum()), int(w[:k].sum())) for k in until]
        for d, w in zip(differ, wins, strict=True)
    ]
    one = [
        [mcnemar_log_e(int((d & ~w)[:k].sum()), int(w[:k].sum())) for k in until]
        for d, w in zip(first, first_wins, strict=True)
    ]
    by_unit = [
        [log_e_of(clustered_difference(_pair_sums(d[:k], w[:k])), 200) for k in until]
        for d, w in zip(differ, wins, strict=True)
    ]
    return {
        "pooled": share(reaches(pooled)),
        "one a unit": share(reaches(one)),
        "by unit": share(reaches(by_unit)),
    }


def _pair_sums(differ: Counts, wins: Counts) -> PairSums:
    """Of units with 20 pairs each, all labelled."""
    rows = np.stack([np.full(len(differ), 20), differ, differ, 2 * wins - differ], axis=1).astype(float)
    sums = [*rows.sum(axis=0).tolist(), *(rows.T @ rows)[np.triu_indices(4)].tolist()]
    return PairSums(
        **dict(zip((field.name for field in fields(PairSums)), [len(differ), *sums], strict=True))
    )


def planned_paired(runs: int) -> Figures:
    """As many pairs as the plan asks for two points at 10 % disagreement: the power that they have."""
    pairs = paired_pairs_needed(0.02, 0.1, ALPHA, 0.8)
    return paired(runs, Paired(disagreement=0.1, effect=0.02, pairs=100 * math.ceil(pairs / 100)))


def planned_unpaired(runs: int) -> Figures:
    """As many units as the plan asks for two points on .76."""
    units = unpaired_units_needed(0.02, 0.76, ALPHA, 0.8)
    return unpaired(runs, (0.76, 0.78), 100 * math.ceil(units / 100))


def unpaired_null(rate: float) -> Simulation:
    """The same rate in both arms."""
    return partial(unpaired, rates=(rate, rate))
