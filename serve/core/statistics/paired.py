"""Two arms on the same images: only images that they answer differently can tell them apart.

So only these need labels. An agreeing pair changes the difference by 0 whatever its label is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import bdtr, betaln

from serve.core.statistics.units import Additive, Estimate, UnitSums, ratio_variance


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCounts(Additive):
    """Pairs that are independent: one a unit.

    Attributes:
        pairs: Pairs seen.
        differ: Of these, those answered differently.
        labelled: Of these, those whose label is known. Who is right must have no say in which ones are.
        control_right: Of these, those where only the control was right.
        arm_right: Of these, those where only the arm was right; in the rest both were wrong.
    """

    pairs: int = 0
    differ: int = 0
    labelled: int = 0
    control_right: int = 0
    arm_right: int = 0

    def __post_init__(self) -> None:
        right = self.control_right + self.arm_right
        if (
            min(self.control_right, self.arm_right) < 0
            or not right <= self.labelled <= self.differ <= self.pairs
        ):
            raise ValueError(f"{self}: each must be a part of the one before it")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSums(Additive):
    """Sums over units that may give several pairs each.

    Attributes:
        units: Units.
        pairs: Sum of the units' pairs.
        differ: Sum of those answered differently.
        labelled: Sum of these whose label is known.
        signed: Sum over these of (arm right) - (control right).
        pp: Sum over units of pairs squared; and so on for the products of pairs (p), differ (d), labelled (l)
            and signed (s).
    """

    units: float = 0
    pairs: float = 0
    differ: float = 0
    labelled: float = 0
    signed: float = 0
    pp: float = 0
    pd: float = 0
    pl: float = 0
    ps: float = 0
    dd: float = 0
    dl: float = 0
    ds: float = 0
    ll: float = 0
    ls: float = 0
    ss: float = 0


def mcnemar_log_e(control_right: int, arm_right: int, prior: float = 50.0) -> float:
    """Log e-value against "where one alone is right, it is either as often": McNemar's test, anytime-valid.

    e = 2^m B(a + c, a + b) / B(a, a) with m = b + c: the likelihood ratio of a fair coin mixed over a
    symmetric Beta(a, a). Exact at every look and sample size, for independent pairs: with several pairs of
    one unit use `clustered_difference`.

    Args:
        control_right: b, pairs where only the control was right.
        arm_right: c, pairs where only the arm was right.
        prior: a; the larger, the smaller the difference for which the test is sharpest.

    Raises:
        ValueError: A count is negative, or `prior` is not above 0.
    """
    _check(control_right, arm_right)
    if not prior > 0:
        raise ValueError(f"prior is {prior}, must be above 0")
    evidence = betaln(prior + arm_right, prior + control_right) - betaln(prior, prior)
    return float(evidence) + (control_right + arm_right) * math.log(2)


def mcnemar_p(control_right: int, arm_right: int) -> float:
    """The two-sided p-value of the exact McNemar test (1947), for one look at a sample fixed beforehand.

    Arguments and errors are those of `mcnemar_log_e`.
    """
    _check(control_right, arm_right)
    return min(1.0, 2 * float(bdtr(min(control_right, arm_right), control_right + arm_right, 0.5)))


def difference(counts: PairCounts) -> Estimate:
    """Accuracy of the arm minus that of the control, of independent pairs.

    It is (differ / pairs) * (arm_right - control_right) / labelled. The variance is that of a product of two
    rates (delta method). When all differing pairs have labels it is the sample variance of the values -1, 0
    and 1, one a pair, divided by their number.
    """
    signed = counts.arm_right - counts.control_right
    if not counts.labelled:
        return Estimate(estimate=0.0, variance=0.0, n=counts.pairs)
    share, gain = counts.differ / counts.pairs, signed / counts.labelled
    decided = (counts.control_right + counts.arm_right) / counts.labelled
    squares = gain**2 * share * (1 - share) / counts.pairs + share**2 * (decided - gain**2) / counts.labelled
    return Estimate(
        estimate=share * gain,
        variance=ratio_variance(counts.pairs, squares, share * decided / counts.pairs)
        + _unlabelled(counts.differ, counts.labelled, share, gain),
        n=counts.pairs,
    )


def clustered_difference(sums: PairSums) -> Estimate:
    """Accuracy of the arm minus that of the control, of units that give several pairs each.

    The same product of two ratios of sums over units; its variance is that of the linearised contributions
    gain / pairs * (d_u - share p_u) + share / labelled * (s_u - gain l_u) of the units (Deng, Knoblich and Lu
    2018, arXiv 1803.06336, section 3).
    """
    if not sums.labelled:
        return Estimate(estimate=0.0, variance=0.0, n=sums.units)
    share, gain = sums.differ / sums.pairs, sums.signed / sums.labelled
    disagreeing = sums.dd - 2 * share * sums.pd + share**2 * sums.pp
    crossed = sums.ds - gain * sums.dl - share * sums.ps + share * gain * sums.pl
    winning = sums.ss - 2 * gain * sums.ls + gain**2 * sums.ll
    by_share, by_gain = gain / sums.pairs, share / sums.labelled
    squares = by_share**2 * disagreeing + 2 * by_share * by_gain * crossed + by_gain**2 * winning
    scale = by_share**2 * (sums.dd + share**2 * sums.pp) + by_gain**2 * (sums.ss + gain**2 * sums.ll)
    return Estimate(
        estimate=share * gain,
        variance=ratio_variance(sums.units, squares, scale)
        + _unlabelled(sums.differ, sums.labelled, share, gain),
        n=sums.units,
    )


def mean_difference(units: UnitSums) -> Estimate:
    """The mean of differences measured on each pair, for instance of Brier scores: x_u are their sums."""
    return Estimate(estimate=units.mean, variance=units.variance, n=units.units)


def _check(control_right: int, arm_right: int) -> None:
    if min(control_right, arm_right) < 0:
        raise ValueError(f"control_right is {control_right}, arm_right {arm_right}, must be at least 0")


def _unlabelled(differ: float, labelled: float, share: float, gain: float) -> float:
    """Variance that missing labels add over what the labelled ones show.

    The first few labels often all say the same, and then show no variance at all. So the missing ones count
    as if two more had been given, one for each arm (after Agresti and Coull 1998).
    """
    shrunk = gain * labelled / (labelled + 2)
    return share**2 * (gain**2 - shrunk**2) * (1 / labelled - 1 / differ)
