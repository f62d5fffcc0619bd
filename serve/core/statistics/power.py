"""How many units an experiment needs, and which effect a given number can find.

With `sequential` the test is the asymptotic confidence sequence, looked at all the time until the planned
sample; without it the usual test, looked at once. Both have two sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.special import log_ndtr, ndtr, ndtri

from serve.core.statistics.intervals import check_alpha

_BISECTIONS = 100
# Standard errors; no error rate that floats can hold needs as many.
_LARGEST_DRIFT = 100.0


def paired_pairs_needed(
    effect: float, disagreement: float, alpha: float, power: float, *, sequential: bool = True
) -> int:
    """Pairs, one a unit, that find a difference in accuracy between two arms that see the same images.

    Connor 1987 (Biometrics 43, 207-211): (z_a sqrt(p) + z_b sqrt(p - d^2))^2 / d^2.

    Args:
        effect: d, the difference; its sign does not matter.
        disagreement: p, the share of pairs where exactly one arm is right; at least |d|.
        alpha: Error rate of the first kind.
        power: The probability with which the difference is found.
        sequential: Whether the experiment is looked at before its end.

    Raises:
        ValueError: A number is out of range.
    """
    if not 0 < abs(effect) <= disagreement <= 1:
        raise ValueError(
            f"effect is {effect}, must not be 0 nor beyond disagreement {disagreement}, at most 1"
        )
    return _needed(effect, disagreement, disagreement - effect**2, _drift(alpha, power, sequential))


def unpaired_units_needed(
    effect: float, rate: float, alpha: float, power: float, *, sequential: bool = True
) -> int:
    """Units in each of two equal arms, one image each, that find a difference in a rate.

    The two-proportion test with a pooled variance under the null hypothesis (Fleiss, Levin and Paik 2003,
    equation 4.14, without continuity correction).

    Args:
        effect: The difference.
        rate: Of the control.
        alpha: Error rate of the first kind.
        power: The probability with which the difference is found.
        sequential: Whether the experiment is looked at before its end.

    Raises:
        ValueError: A number is out of range.
    """
    other = rate + effect
    if not effect or not 0 <= min(rate, other) <= max(rate, other) <= 1:
        raise ValueError(f"effect is {effect}, must not be 0, nor lead from the rate {rate} out of 0 to 1")
    middle = (rate + other) / 2
    variance = rate * (1 - rate) + other * (1 - other)
    return _needed(effect, 2 * middle * (1 - middle), variance, _drift(alpha, power, sequential))


def paired_detectable(
    pairs: int, disagreement: float, alpha: float, power: float, *, sequential: bool = True
) -> float:
    """The smallest difference that so many pairs find; inf if none that is possible.

    Arguments and errors are those of `paired_pairs_needed`.
    """

    def enough(effect: float) -> bool:
        return paired_pairs_needed(effect, disagreement, alpha, power, sequential=sequential) <= pairs

    return _smallest(enough, disagreement)


def unpaired_detectable(
    units: int, rate: float, alpha: float, power: float, *, sequential: bool = True
) -> float:
    """The smallest difference that so many units in each arm find; inf if none that is possible.

    Towards a rate of one half, where it is harder; so it is found in the other direction too. Arguments and
    errors are those of `unpaired_units_needed`.
    """
    towards, most = (-1, rate) if rate >= 0.5 else (1, 1 - rate)  # noqa: PLR2004  one half

    def enough(effect: float) -> bool:
        return unpaired_units_needed(towards * effect, rate, alpha, power, sequential=sequential) <= units

    return _smallest(enough, most)


def design_effect(images_per_unit: float, icc: float) -> float:
    """By how much a sample must grow because a unit's images are alike: 1 + (m - 1) ICC (Kish 1965).

    Args:
        images_per_unit: m, at least 1.
        icc: Correlation within a unit, 0 to 1.

    Raises:
        ValueError: A number is out of range.
    """
    if not images_per_unit >= 1 or not 0 <= icc <= 1:
        raise ValueError(f"images_per_unit is {images_per_unit}, at least 1; icc is {icc}, must be 0 to 1")
    return 1 + (images_per_unit - 1) * icc


def _needed(effect: float, null_variance: float, variance: float, drift: tuple[float, float]) -> int:
    wanted = drift[0] * math.sqrt(null_variance) + drift[1] * math.sqrt(variance)
    return max(1, math.ceil((wanted / effect) ** 2))


def _drift(alpha: float, power: float, sequential: bool) -> tuple[float, float]:  # noqa: FBT001  passed through
    """Standard errors from null to effect: of the null hypothesis' variance, and of the true one."""
    check_alpha(alpha)
    if not alpha < power < 1:
        raise ValueError(f"power is {power}, must be between alpha {alpha} and 1")
    if not sequential:
        return float(ndtri(1 - alpha / 2)), float(ndtri(power))
    return 0.0, _smallest(lambda drift: _crossing(drift, alpha) >= power, _LARGEST_DRIFT)


def _crossing(drift: float, alpha: float) -> float:
    """The probability that the confidence sequence has left out 0 by its planned end.

    Standardised, the sequence's boundary is u(s) at the share s of the planned sample, and the estimate a
    Brownian motion with that drift. The tangent to u at s = 1 lies above u; a motion crosses a straight line
    with the probability of Bachelier and Levy (Siegmund 1985, equation 3.15).
    """
    rho = -2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))
    evidence = math.log(rho + 1) / 2 - math.log(alpha)
    end = math.sqrt(2 * (rho + 1) / rho * evidence)
    slope = (2 * evidence + 1) / (2 * end)
    start, tilt = end - slope, drift - slope
    return float(ndtr(tilt - start)) + math.exp(2 * start * tilt + float(log_ndtr(-start - tilt)))


def _smallest(enough: Callable[[float], bool], most: float) -> float:
    """The smallest number up to `most` that is enough, rounded up; inf if that is not."""
    low, high = 0.0, most
    if not enough(most):
        return math.inf
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
