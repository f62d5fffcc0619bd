"""Ratios with their intervals, one below the other, and how far they may be from 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from loadtests.report.document import Comparison
from loadtests.report.plots_shared import BROKEN
from loadtests.report.written import verdict
from serve.reporting.canvas import COLOURS, INK, canvas, grid, inline
from serve.reporting.node import short

MOST_ROWS: Final = 40
_TONES: Final = {"bad": BROKEN, "good": COLOURS[3], "even": COLOURS[1], "open": COLOURS[0]}
_BAND: Final = "#e3edf7"
_NEAR: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0)
_NEAREST: Final = (0.9, 0.95, 0.98, 1.0, 1.02, 1.05, 1.1)
_WIDE, _NARROW = 2.2, 1.12


def draw_ratios(name: str, title: str, comparisons: Sequence[Comparison]) -> Markup | None:
    """The ratio and its interval of each comparison, with the band in which two count as the same.

    Args:
        name: Letters for the ids in the drawing.
        title: What is compared with what.
        comparisons: Of which the first `MOST_ROWS` are drawn, where their ratio is a number above 0.
    """
    shown = [found for found in comparisons if _drawable(found)][:MOST_ROWS]
    if not shown:
        return None
    with canvas(0.9 + 0.27 * len(shown)) as figure:
        axes = figure.add_subplot()
        for place, found in enumerate(shown):
            _row(axes, place, found)
        axes.axvline(1, color=INK, linewidth=0.9)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_yticks(range(len(shown)), [short(found.what, 44) for found in shown])
        axes.set_xlabel("ratio (logarithmic); 1 is no difference, the band is the tolerance")
        _scale(axes, shown)
        _verdicts(axes, shown)
        grid(axes, "x")
        return inline(figure, name=name, title=title, description=_said(shown))


def _drawable(found: Comparison) -> bool:
    return all(math.isfinite(value) and value > 0 for value in (found.low, found.ratio, found.high))


def _row(axes: Axes, place: int, found: Comparison) -> None:
    low, high = 1 - found.tolerance, 1 + found.tolerance
    axes.barh(place, high - low, left=low, height=1.0, color=_BAND, linewidth=0)
    tone = _TONES[verdict(found).tone]
    axes.hlines(place, found.low, found.high, color=tone, linewidth=2.2)
    axes.plot(found.ratio, place, marker="o", markersize=5.5, color=tone, markeredgecolor="white")


def _scale(axes: Axes, shown: Sequence[Comparison]) -> None:
    ends = [value for found in shown for value in (found.low, found.high)]
    ends += [1 + sign * found.tolerance for found in shown for sign in (-1, 1)]
    low, high = min(ends) / 1.02, max(ends) * 1.02
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    widest = max(high, 1 / low)
    if widest > _WIDE:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        return
    axes.set_xticks([at for at in (_NEAREST if widest < _NARROW else _NEAR) if low <= at <= high])


def _verdicts(axes: Axes, shown: Sequence[Comparison]) -> None:
    for place, found in enumerate(shown):
        word = verdict(found)
        axes.annotate(
            f"{word.sign} {word.text}",
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=_TONES[word.tone],
        )


def _said(shown: Sequence[Comparison]) -> str:
    said = (f"{f.what}: {f.ratio:.3f} ({f.low:.3f} to {f.high:.3f}), {verdict(f).text}" for f in shown)
    return "A point and an interval each. " + "; ".join(said) + "."
