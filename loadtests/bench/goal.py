"""Figures beside their goals: the same table for every benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The same figure, measured several times."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        known = list(values)
        return cls(least=min(known), median=statistics.median(known), most=max(known))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure, what it shall be, and whether it is."""

    what: str
    least: float
    median: float
    most: float
    goal: str
    reached: bool


def at_least(what: str, found: Spread, bound: float) -> Goal:
    """The median decides."""
    return _goal(what, found, f"at least {bound:g}", reached=found.median >= bound)


def at_most(what: str, found: Spread, bound: float) -> Goal:
    """As above."""
    return _goal(what, found, f"at most {bound:g}", reached=found.median <= bound)


def under(what: str, found: Spread, bound: float) -> Goal:
    """As above."""
    return _goal(what, found, f"under {bound:g}", reached=found.median < bound)


def show_goals(rows: Sequence[Goal], console: Console, title: str = "Goals") -> None:
    """Print the table; nothing where there is no goal."""
    if not rows:
        return
    table = Table("figure", "min", "median", "max", "goal", "", title=title)
    for row in rows:
        figures = (f"{value:.2f}" for value in (row.least, row.median, row.most))
        mark = "[green]reached[/]" if row.reached else "[red]not reached[/]"
        table.add_row(row.what, *figures, row.goal, mark)
    console.print(table)


def _goal(what: str, found: Spread, goal: str, *, reached: bool) -> Goal:
    return Goal(
        what=what, least=found.least, median=found.median, most=found.most, goal=goal, reached=reached
    )
