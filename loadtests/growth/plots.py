"""Sweeps as drawings, in the style of the project's reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from loadtests.growth.sweep import Curve, Sweep
from serve.reporting.canvas import COLOURS, INK, QUIET, canvas, grid

_WIDE: Final = 8.0  # a range of values that needs a logarithmic axis
_HEIGHT: Final = 2.7  # of a row, inches
_COLUMNS: Final = 2


def draw(sweeps: Sequence[Sweep], path: Path) -> None:
    """Draw every curve of every sweep in a field of its own.

    Args:
        sweeps: At least one.
        path: Where to write it; its ending (.svg, .png, .pdf) says how.
    """
    fields = [(sweep, curve) for sweep in sweeps for curve in sweep.curves]
    rows = -(-len(fields) // _COLUMNS)
    with canvas(_HEIGHT * rows) as figure:
        grid_of_axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel().tolist()
        for axes, (sweep, curve) in zip(grid_of_axes, fields, strict=False):
            _field(axes, sweep, curve)
        for axes in grid_of_axes[len(fields) :]:
            axes.set_axis_off()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160)


def _field(axes: Axes, sweep: Sweep, curve: Curve) -> None:
    medians = curve.medians
    whiskers = (
        [found.median - found.least for found in curve.found],
        [found.most - found.median for found in curve.found],
    )
    axes.errorbar(
        sweep.at,
        medians,
        yerr=whiskers,
        color=COLOURS[1],
        linestyle="none",
        marker="o",
        markersize=4.5,
        capsize=2.5,
        label="measured",
    )
    if curve.theory is not None:
        label = "bound" if curve.bound else "line of theory"
        axes.plot(
            *zip(*curve.drawn, strict=True), color=INK, linewidth=1.1, linestyle=(0, (5, 2)), label=label
        )
    axes.set_title(f"{curve.name}, {curve.unit}", fontsize=9, color=INK, loc="left")
    axes.set_xlabel(sweep.over)
    ends = [end for found in curve.found for end in (found.least, found.most)]
    values = [*ends, *(curve.theory or ())]
    _scale(axes, sweep.at, values)
    grid(axes, "both")
    axes.legend(loc="best", labelcolor=QUIET)


def _scale(axes: Axes, at: Sequence[float], values: Sequence[float]) -> None:
    """Logarithmic where the values span much; from 0 otherwise."""
    plain = FuncFormatter(lambda value, _: f"{value:,g}")
    for axis, found, log in (
        (axes.xaxis, at, axes.set_xscale),
        (axes.yaxis, values, axes.set_yscale),
    ):
        if min(found) > 0 and max(found) / min(found) > _WIDE:
            log("log")
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(plain)
            axis.set_minor_formatter(NullFormatter())
        elif axis is axes.yaxis:
            axes.set_ylim(0, 1.15 * max(found))
        else:
            axis.set_major_locator(MaxNLocator(integer=True))
