"""What the plots of a report have in common: colours, axes, and how points become lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from loadtests.report.document import Report, Step
from loadtests.report.written import PERCENTILE_NAMES
from serve.reporting.canvas import COLOURS, QUIET
from serve.reporting.figures import setting
from serve.reporting.node import short

# Darker the higher: the lines never cross, so that their order tells them apart without colours, too.
SHADES: Final = dict(
    zip(PERCENTILE_NAMES, ("#2a9d8f", "#2f7fc1", "#3f4fb0", "#7a2f93", "#3d0a30"), strict=True)
)
SERVICE: Final = COLOURS[2]
BROKEN: Final = "#a3231b"
BROKEN_TINT: Final = "#fbe3e0"
HIDDEN_TINT: Final = "#fdebc8"
MOST_BINS: Final = 240
_MINUTE, _HOUR = 60.0, 3_600.0
_MOST_LETTERS: Final = 110  # beside each other above a plot
_DECADE: Final = 10.0


def number(value: float | None) -> float:
    """For a line: nan leaves a gap."""
    return math.nan if value is None else value


def line(axes: Axes, at: Sequence[float], values: Iterable[float | None], **style: object) -> None:
    """A line with gaps where nothing is known; a point between two gaps is a dot."""
    known = [number(value) for value in values]
    axes.plot(at, known, **style)  # type: ignore[arg-type]
    around = [math.nan, *known, math.nan]
    lonely = [
        place
        for place, value in enumerate(known)
        if not math.isnan(value) and math.isnan(around[place]) and math.isnan(around[place + 2])
    ]
    axes.plot(
        [at[place] for place in lonely],
        [known[place] for place in lonely],
        **{key: value for key, value in style.items() if key == "color"},  # type: ignore[arg-type]
        linestyle="none",
        marker="o",
        markersize=1.8,
    )


def time_axis(axes: Axes, report: Report, *, named: bool = True) -> None:
    """Make the horizontal axis one of the time since the run began; places on it are seconds."""
    seconds = max(1.0, report.seconds, *(step.ends for step in report.steps))
    size, unit = next(
        ((size, unit) for size, unit in ((_HOUR, "hours"), (_MINUTE, "minutes")) if seconds >= 5 * size),
        (1.0, "seconds"),
    )
    step = _step(seconds / size) * size
    ticks = [step * place for place in range(math.floor(seconds / step) + 1)]
    axes.set_xticks(ticks, [setting(at / size) for at in ticks])
    axes.set_xlim(-0.01 * seconds, 1.01 * seconds)
    if named:
        axes.set_xlabel(f"{unit} since the run began")


def log_axis(axes: Axes, values: Iterable[float | None]) -> None:
    """Make the vertical axis a logarithmic one of milliseconds that holds these values."""
    known = [value for value in values if value is not None and value > 0 and math.isfinite(value)]
    low, high = min(known, default=1.0), max(known, default=_DECADE)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.25, high * 1.25)
    wide = high / low > _DECADE**3
    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def mark_steps(axes: Axes, report: Report, *, named: bool = False) -> None:
    """Where each step begins, its name or load, and a tint where it was not carried."""
    in_full = sum(len(step.name) for step in report.steps) <= _MOST_LETTERS
    before = 0.0
    for step in report.steps:
        begins = _begins(step, before)
        if not step.kept:
            axes.axvspan(begins, step.ends, color=BROKEN_TINT, linewidth=0, zorder=0.5)
        if before:
            axes.axvline(begins, color=QUIET, linewidth=0.7, linestyle=(0, (1, 2)))
        if named:
            axes.annotate(
                short(step.name, _MOST_LETTERS) if in_full else setting(round(step.load, 1)),
                ((begins + step.ends) / 2, 1),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="bottom",
                fontsize=7.5,
                color=QUIET,
            )
        before = step.ends


def _begins(step: Step, before: float) -> float:
    """When it really begins, after the one before: its measured part may leave out its first fifth."""
    return max(before, step.begins - (step.ends - step.begins) / 4)


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are at most ten ticks."""
    power = _DECADE ** math.floor(math.log10(max(span, 1e-9) / _DECADE))
    return next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= _DECADE)
