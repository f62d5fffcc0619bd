"""Quantiles of many durations in little memory."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

_PER_DOUBLING: Final = 32  # so that a quantile is off by 1.1 % at most
_LEAST_S: Final = 1e-6


class Latencies:
    """Counts durations in steps that grow with them."""

    def __init__(self) -> None:
        self.count = 0
        self._steps: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self._steps[round(_PER_DOUBLING * math.log2(max(seconds, _LEAST_S)))] += 1

    def quantile(self, share: float) -> float:
        """Seconds within which that share of all was done; 0 when there is none."""
        left = share * self.count
        for step, count in sorted(self._steps.items()):
            left -= count
            if left <= 0:
                return float(2 ** (step / _PER_DOUBLING))
        return 0.0
