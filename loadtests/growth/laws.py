"""The lines that theory gives, and how far measurements are from them.

All fits are by least squares of relative deviations: what is small counts as much as what is large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """y = a + c x.

    Attributes:
        a: At x = 0.
        c: For each x.
    """

    a: float
    c: float

    def at(self, x: float) -> float:
        """Its height there."""
        return self.a + self.c * x

    @classmethod
    def through(cls, x: Sequence[float], y: Sequence[float]) -> Line:
        """Fit a line; a single point, or the same x throughout, gives the constant.

        Args:
            x: Where.
            y: What was measured there, above 0.
        """
        if len(set(x)) < 2:  # noqa: PLR2004  no slope can be told
            return cls.constant(y)
        weights = 1 / np.asarray(y, float)
        rows = np.stack([weights, weights * np.asarray(x, float)], axis=1)
        a, c = np.linalg.lstsq(rows, np.ones(len(x)), rcond=None)[0]
        return cls(a=float(a), c=float(c))

    @classmethod
    def constant(cls, y: Sequence[float]) -> Line:
        """Fit y = a."""
        weights = 1 / np.asarray(y, float)
        return cls(a=float(weights.sum() / (weights**2).sum()), c=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amdahl:
    """Throughput of n workers: rate / (serial + (1 - serial) / n) (Amdahl 1967, "Validity of the single
    processor approach to achieving large scale computing capabilities").

    Attributes:
        rate: Of one worker.
        serial: Share of the work that no further worker makes faster; below 0: more than proportional.
    """  # noqa: D205  the title does not fit

    rate: float
    serial: float

    def at(self, workers: float) -> float:
        """Throughput of so many."""
        return self.rate / (self.serial + (1 - self.serial) / workers)

    @classmethod
    def through(cls, workers: Sequence[float], rates: Sequence[float]) -> Amdahl:
        """Fit it: 1 / throughput is a straight line over 1 / n."""
        line = Line.through([1 / number for number in workers], [1 / rate for rate in rates])
        alone = line.at(1.0)
        return cls(rate=1 / alone, serial=line.a / alone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What no closed system exceeds (Denning & Buzen 1978, "The operational analysis of queueing network
    models", ACM Computing Surveys 10(3), section on bottleneck analysis), without think time.

    Attributes:
        alone_s: Response time R of a caller who is alone.
        demand_s: Time D that the bottleneck needs for a request at least.
    """  # noqa: D205  the title does not fit

    alone_s: float
    demand_s: float

    def rate(self, callers: float) -> float:
        """Most requests a second: X <= min(N / R, 1 / D)."""
        return min(callers / self.alone_s, 1 / self.demand_s)

    def response_s(self, callers: float) -> float:
        """Least response time: max(R, N D)."""
        return max(self.alone_s, callers * self.demand_s)

    @property
    def knee(self) -> float:
        """Callers at which the bottleneck becomes the limit: R / D."""
        return self.alone_s / self.demand_s


def little(rate: float, mean_s: float) -> float:
    """How many are in a system through which so many go a second, each for so long: N = X R (Little 1961)."""
    return rate * mean_s


def residual(measured: Sequence[float], theory: Sequence[float]) -> float:
    """Largest relative deviation of what was measured from what theory says, with its sign."""
    misses = [found / said - 1 for found, said in zip(measured, theory, strict=True)]
    return max(misses, key=abs)
