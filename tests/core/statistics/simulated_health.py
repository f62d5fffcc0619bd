"""Simulated experiments, looked at again and again: the health of the comparison, and latency."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy.special import chdtrc, ndtri

from serve.core.statistics.guardrail import Events, rate_ratio_log_e, stratified
from serve.core.statistics.quantile import BUCKETS, quantile_log_e
from serve.core.statistics.sample_ratio import sample_ratio_log_e
from tests.core.statistics.simulation import ALPHA, Counts, Figures, Z, binomials, reaches, share


@cache
def sample_ratio(runs: int, shares: tuple[float, float], weights: tuple[int, int] = (500, 500)) -> Figures:
    """Two arms in two phases, 200 looks up to 100 000 units.

    `shares` are what the first arm really gets, `weights` what is configured for it, in 1/1000.
    """
    rng, step = np.random.default_rng(4), 500
    phases = [binomials(rng, step, rate, (runs, 100)) for rate in shares]
    seen = np.arange(1, 101) * step
    evidence = [
        [
            [
                sample_ratio_log_e([k, n - k], [weight, 1000 - weight])
                for k, n in zip(run, seen.tolist(), strict=True)
            ]
            for run in phase.tolist()
        ]
        for phase, weight in zip(phases, weights, strict=True)
    ]
    whole = [
        earlier + [stratified([earlier[-1], later]) for later in run]
        for earlier, run in zip(*evidence, strict=True)
    ]
    chi2 = (2 * phases[0] - seen) ** 2 / seen
    return {
        "alarm": share(reaches(whole, 0.001)),
        "warning": share(reaches(whole)),
        "naive": share(chdtrc(1, chi2) < ALPHA),
    }


@cache
def guardrail(runs: int, rates: tuple[float, float], max_ratio: float = 1.0) -> Figures:
    """A canary with 5 % of 200 000 requests, 400 looks, alpha .01."""
    rng, shape = np.random.default_rng(5), (runs, 400)
    trials = rng.binomial(500, 0.05, shape)
    events = [rng.binomial(n, rate) for n, rate in zip((500 - trials, trials), rates, strict=True)]
    made = np.stack([500 - trials, events[0], trials, events[1]], axis=2).cumsum(axis=1)
    evidence = [[_against(look, max_ratio) for look in run] for run in made.tolist()]
    n, a, m, b = (made[..., column] for column in range(4))
    pooled = (a + b) / (n + m)
    with np.errstate(invalid="ignore"):
        z = (b / m - a / n) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return {"trips": share(reaches(evidence, 0.01)), "naive": share(z > -float(ndtri(0.01)))}


@cache
def failing_canary(runs: int) -> Figures:
    """A control without errors and a canary that fails 5 % of its calls: its calls until the trip."""
    rng, shape = np.random.default_rng(6), (runs, 500)
    trials = rng.binomial(20, 0.05, shape).cumsum(axis=1)
    events = rng.binomial(np.diff(trials, axis=1, prepend=0), 0.05).cumsum(axis=1)
    evidence = [
        [
            rate_ratio_log_e(Events(n=20 * look - m, events=0), Events(n=m, events=k), max_ratio=1.5)
            for look, (m, k) in enumerate(zip(*run, strict=True), 1)
        ]
        for run in zip(trials.tolist(), events.tolist(), strict=True)
    ]
    tripped = reaches(evidence, 0.01)
    stops = trials[np.arange(runs), tripped.argmax(axis=1)]
    return {"trips": share(tripped), "stop": float(np.median(stops))}


def _against(look: list[int], max_ratio: float) -> float:
    n, a, m, b = look
    return rate_ratio_log_e(Events(n=n, events=a), Events(n=m, events=b), max_ratio=max_ratio)


@cache
def latency(runs: int, q: float, factor: float = 1.0) -> Figures:
    """Lognormal durations, 20 looks up to 5000 calls an arm."""
    rng, looks, step = np.random.default_rng(7), 20, 250
    spoke, naive = [], []
    for _ in range(runs):
        control, arm = (_histograms(rng, looks, step, scale) for scale in (1.0, factor))
        spoke.append([quantile_log_e(a, b, q) for a, b in zip(control, arm, strict=True)])
        naive.append([_median_test(a, b, q) for a, b in zip(control, arm, strict=True)])
    return {"speaks": share(reaches(spoke)), "naive": share(np.array(naive))}


def _histograms(rng: np.random.Generator, looks: int, step: int, factor: float) -> Counts:
    """Cumulative, one look a row."""
    buckets = (math.log(20_000 * factor) + 0.4 * rng.standard_normal((looks, step))) / math.log(1.01)
    return np.array([np.bincount(row, minlength=BUCKETS) for row in buckets.astype(int)]).cumsum(axis=0)


def _median_test(control: Counts, arm: Counts, q: float) -> bool:
    """Mood's test at the common quantile, as if this were the only look."""
    both = (control + arm).cumsum()
    bucket = int(np.searchsorted(both, q * both[-1]))
    below = [int(one[: bucket + 1].sum()) for one in (control, arm)]
    n, p = int(both[-1]) // 2, sum(below) / int(both[-1])
    return abs(below[0] - below[1]) / n > Z * math.sqrt(2 * p * (1 - p) / n)
