"""Which of many hypotheses to reject."""

from __future__ import annotations

import math
from collections.abc import Sequence


def e_bh(log_es: Sequence[float], q: float) -> frozenset[int]:
    """The places of the hypotheses that e-BH rejects, with a false discovery rate of at most `q`.

    The k largest are rejected, for the largest k with k e_(k) >= m / q: Wang and Ramdas 2022 (arXiv
    2009.02824). Valid however the e-values depend on each other, and at every look.

    Args:
        log_es: One log e-value a hypothesis.
        q: Between 0 and 1.

    Raises:
        ValueError: `q` is out of range.
    """
    if not 0 < q < 1:
        raise ValueError(f"q is {q}, must be between 0 and 1")
    order = sorted(range(len(log_es)), key=lambda place: -log_es[place])
    needed = math.log(len(log_es) / q) if log_es else 0.0
    passing = [k for k, place in enumerate(order, 1) if log_es[place] + math.log(k) >= needed]
    return frozenset(order[: passing[-1]]) if passing else frozenset()
