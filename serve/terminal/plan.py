"""A plan for a terminal: what an experiment needs before it can answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from serve.reporting.figures import NONE, count
from serve.reporting.node import Node
from serve.terminal.saying import say, table


def show_plan(console: Console, document: Mapping[str, Any], traffic: str = "") -> None:
    """Print a plan as REST gives it.

    Args:
        console: Where to.
        document: See `serve.core.planning.SizePlan`.
        traffic: A sentence on where its days come from, or on why there are none.
    """
    plan = Node(document)
    scale = "%" if plan.text("metric").startswith("latency") else "points"
    cells = [
        (
            words,
            _difference(plan.number(difference), scale),
            count(plan.number(units)),
            _days(plan.number(days)),
        )
        for words, (difference, units, days) in _NEEDS.items()
    ]
    table(console, ("", "difference", "units", "days"), cells)
    for sentence in (*plan.texts("sentences"), traffic):
        if sentence:
            say(console, sentence)


def _days(days: float | None) -> str:
    return NONE if days is None else f"{days:,.1f}"


def _difference(share: float | None, scale: str) -> str:
    return NONE if share is None else f"{100 * share:.3g} {scale}"


_NEEDS: Mapping[str, tuple[str, str, str]] = {
    "looking at any time": ("effect", "units", "days"),
    "with a single look at the end": ("effect", "units_fixed", "days_fixed"),
    "with the design's planned units": ("detectable", "planned_units", "planned_days"),
}
