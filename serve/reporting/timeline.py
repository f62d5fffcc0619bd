"""The ramp and the acts over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from serve.reporting.axis import time_axis
from serve.reporting.canvas import COLOURS, INK, PAPER, QUIET, canvas, grid, inline

_SHADE = COLOURS[1]
_LEVELS = (1.08, 1.22, 1.36)
_HEIGHT = 1.5
_MOST_NAMED = 12
_LIVE = frozenset({"running", "paused"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One version of the experiment.

    Attributes:
        number: Of the version; written beside its mark, as in the table.
        at: Unix time from which it held.
        state: After it.
        ramp: Enrolled share after it, from 0 to 1.
    """

    number: int
    at: float
    act: str
    state: str
    ramp: float


def draw_timeline(events: Sequence[Event], until: float) -> Markup:
    """The enrolled share as a line, hatched while paused, and a numbered mark for every version."""
    with canvas(2.3) as figure:
        axes = figure.add_subplot()
        _ramp(axes, events, until)
        _marks(axes, events)
        time_axis(axes, events[0].at, until)
        axes.set_ylim(0, _HEIGHT)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.set_ylabel("enrolled units", y=1 / _HEIGHT / 2)
        grid(axes)
        return inline(
            figure,
            name="timeline",
            title="Enrolled share of the units over time",
            description="; ".join(
                f"version {e.number}: {e.act}, enrolled {e.ramp:.0%}" for e in events[-30:]
            ),
        )


def _ramp(axes: Axes, events: Sequence[Event], until: float) -> None:
    ends = [*(event.at for event in events[1:]), max(until, events[-1].at)]
    for event, end in zip(events, ends, strict=True):
        if event.state not in _LIVE or end <= event.at:
            continue
        paused = event.state == "paused"
        axes.fill_between(
            [event.at, end],
            event.ramp,
            facecolor="none" if paused else _SHADE,
            edgecolor=QUIET if paused else "none",
            hatch="////" if paused else None,
            alpha=0.5 if paused else 0.18,
            linewidth=0,
        )
        axes.hlines(event.ramp, event.at, end, color=QUIET if paused else _SHADE, linewidth=2)


def _marks(axes: Axes, events: Sequence[Event]) -> None:
    named = len(events) <= _MOST_NAMED
    for place, event in enumerate(events):
        level = _LEVELS[place % len(_LEVELS)]
        axes.vlines(event.at, 0, level, color=INK, linewidth=0.7, linestyle=(0, (2, 2)))
        axes.text(
            event.at,
            level,
            f"{event.number} {event.act}" if named else str(event.number),
            ha="left" if named else "center",
            va="center",
            fontsize=7.5,
            color=PAPER,
            clip_on=False,
            bbox={"boxstyle": "round,pad=0.3", "facecolor": INK, "edgecolor": "none"},
        )
