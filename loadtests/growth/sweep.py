"""One quantity that grows, what was measured of it, and the line of theory beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtests.bench.goal import Spread
from loadtests.growth.laws import residual

_DRAWN: Final = 100  # points of a line


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A measured figure over what grows.

    Attributes:
        name: Of the figure.
        unit: Of its values.
        found: As often as it was measured at each place.
        theory: Values of the line at the same places; None: there is none.
        drawn: Points of the line, near enough to each other for a drawing.
        law: What the line is, with its parameters.
        bound: Whether the line is a bound, which is not exceeded, instead of a forecast.
    """

    name: str
    unit: str
    found: tuple[Spread, ...]
    theory: tuple[float, ...] | None = None
    drawn: tuple[tuple[float, float], ...] = ()
    law: str = ""
    bound: bool = False

    @property
    def medians(self) -> list[float]:
        """Of each place."""
        return [spread.median for spread in self.found]

    @property
    def residual(self) -> float | None:
        """Largest relative distance from the line, with its sign; None without a line."""
        return None if self.theory is None else residual(self.medians, self.theory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What was measured while one quantity grew.

    Attributes:
        name: Short, for options and files.
        title: For people.
        over: What grows.
        at: Its values, ascending.
        curves: Over it.
        remarks: What has to be known to judge them.
    """

    name: str
    title: str
    over: str
    at: tuple[float, ...]
    curves: tuple[Curve, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A line of theory.

    Attributes:
        says: What it is, with its parameters.
        line: Its height at a place.
        bound: Whether it is a bound, which is not exceeded, instead of a forecast.
    """

    says: str
    line: Callable[[float], float]
    bound: bool = False


def curve(name: str, unit: str, found: Sequence[Spread], law: Law, at: Sequence[float]) -> Curve:
    """A figure with a line of theory.

    Args:
        name: Of the figure.
        unit: Of its values.
        found: What was measured at each place.
        law: The line.
        at: The places, above 0, ascending.
    """
    places = np.geomspace(at[0], at[-1], _DRAWN).tolist()
    return Curve(
        name=name,
        unit=unit,
        found=tuple(found),
        theory=tuple(map(law.line, at)),
        drawn=tuple((place, law.line(place)) for place in places),
        law=law.says,
        bound=law.bound,
    )
