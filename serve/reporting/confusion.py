"""Where the arm's answers differ from the control's, by true class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize

from serve.reporting.canvas import INK, canvas, inline
from serve.reporting.figures import images
from serve.reporting.node import short

MOST_CLASSES = 20
# In images; a smaller change is rounded to none.
SMALLEST_SHOWN = 0.5
# Of the largest change: from there on the number in a cell is white.
_DARK = 0.6
_SHORT = 4
# From fewer (blue) over none (white) to more (orange): told apart with any colour vision.
_SHADES = LinearSegmentedColormap.from_list("change", ["#0b5cad", "#ffffff", "#c2570c"])


def draw_confusion(name: str, arm: str, labels: Sequence[str], change: Sequence[Sequence[float]]) -> Markup:
    """The change of the confusion matrix as a heat map with its numbers; of at most `MOST_CLASSES` classes.

    Args:
        name: For the ids in it.
        arm: Whose.
        labels: One a class.
        change: Row: true class, column: answer; in images, nan where it is not known.
    """
    size = len(labels)
    with canvas(min(7.5, 1.6 + 0.34 * size)) as figure:
        axes = figure.add_subplot()
        _cells(axes, change)
        _names(axes, labels)
        return inline(
            figure,
            name=name,
            title=f"Change of the confusion matrix: {short(arm, 30)} minus control",
            description=f"Heat map of {size} by {size} classes: how many more (orange, +) or fewer (blue, −) "
            "images of a true class the arm gave each answer. The table below has the largest changes.",
        )


def _cells(axes: Axes, change: Sequence[Sequence[float]]) -> None:
    values = np.array(change)
    most = float(np.nanmax(np.abs(values)))
    axes.pcolormesh(
        np.ma.masked_invalid(values),
        cmap=_SHADES,
        norm=Normalize(-most, most),
        edgecolors="#e8ecf1",
        linewidth=0.6,
    )
    for (row, column), value in np.ndenumerate(values):
        text = _number(float(value))
        shade = "white" if abs(value) > _DARK * most else INK
        weight = "bold" if row == column else "normal"
        place = (column + 0.5, row + 0.5)
        axes.text(*place, text, ha="center", va="center", fontsize=7.5, color=shade, weight=weight)


def _names(axes: Axes, labels: Sequence[str]) -> None:
    texts = [short(label, 14) for label in labels]
    places = [place + 0.5 for place in range(len(labels))]
    turned = any(len(text) > _SHORT for text in texts)
    axes.set_xticks(places, texts, rotation=40 if turned else 0, ha="right" if turned else "center")
    axes.set_yticks(places, texts)
    axes.invert_yaxis()
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _number(change: float) -> str:
    return images(change) if abs(change) >= SMALLEST_SHOWN else ""  # nan, too
