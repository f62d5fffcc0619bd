"""A picture of the ratios: attnserve's rate over each peer's, a bar a peer, a panel a workload."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from loadtests.peers.catalogue import title
from loadtests.peers.found import Cell, Found, Ratio, cells, ratios
from loadtests.report.plots_shared import BROKEN
from serve.reporting.canvas import COLOURS, INK, canvas, grid

_AHEAD: Final = COLOURS[1]
_ROW, _PANEL = 0.24, 0.75  # inches
_TICKS: Final = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)


def draw(found: Found, path: Path) -> bool:
    """Write a picture, PNG or SVG as its name ends; False where nothing can be compared."""
    panels = [(cell, rows) for cell in cells(found) if (rows := ratios(found, cell))]
    if not panels:
        return False
    heights = [_PANEL + _ROW * len(rows) for _, rows in panels]
    with canvas(sum(heights)) as figure:
        _draw(figure, panels, heights)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    return True


def _draw(figure: Figure, panels: Sequence[tuple[Cell, list[Ratio]]], heights: list[float]) -> None:
    every = [value for _, rows in panels for row in rows for value in row.rounds]
    low, high = min(0.8, *every) / 1.1, max(1.25, *every) * 1.25
    shape = {"height_ratios": heights}
    places = figure.subplots(len(panels), 1, squeeze=False, sharex=True, gridspec_kw=shape)
    for (cell, rows), axes in zip(panels, places[:, 0], strict=True):
        _panel(axes, cell, rows)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_xticks([tick for tick in _TICKS if low <= tick <= high])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    places[-1, 0].set_xlabel(
        "attnserve's requests/s over the peer's (logarithmic); the line: from round to round"
    )


def _panel(axes: Axes, cell: Cell, rows: Sequence[Ratio]) -> None:
    for place, row in enumerate(rows):
        tone = _AHEAD if row.median >= 1 else BROKEN
        axes.barh(place, row.median - 1, left=1, height=0.62, color=tone, alpha=0.85)
        axes.hlines(place, min(row.rounds), max(row.rounds), color=INK, linewidth=1.2)
        axes.annotate(
            f"{row.median:.2f}",
            (max(1.0, *row.rounds), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.axvline(1, color=INK, linewidth=0.9)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [title(row.server) for row in rows])
    axes.set_title(f"{cell.workload}, callers: {cell.callers}", loc="left", fontsize=9)
    grid(axes, "x")
