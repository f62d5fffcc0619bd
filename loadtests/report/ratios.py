"""The ratio of a figure to the same figure of other runs, with an interval from those of all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtests.report.document import Figure
from loadtests.report.windows import Ends

FAILURES = "failures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two values: its logarithm, and how far down and up its 95 % interval reaches from there."""

    log: float
    down: float
    up: float

    @classmethod
    def of(cls, figure: Figure) -> Side | None:
        """Of a figure; of failures it is their complement, the good replies, which are never none of many.

        Returns:
            None without an interval, or where it reaches 0.
        """
        if figure.value is None or figure.low is None or figure.high is None:
            return None
        ends = (figure.low, figure.value, figure.high)
        if figure.name == FAILURES:
            ends = (1 - figure.high, 1 - figure.value, 1 - figure.low)
        if ends[0] <= 0:
            return None
        low, value, high = map(math.log, ends)
        return cls(log=value, down=value - low, up=high - value)

    @property
    def value(self) -> float:
        """It, and not its logarithm."""
        return math.exp(self.log)


def mean(sides: Sequence[Side]) -> Side:
    """The geometric mean of independent values; at least one."""
    return Side(
        log=float(np.mean([side.log for side in sides])),
        down=math.hypot(*(side.down for side in sides)) / len(sides),
        up=math.hypot(*(side.up for side in sides)) / len(sides),
    )


def ratio(now: Side, before: Side, scale: float) -> Ends:
    """Logarithms of the interval of now / before, by MOVER.

    Zou and Donner 2008 (Statistics in Medicine 27(10), 1693 to 1702), equations for a difference, here of
    logarithms: each end is off by the root of the summed squares of what the two intervals allow.

    Args:
        now: Independent of `before`.
        before: What it is divided by.
        scale: Of the interval: 1 for 95 %, more for a higher level.
    """
    difference = now.log - before.log
    return Ends(
        low=difference - scale * math.hypot(now.down, before.up),
        high=difference + scale * math.hypot(now.up, before.down),
    )
