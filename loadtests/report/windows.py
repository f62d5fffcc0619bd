"""Windows of a second, and a run drawn again from them: what chance does to its figures.

Requests that are near in time share a queue, a batch and a busy machine, so that they are no independent
observations, and intervals that take them for independent are too narrow. Whole stretches of neighbouring
windows are therefore drawn again: the circular block bootstrap of Politis and Romano (1992, in LePage and
Billard, Exploring the Limits of Bootstrap, pages 263 to 270). The windows of a phase are drawn from the same
phase, since it is no chance how many seconds had which load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import norm, t

from loadtests.exchanges import Floats, Ints, Mask

RESAMPLES: Final = 2000
FEWEST_WINDOWS: Final = 8  # of one phase
_FEWEST_FREEDOM: Final = 3  # which these leave; with fewer Student's t makes intervals of any width
_MOST_WINDOWS: Final = 600  # a soak of hours has longer ones, so that its report takes no longer
_SEED: Final = 1992  # fixed: a report follows from its run


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time, in Unix seconds; `ends` is later than `begins` and no part of it."""

    begins: float
    ends: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.ends - self.begins

    def covers(self, times: Floats) -> Mask:
        """Which times lie in it."""
        return np.asarray((times >= self.begins) & (times < self.ends), np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """W windows of about a second, without a gap.

    Attributes:
        edges: W + 1 Unix times, ascending.
        counts: How many windows each phase has, in order; together W.
    """

    edges: Floats
    counts: tuple[int, ...]

    @classmethod
    def of(cls, phases: Sequence[Span]) -> Windows:
        """Cut phases into windows: of a second, or a little more so that they are equal within a phase.

        Args:
            phases: At least one, in order.
        """
        width = max(1.0, sum(phase.seconds for phase in phases) / _MOST_WINDOWS)
        counts = tuple(max(1, math.floor(phase.seconds / width + 1e-9)) for phase in phases)
        begins = [
            np.linspace(phase.begins, phase.ends, count, endpoint=False)
            for phase, count in zip(phases, counts, strict=True)
        ]
        return cls(edges=np.concatenate([*begins, [phases[-1].ends]]), counts=counts)

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def span(self) -> Span:
        """From the first window's begin to the last one's end."""
        return Span(begins=float(self.edges[0]), ends=float(self.edges[-1]))

    def of_times(self, times: Floats) -> Ints:
        """The window of each time; of one outside, the nearest."""
        return np.clip(np.searchsorted(self.edges, times, side="right") - 1, 0, len(self) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Of an interval, as logarithms."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """A run drawn again `RESAMPLES` times.

    Attributes:
        windows: W of them.
        draws: Float64 [RESAMPLES, W]: how often each window is in each resample; [0, W] with too few for
            an interval.
        blocks: How many blocks the windows make, of all phases together.
    """

    windows: Windows
    draws: Floats
    blocks: float

    @classmethod
    def of(cls, windows: Windows) -> Bootstrap:
        """Draw."""
        blocks = sum(count / _block(count) for count in windows.counts)
        if blocks - len(windows.counts) < _FEWEST_FREEDOM:
            return cls(windows=windows, draws=np.empty((0, len(windows))), blocks=blocks)
        generator = np.random.default_rng(_SEED)
        draws = [_multiplicities(count, generator) for count in windows.counts]
        return cls(windows=windows, draws=np.hstack(draws), blocks=blocks)

    @property
    def enough(self) -> bool:
        """Whether there are windows enough for an interval."""
        return len(self.draws) > 0

    @property
    def freedom(self) -> float:
        """Degrees of freedom: the blocks less one a phase, whose mean each takes up."""
        return self.blocks - len(self.windows.counts)

    def widening(self, level: float) -> float:
        """How much wider than the resamples' own an interval has to be, at least 1.

        Resamples of k blocks spread by sqrt((k - 1) / k) too little, and a normal quantile takes their spread
        for known: both after Hesterberg 2015 (What Teachers Should Know About the Bootstrap, The American
        Statistician 69(4)), who widens the percentile intervals of small samples so.

        Args:
            level: Of the interval, such as 0.95.
        """
        tail = (1 + level) / 2
        few = math.sqrt(self.blocks / self.freedom)
        return few * float(t.ppf(tail, self.freedom) / norm.ppf(tail))

    def interval(self, logs: Floats, value: float, *, level: float, rounding: float) -> Ends | None:
        """The percentile interval of a figure's logarithm, widened about the figure itself.

        Args:
            logs: Float64 [RESAMPLES]: logarithms of the figure in each resample.
            value: Logarithm of the figure as it was measured, which the interval always holds.
            level: Of the interval, such as 0.95.
            rounding: How far off each of `logs` may be; the interval grows by it.

        Returns:
            None where there are no resamples, or some that leave an end open.
        """
        if not self.enough:
            return None
        ordered = np.sort(logs)
        low, high = (ordered[math.ceil(tail * RESAMPLES) - 1] for tail in ((1 - level) / 2, (1 + level) / 2))
        if not (math.isfinite(low) and math.isfinite(high)):
            return None
        widening = self.widening(level)
        return Ends(
            low=min(value, value + widening * (float(low) - value)) - rounding,
            high=max(value, value + widening * (float(high) - value)) + rounding,
        )


def _block(windows: int) -> int:
    """Windows in a block: n^(1/3), the order that Hall, Horowitz and Jing (Biometrika 1995) find best.

    Theirs is that for variances; for distributions it is n^(1/4) or less, which leaves out more of what makes
    neighbours alike.
    """
    return max(1, round(math.cbrt(windows)))


def _multiplicities(windows: int, generator: np.random.Generator) -> Floats:
    """How often each window of one phase is drawn: float64 [RESAMPLES, windows], each row sums to windows."""
    block = _block(windows)
    starts = generator.integers(windows, size=(RESAMPLES, math.ceil(windows / block), 1))
    drawn = ((starts + np.arange(block)) % windows).reshape(RESAMPLES, -1)[:, :windows]
    cells = drawn + windows * np.arange(RESAMPLES)[:, None]
    counted = np.bincount(cells.ravel(), minlength=RESAMPLES * windows)
    return counted.reshape(RESAMPLES, windows).astype(np.float64)
