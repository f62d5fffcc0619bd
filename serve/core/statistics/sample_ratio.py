"""Whether units reached the arms in the shares that were configured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln, xlogy


def sample_ratio_log_e(counts: Sequence[int], weights: Sequence[int], k: float = 1000.0) -> float:
    """Log e-value against "each unit got its arm by these weights".

    The likelihood ratio of the counts, mixed over a Dirichlet distribution with the concentration k around
    the weights: Lindon and Malek 2022 (arXiv 2011.03567), section 2. Exact at every look. Over phases with
    different weights the log e-values add up.

    Args:
        counts: Units, not requests, of each arm.
        weights: The configured share of each arm, in any unit.
        k: The larger, the smaller the mismatch for which the test is sharpest.

    Returns:
        inf when an arm with the weight 0 has units.

    Raises:
        ValueError: The numbers do not belong together, or one is out of range.
    """
    if len(counts) != len(weights) or min((0, *counts, *weights)) < 0 or sum(weights) <= 0:
        raise ValueError(f"counts {list(counts)} and weights {list(weights)} must be as many, and at least 0")
    if not k > 0:
        raise ValueError(f"k is {k}, must be above 0")
    n, theta = np.array(counts, dtype=float), np.array(weights, dtype=float) / sum(weights)
    if np.any((theta == 0) & (n > 0)):
        return math.inf
    n, prior = n[theta > 0], k * theta[theta > 0]
    arms = gammaln(prior + n) - gammaln(prior) - xlogy(n, theta[theta > 0])
    total = n.sum()
    return float(arms.sum() + gammaln(k) - gammaln(k + total))
