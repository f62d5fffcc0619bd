"""The difference from the control over time, as those who looked were shown it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes

from serve.reporting.axis import time_axis
from serve.reporting.canvas import INK, PAPER, QUIET, canvas, colour, grid, inline, thinned
from serve.reporting.figures import setting
from serve.reporting.node import short

MOST_MARKS = 12
# Of the width.
_ROOM_FOR_WORDS = 0.18
_ON_PAPER = {"boxstyle": "square,pad=0.15", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.7}
_AXES = {"difference": "{arm} minus {control}", "ratio": "{arm} ÷ {control} − 1", "share": "{metric}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One look; nan where nothing was known.

    Attributes:
        at: Unix time.
        low: Of the interval that holds at every look.
        fixed_low: Of the one that holds at a single look.
    """

    at: float
    estimate: float
    low: float
    high: float
    fixed_low: float
    fixed_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """What is drawn of one arm.

    Attributes:
        index: Of the arm, from 1.
        kind: What the figures are: difference, ratio or share.
        points: By time, at least one; values in `unit`.
        margin: The smallest difference worth acting on, in `unit`.
        unit: Of the vertical axis.
        marks: What happened when: a ramp, a pause.
    """

    index: int
    arm: str
    control: str
    metric: str
    kind: str
    points: Sequence[Point]
    margin: float | None
    unit: str
    marks: Sequence[tuple[float, str]] = ()


def draw_lift(lift: Lift) -> Markup:
    """The estimate, its band, the fixed interval for comparison, the margin, and the marks."""
    points = thinned(lift.points)
    names = {"arm": short(lift.arm, 24), "control": short(lift.control, 24), "metric": short(lift.metric, 40)}
    with canvas(3.7) as figure:
        axes = figure.add_subplot()
        _estimate(axes, points, colour(lift.index))
        _band(axes, points, colour(lift.index))
        _margin(axes, lift)
        marks = [mark for mark in lift.marks if mark[0] <= points[-1].at][-MOST_MARKS:]
        first = min([points[0].at, *(at for at, _ in marks)])
        time_axis(axes, first, points[-1].at)
        axes.set_ylim(*_limits(points, lift.margin))
        _marks(axes, marks)
        _before(axes, first, points)
        axes.set_ylabel(f"{_AXES.get(lift.kind, '{metric}').format(**names)} ({lift.unit})")
        grid(axes)
        figure.legend(loc="outside upper left", ncols=4)
        return inline(
            figure,
            name=f"lift{lift.index}",
            title=f"{lift.metric}: {names['arm']} against {names['control']} over time",
            description=_description(lift),
        )


def _margin(axes: Axes, lift: Lift) -> None:
    axes.axhline(0, color=INK, linewidth=0.9)
    if lift.margin is None:
        return
    for value, label in (
        (lift.margin, f"margin (±{setting(lift.margin)} {lift.unit})"),
        (-lift.margin, None),
    ):
        axes.axhline(value, color=QUIET, linewidth=1, linestyle=(0, (1, 2)), label=label)


def _band(axes: Axes, points: Sequence[Point], shade: str) -> None:
    times = [point.at for point in points]
    lows, highs = [point.low for point in points], [point.high for point in points]
    axes.fill_between(times, lows, highs, color=shade, alpha=0.16, linewidth=0, label="holds at every look")
    for ends, label in (
        ([point.fixed_low for point in points], "holds at one look only"),
        ([point.fixed_high for point in points], None),
    ):
        axes.plot(times, ends, color=shade, linewidth=0.9, linestyle=(0, (5, 3)), label=label)
    if len(points) == 1:  # nothing to fill between
        axes.vlines(times, lows, highs, color=shade, linewidth=5, alpha=0.25)


def _estimate(axes: Axes, points: Sequence[Point], shade: str) -> None:
    times = [point.at for point in points]
    axes.plot(times, [point.estimate for point in points], color=shade, linewidth=2, label="estimate")
    axes.plot(times[-1], points[-1].estimate, marker="o", markersize=6, color=shade, markeredgecolor="white")


def _limits(points: Sequence[Point], margin: float | None) -> tuple[float, float]:
    """So that the later looks fill the height: the first intervals are wider than any page."""
    later = points[len(points) // 5 :]
    ends = [value for point in later for value in (point.low, point.high, point.estimate)]
    ends += [0.0] if margin is None else [-1.3 * margin, 1.3 * margin]
    low, high = min(ends), max(ends)
    room = 0.1 * (high - low) or 1.0
    return low - room, high + room


def _marks(axes: Axes, marks: Sequence[tuple[float, str]]) -> None:
    for place, (at, label) in enumerate(marks):
        axes.axvline(at, color=QUIET, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.annotate(
            short(label, 24),
            (at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2 - 10 * (place % 3)),
            textcoords="offset points",
            fontsize=7.5,
            color=QUIET,
            va="top",
            bbox=_ON_PAPER,
        )


def _before(axes: Axes, first: float, points: Sequence[Point]) -> None:
    """Say why nothing is drawn before the first interval, where there is room to."""
    until, last = points[0].at, points[-1].at
    if until - first > _ROOM_FOR_WORDS * (last - first):
        axes.text(
            (first + until) / 2,
            0.06,
            "not enough data yet",
            transform=axes.get_xaxis_transform(),
            ha="center",
            fontsize=8,
            color=QUIET,
            bbox=_ON_PAPER,
        )


def _description(lift: Lift) -> str:
    last = lift.points[-1]
    fixed = (
        ""
        if math.isnan(last.fixed_low)
        else f" (at one look only: {last.fixed_low:.2f} to {last.fixed_high:.2f})"
    )
    return (
        f"A line in a band that narrows over {len(lift.points)} looks. At the last one the estimate is "
        f"{last.estimate:.2f} {lift.unit}; the interval that holds at every look reaches from "
        f"{last.low:.2f} to {last.high:.2f} {lift.unit}{fixed}."
    )
