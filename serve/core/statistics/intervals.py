"""Intervals for means and rates, and what an e-value says as a p-value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.special import betaln, ndtri

# Until floats are used up, which takes fewer.
_BISECTIONS = 1100


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the values that the data do not contradict.

    Attributes:
        estimate: A value between `low` and `high`.
        low: -inf where nothing is known.
        high: inf where nothing is known.
    """

    estimate: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """From end to end; inf where nothing is known."""
        return self.high - self.low

    def contains(self, value: float) -> bool:
        """Whether that value is not contradicted; the ends belong to the interval."""
        return self.low <= value <= self.high

    def within(self, margin: float) -> bool:
        """Whether all of it lies between -margin and margin, the ends strictly."""
        return -margin < self.low and self.high < margin


def asymptotic_interval(
    *, estimate: float, variance: float, n: float, alpha: float, planned_n: float
) -> Interval:
    """A confidence sequence for a mean: it covers the truth at all looks together with 1 - alpha.

    Waudby-Smith et al. 2024 (arXiv 2103.06476), equation (9). The guarantee is asymptotic: use it from about
    100 independent units and 20 events on.

    Args:
        estimate: Of the mean, or of a difference of means.
        variance: Of the estimate; 0 says that it is not known, and the interval is then unbounded.
        n: Independent observations behind it (of all arms together); with 0 the interval is unbounded.
        alpha: Between 0 and 1.
        planned_n: The `n` at which the interval is to be narrowest. Fixed before the first look.

    Raises:
        ValueError: `alpha` or `planned_n` is out of range.
    """
    rho = _rho(alpha, planned_n)
    if n <= 0 or variance <= 0:
        return Interval(estimate=estimate, low=-math.inf, high=math.inf)
    information = n * rho + 1
    spread = 2 * information / (n * rho) * (math.log(information) / 2 - math.log(alpha))
    half = math.sqrt(variance * spread)
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half)


def asymptotic_log_e(*, estimate: float, variance: float, n: float, alpha: float, planned_n: float) -> float:
    """The log e-value against "the mean is 0" that belongs to `asymptotic_interval`.

    It is at least log(1 / alpha) exactly when that interval leaves out 0. Arguments and errors are the same;
    0, that is no evidence, where nothing is known.
    """
    rho = _rho(alpha, planned_n)
    if n <= 0 or variance <= 0:
        return 0.0
    information = n * rho + 1
    return estimate * estimate / variance * (n * rho) / (2 * information) - math.log(information) / 2


def normal_interval(*, estimate: float, variance: float, alpha: float) -> Interval:
    """The usual interval of one look at a sample fixed beforehand; not for peeking, only for comparison.

    Args:
        estimate: Of a mean, or of a difference of means.
        variance: Of the estimate; 0 says that it is not known, and the interval is then unbounded.
        alpha: Between 0 and 1.

    Raises:
        ValueError: `alpha` is out of range.
    """
    check_alpha(alpha)
    half = -float(ndtri(alpha / 2)) * math.sqrt(variance) if variance > 0 else math.inf
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half)


def wilson(events: int, n: int, alpha: float) -> Interval:
    """Wilson's score interval for a rate (1927). For one look at an `n` fixed beforehand, not for peeking.

    Args:
        events: Observations that were 1.
        n: Observations; with 0 the interval is [0, 1], and the estimate 0.
        alpha: Between 0 and 1.

    Raises:
        ValueError: A count or `alpha` is out of range.
    """
    check_rate(events, n, alpha)
    if n == 0:
        return Interval(estimate=0.0, low=0.0, high=1.0)
    rate, z = events / n, -float(ndtri(alpha / 2))
    shrink = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if events == 0 else min(rate, centre - half)
    high = 1.0 if events == n else max(rate, centre + half)
    return Interval(estimate=rate, low=low, high=high)


def rate_interval(events: int, n: int, alpha: float) -> Interval:
    """A confidence sequence for the rate of independent 0/1 values, valid for every n and at every look.

    It holds the rates p whose e-value B(1 + k, 1 + n - k) / (p^k (1 - p)^(n - k)) is below 1 / alpha: the
    uniform mixture of likelihood ratios (Robbins 1970; as betting: Waudby-Smith and Ramdas 2024, arXiv
    2010.09686).

    Args:
        events: Observations that were 1.
        n: Observations; with 0 the interval is [0, 1], and the estimate 0.
        alpha: Between 0 and 1.

    Raises:
        ValueError: A count or `alpha` is out of range.
    """
    check_rate(events, n, alpha)
    if n == 0:
        return Interval(estimate=0.0, low=0.0, high=1.0)
    rate, others = events / n, n - events
    threshold = float(betaln(1 + events, 1 + others)) + math.log(alpha)

    def contradicted(p: float) -> bool:
        return events * math.log(p) + others * math.log1p(-p) <= threshold

    low = _edge(contradicted, outside=0.0, inside=rate) if events else 0.0
    high = _edge(contradicted, outside=1.0, inside=rate) if others else 1.0
    return Interval(estimate=rate, low=low, high=high)


def p_value(log_e: float) -> float:
    """The p-value that an e-value gives, min(1, 1 / e): valid at every look (Ville 1939)."""
    return math.exp(min(0.0, -log_e))


def averaged(log_es: Sequence[float]) -> float:
    """The log of the mean of e-values, which is one again however they depend on each other; 0 of none.

    For phases, in which units come back: a product would count their chance deviations several times.
    """
    most = max(log_es, default=0.0)
    if not log_es or math.isinf(most):  # no evidence at all, or more than any number says
        return most
    return most + math.log(math.fsum(math.exp(one - most) for one in log_es) / len(log_es))


def check_alpha(alpha: float) -> None:
    """Refuse an error rate that is none.

    Raises:
        ValueError: It is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}, must be between 0 and 1")


def check_rate(events: int, n: int, alpha: float) -> None:
    """Refuse counts of which one cannot be a part of the other, and an `alpha` that is none.

    Raises:
        ValueError: Naming the one that is out of range.
    """
    check_alpha(alpha)
    if not 0 <= events <= n:
        raise ValueError(f"events is {events} of n {n}, must be from 0 to n")


def _rho(alpha: float, planned_n: float) -> float:
    """The mixture's rho^2 with the narrowest interval at `planned_n`: the same paper, section on tuning."""
    check_alpha(alpha)
    if not planned_n > 0:
        raise ValueError(f"planned_n is {planned_n}, must be above 0")
    return (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / planned_n


def _edge(contradicted: Callable[[float], bool], *, outside: float, inside: float) -> float:
    """Where `contradicted` changes, by bisection, rounded outwards."""
    for _ in range(_BISECTIONS):
        middle = (outside + inside) / 2
        if middle in {outside, inside}:
            break
        if contradicted(middle):
            outside = middle
        else:
            inside = middle
    return outside
