"""What peeking costs, and what the tests find: simulated, with the figures that the methods have to reach.

In short with few runs, always; in full with `make simulate`, which prints the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from tests.core.statistics.simulated_health import failing_canary, guardrail, latency, sample_ratio
from tests.core.statistics.simulation import (
    Figures,
    Paired,
    Simulation,
    clusters,
    disagreement,
    opposite_preferences,
    paired,
    planned_paired,
    planned_unpaired,
    scores,
    unpaired_null,
)

RUNS = 2000
FEW = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a figure has to be; for shares of runs the chance of few runs can be allowed for.

    Attributes:
        low: At least.
        high: At most.
        counts: Whether the figure is a number of observations, not a share of runs.
    """

    low: float = -math.inf
    high: float = math.inf
    counts: bool = False

    def allows(self, figure: float, runs: int) -> bool:
        """Whether the figure is inside, or with so few runs could be: five standard errors."""
        if runs >= RUNS:
            return self.low <= figure <= self.high
        return self.low - self._slack(self.low, runs) <= figure <= self.high + self._slack(self.high, runs)

    def _slack(self, end: float, runs: int) -> float:
        if not math.isfinite(end):
            return 0.0
        return end / 2 if self.counts else 5 * math.sqrt(end * (1 - end) / runs)

    def __str__(self) -> str:
        ends = [f"at least {self.low:g}"] * math.isfinite(self.low)
        return ", ".join(ends + [f"at most {self.high:g}"] * math.isfinite(self.high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: where it comes from and what it has to be."""

    metric: str
    null: str
    simulate: Simulation
    figure: str
    bound: Bound

    def __str__(self) -> str:
        return f"{self.metric} | {self.null}"


WRONG = Bound(high=0.05)
BITES = Bound(low=0.2)
RARELY = Bound(high=0.01)
# alpha .001 and three standard errors of 2000 runs
ALMOST_NEVER = Bound(high=0.0031)

NONE = Paired(disagreement=0.1, effect=0.0)
QUIET = Paired(disagreement=0.008, effect=0.0)
ONE_POINT = Paired(disagreement=0.1, effect=0.01, pairs=20_000)
TWO_POINTS = Paired(disagreement=0.1, effect=0.02)


def rows(null: str, simulate: Callable[[int], Figures], *figures: tuple[str, str, Bound]) -> list[Row]:
    """Several figures of one simulation."""
    return [
        Row(metric=metric, null=null, simulate=simulate, figure=figure, bound=bound)
        for metric, figure, bound in figures
    ]


ROWS = [
    *rows(
        "A/A, rate .76",
        unpaired_null(0.76),
        ("accuracy, unpaired: confidence sequence", "anytime", WRONG),
        ("error rate: conditional binomial", "conditional", WRONG),
        ("z test at every look", "naive", BITES),
    ),
    *rows(
        "A/A, rate .01",
        unpaired_null(0.01),
        ("accuracy, unpaired: confidence sequence", "anytime", WRONG),
        ("error rate: conditional binomial", "conditional", WRONG),
        ("z test at every look", "naive", BITES),
    ),
    *rows(
        "A/A, rate .001",
        unpaired_null(0.001),
        ("accuracy, unpaired: confidence sequence", "anytime", WRONG),
        ("error rate: conditional binomial", "conditional", WRONG),
        ("z test at every look", "naive", BITES),
    ),
    *rows(
        "A/A, 10 % differ",
        partial(paired, truth=NONE),
        ("accuracy, paired: e-McNemar", "exact", WRONG),
        ("accuracy, paired: confidence sequence", "anytime", WRONG),
        ("McNemar at every look", "naive", BITES),
    ),
    *rows(
        "A/A, 0.8 % differ",
        partial(paired, truth=QUIET),
        ("accuracy, paired: e-McNemar", "exact", WRONG),
        ("accuracy, paired: confidence sequence", "anytime", WRONG),
        ("McNemar at every look", "naive", BITES),
    ),
    *rows(
        "A/A, scores",
        scores,
        ("Brier score, paired: confidence sequence", "anytime", WRONG),
        ("z test at every look", "naive", BITES),
    ),
    *rows(
        "disagreement .08",
        disagreement,
        ("disagreement: rate outside its interval", "missed", WRONG),
        ("z interval at every look", "naive", BITES),
    ),
    *rows(
        "+1 point, 20 000 pairs",
        partial(paired, truth=ONE_POINT),
        ("accuracy, paired: e-McNemar finds it", "exact", Bound(low=0.9)),
        ("accuracy, paired: sequence finds it", "anytime", Bound(low=0.9)),
        ("accuracy, paired: truth outside its interval", "missed", WRONG),
    ),
    *rows(
        "+2 points, 10 000 pairs",
        partial(paired, truth=TWO_POINTS),
        ("accuracy, paired: e-McNemar finds it", "exact", Bound(low=0.99)),
        ("accuracy, paired: e-McNemar, median pairs", "exact stop", Bound(high=3000, counts=True)),
        ("accuracy, paired: truth outside its interval", "missed", WRONG),
    ),
    *rows("planned, 80 % power", planned_paired, ("plan, paired", "anytime", Bound(low=0.77, high=0.83))),
    *rows("planned, 80 % power", planned_unpaired, ("plan, unpaired", "anytime", Bound(low=0.77, high=0.83))),
    *rows(
        "50/50",
        partial(sample_ratio, shares=(0.5, 0.5)),
        ("sample ratio: alarm at .001", "alarm", ALMOST_NEVER),
        ("sample ratio: warning at .05", "warning", WRONG),
        ("chi-square at every look", "naive", BITES),
    ),
    *rows(
        "50/50, then 90/10",
        partial(sample_ratio, shares=(0.5, 0.9), weights=(500, 900)),
        ("sample ratio by phase: alarm at .001", "alarm", ALMOST_NEVER),
    ),
    *rows(
        "51/49 as 50/50, 100 000 units",
        partial(sample_ratio, shares=(0.51, 0.51)),
        ("sample ratio: alarm at .001", "alarm", Bound(low=0.95)),
    ),
    *rows(
        "both .1 %",
        partial(guardrail, rates=(0.001, 0.001)),
        ("guardrail: trips at .01", "trips", RARELY),
        ("one-sided z at every look, .01", "naive", Bound(low=0.1)),
    ),
    *rows(
        "both 1 %",
        partial(guardrail, rates=(0.01, 0.01)),
        ("guardrail: trips at .01", "trips", RARELY),
        ("one-sided z at every look, .01", "naive", Bound(low=0.1)),
    ),
    *rows(
        ".1 % and .2 %, allowed 2",
        partial(guardrail, rates=(0.001, 0.002), max_ratio=2.0),
        ("guardrail: trips at .01", "trips", RARELY),
    ),
    *rows(
        "1 % and .5 %",
        partial(guardrail, rates=(0.01, 0.005)),
        ("guardrail: trips at .01", "trips", Bound(high=0.001)),
    ),
    *rows(
        "0 and 5 %, allowed 1.5",
        failing_canary,
        ("guardrail: trips at .01", "trips", Bound(low=1)),
        ("guardrail: median canary requests", "stop", Bound(high=150, counts=True)),
    ),
    *rows(
        "A/A",
        partial(latency, q=0.5),
        ("latency p50: e-process", "speaks", WRONG),
        ("Mood's test at every look", "naive", BITES),
    ),
    *rows("A/A", partial(latency, q=0.99), ("latency p99: e-process", "speaks", WRONG)),
    *rows(
        "x 1.3 by 5000 an arm",
        partial(latency, q=0.99, factor=1.3),
        ("latency p99: e-process finds it", "speaks", Bound(low=0.95)),
    ),
    *rows(
        "A/A, ICC .1, 20 images",
        clusters,
        ("accuracy by unit, one look", "by unit", Bound(low=0.035, high=0.065)),
        ("accuracy by image, one look", "by image", BITES),
    ),
    *rows(
        "opposite preferences",
        opposite_preferences,
        ("accuracy, paired: e-McNemar, one pair a unit", "one a unit", WRONG),
        ("accuracy, paired: sequence by unit", "by unit", WRONG),
        ("e-McNemar over all pairs", "pooled", BITES),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_figure_is_reached_in_short(row: Row) -> None:
    """With a few runs: what is far from its figure is seen at every change of the code."""
    figure = row.simulate(FEW)[row.figure]
    assert row.bound.allows(figure, FEW), f"{row}: {figure:g}, must be {row.bound}"


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_figure_is_reached(row: Row, record_property: Callable[[str, object], None]) -> None:
    """With 2000 runs each, where five percent are known to half a point."""
    figure = row.simulate(RUNS)[row.figure]
    record_property("simulated", (row.metric, row.null, f"{figure:.4g}", str(row.bound)))
    assert row.bound.allows(figure, RUNS), f"{row}: {figure:g}, must be {row.bound}"
