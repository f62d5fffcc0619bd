"""Means over observations that come in clusters, one a unit, and their differences between arms.

The images of one unit are alike, so that only units are independent. A rate is therefore taken as a ratio of
two sums over units, and its variance by the delta method: Deng, Knoblich and Lu 2018 (arXiv 1803.06336),
section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

# Of a residual sum of squares, relative to its terms: below that it is rounding, not variance.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is needed for an interval.

    Attributes:
        estimate: Of the mean or difference; 0 where nothing was seen.
        variance: Of the estimate; 0 where it is not known.
        n: Independent units behind it, of all arms together.
    """

    estimate: float
    variance: float
    n: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Additive:
    """Counts and sums over a set of units, or of pairs; those of two sets without a common member add up."""

    def plus(self, other: Self) -> Self:
        """Both together."""
        names = [field.name for field in fields(self)]
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSums(Additive):
    """Sums over the units of one arm.

    Attributes:
        units: Units.
        n: Sum of the units' observations n_u.
        x: Sum of the units' totals x_u, for instance of right answers.
        nn: Sum of n_u squared.
        nx: Sum of n_u times x_u.
        xx: Sum of x_u squared.
    """

    units: float = 0
    n: float = 0
    x: float = 0
    nn: float = 0
    nx: float = 0
    xx: float = 0

    @property
    def mean(self) -> float:
        """Total by observations, x / n; 0 without observations."""
        return self.x / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """Of the mean, by the delta method; 0 where the units do not show any, which says "not known"."""
        if not self.n:
            return 0.0
        mean = self.mean
        terms = self.xx + mean * mean * self.nn
        return ratio_variance(self.units, terms - 2 * mean * self.nx, terms) / self.n**2


def difference(control: UnitSums, arm: UnitSums) -> Estimate:
    """Mean of the arm minus mean of the control, of units that each saw one of them.

    The variance is not known before that of both is: an arm whose units are all alike so far may just not
    have shown yet how they vary.
    """
    parts = control.variance, arm.variance
    return Estimate(
        estimate=arm.mean - control.mean if control.n and arm.n else 0.0,
        variance=sum(parts) if all(parts) else 0.0,
        n=control.units + arm.units,
    )


def stratified(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of estimates made apart, one a phase, weighted by their units.

    Phases are never pooled: when weights and rates change together, a pooled difference can have the wrong
    sign (Simpson 1951). Units come back in later phases, mostly to the same arm, so that phases repeat each
    other's chance deviations: their standard errors add up, as if they were wholly dependent. Then the
    variance is never too small, whoever comes back (Cauchy-Schwarz). A phase that does not know its variance
    is taken to vary as the others do.
    """
    seen = [estimate for estimate in estimates if estimate.n > 0]
    n = math.fsum(estimate.n for estimate in seen)
    known = math.fsum(math.sqrt(estimate.n) for estimate in seen if estimate.variance > 0)
    if not known:
        return Estimate(estimate=_weighted(seen, n), variance=0.0, n=n)
    error = math.fsum(part.n / n * math.sqrt(part.variance) for part in seen)
    unknown = math.fsum(math.sqrt(part.n) for part in seen) / known
    return Estimate(estimate=_weighted(seen, n), variance=(error * unknown) ** 2, n=n)


def ratio_variance(units: float, squares: float, scale: float) -> float:
    """The variance of a sum over units: units / (units - 1) * `squares`, their squared residuals' sum.

    Args:
        units: Units; of fewer than two nothing is known.
        squares: Sum of squared residuals, as a difference of larger terms.
        scale: The size of these terms, which tells what is rounding only.
    """
    if units <= 1 or squares <= _ROUNDING * scale:
        return 0.0
    return squares * units / (units - 1)


def _weighted(estimates: Sequence[Estimate], n: float) -> float:
    return math.fsum(part.n / n * part.estimate for part in estimates)
