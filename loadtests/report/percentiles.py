"""Percentiles of durations, and how they vary when windows of the run are drawn again.

A failed request counts as slower than every answer (its duration is infinite): "p99 is 80 ms" says that 99 %
of all requests had their right reply within 80 ms. Nobody gains by failing fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtests.exchanges import Floats, Ints

BIN_WIDTH: Final = math.log(1.005)  # of a duration's logarithm: bins 0.5 % wide
_SHORTEST_MS: Final = 1e-3
_TAIL: Final = 10  # requests that have to lie beyond a percentile
_ROUNDING: Final = 1e-6  # of q times a whole number: 0.99 * 1000 is to be 990


def fewest(q: float) -> int:
    """How many requests a percentile needs: 10 / (1 - q), so that about ten lie beyond it."""
    return math.ceil(_TAIL / (1 - q) - _ROUNDING)


def percentiles(durations: Floats, qs: Sequence[float]) -> list[float]:
    """For each share q the smallest of N durations that at least q N of them do not exceed.

    Always one that was measured, or inf; never a value between two.
    """
    ordered = np.sort(durations)
    return [float(ordered[math.ceil(q * len(ordered) - _ROUNDING) - 1]) for q in qs]


def logarithm(milliseconds: float) -> float:
    """Of a duration, of a microsecond at least."""
    return math.log(max(milliseconds, _SHORTEST_MS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Histograms:
    """Durations by window and bin.

    Attributes:
        counts: Float64 [W, bins]; the last bin holds the infinite ones.
        first: Bin number of the first: bin b holds durations of b to b + 1 `BIN_WIDTH`, as logarithms of ms.
    """

    counts: Floats
    first: int

    @classmethod
    def of(cls, durations: Floats, at: Ints, windows: int) -> Histograms:
        """Count.

        Args:
            durations: N in ms, infinite for those that failed; at least one.
            at: The window of each.
            windows: How many there are.
        """
        finite = np.isfinite(durations)
        logs = np.log(np.maximum(durations[finite], _SHORTEST_MS)) / BIN_WIDTH
        numbers = np.floor(logs).astype(np.int64)
        first, last = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
        bins = last - first + 2
        columns = np.full(len(durations), bins - 1)
        columns[finite] = numbers - first
        counts = np.bincount(at * bins + columns, minlength=windows * bins)
        return cls(counts=counts.reshape(windows, bins).astype(np.float64), first=first)

    def logs(self, draws: Floats, qs: Sequence[float]) -> Floats:
        """Logarithms of percentiles (of ms), each its bin's middle, inf where it falls among the failed.

        Args:
            draws: [R, W] how often each window counts.
            qs: Q shares, each between 0 and 1.

        Returns:
            Float64 [Q, R]; NaN where a resample holds no request.
        """
        # Single precision is exact for whole numbers up to 2^24, and twice as fast.
        below = draws.astype(np.float32) @ np.cumsum(self.counts, axis=1).astype(np.float32)
        total = below[:, -1].astype(np.float64)
        middles = (self.first + 0.5 + np.arange(below.shape[1])) * BIN_WIDTH
        middles[-1] = math.inf
        needed = [np.ceil(q * total - _ROUNDING).astype(np.float32) for q in qs]
        found = np.stack([middles[(below >= count[:, None]).argmax(axis=1)] for count in needed])
        return np.where(total > 0, found, np.nan)
