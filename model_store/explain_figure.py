"""Explained nets as a picture: the image, and beside it each net's answer and its gates, block by block."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from PIL import Image, ImageOps

from model_store.errors import InputError
from model_store.explain import Explained
from model_store.explain_view import LEGEND, NO_GATES, mean, titles
from model_store.gate_figures import BINS, GateFigures

DPI: Final = 150
IMAGE_WIDTH, NET_WIDTH, HEAD_HEIGHT, BLOCK_HEIGHT, LEAST_HEIGHT, FOOT_HEIGHT = 2.6, 5.2, 2.2, 0.26, 1.6, 0.6
"""Of the picture's parts, in inches."""
_COLUMNS: Final = 1.06, 1.55, 1.86
"""Where the figures beside the gates begin; these reach from 0 to 1."""

_INK, _QUIET, _BAR, _MARK, _PAPER = "#1c2430", "#55606e", "#0b5cad", "#e0620d", "#ffffff"
_STYLE: Final = {
    "axes.edgecolor": "#d8dee6",
    "axes.labelcolor": _QUIET,
    "axes.titlesize": 9.0,
    "font.size": 8.0,
    "text.color": _INK,
    "text.parse_math": False,  # a "$" in a label is a dollar
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "ytick.major.size": 0,
}


def draw(image: bytes, nets: Sequence[Explained]) -> bytes:
    """Draw nets side by side.

    Args:
        image: The file that they classified.
        nets: At least one with gates.

    Returns:
        A PNG, IMAGE_WIDTH and NET_WIDTH for each net wide, and as high as most blocks need.

    Raises:
        InputError: None of the nets has gates.
    """
    most = max((len(net.blocks) for net in nets), default=0)
    if not most:
        raise InputError(f"output: nothing to draw: {', '.join(net.model for net in nets)} {NO_GATES}")
    body = max(LEAST_HEIGHT, most * BLOCK_HEIGHT)
    size = IMAGE_WIDTH + NET_WIDTH * len(nets), HEAD_HEIGHT + body + FOOT_HEIGHT
    with mpl.rc_context(_STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        # A label may be in a script that no font here has; it is drawn as boxes.
        warnings.filterwarnings("ignore", message=r"(?s).*(Glyph|Matplotlib currently does not support)")
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        grid = GridSpec(
            2,
            1 + len(nets),
            figure=figure,
            height_ratios=(HEAD_HEIGHT, body),
            width_ratios=(IMAGE_WIDTH, *[NET_WIDTH] * len(nets)),
        )
        _draw_image(figure.add_subplot(grid[0, 0]), image)
        for column, (net, title) in enumerate(zip(nets, titles(nets), strict=True), start=1):
            _draw_guesses(figure.add_subplot(grid[0, column]), net, title)
            _draw_blocks(figure.add_subplot(grid[1, column]), net, most)
        figure.supxlabel(LEGEND, fontsize=7.5, color=_QUIET)
        written = io.BytesIO()
        figure.savefig(written, format="png")
    return written.getvalue()


def _draw_image(axes: Axes, image: bytes) -> None:
    with Image.open(io.BytesIO(image)) as opened:
        pixels = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    axes.imshow(pixels)
    axes.set_axis_off()
    height, width = pixels.shape[:2]
    axes.set_title(f"{width}x{height}", color=_QUIET)


def _draw_guesses(axes: Axes, net: Explained, title: str) -> None:
    places = range(len(net.guesses))
    axes.barh(places, [guess.probability for guess in net.guesses], color=_BAR, height=0.6)
    axes.set_yticks(places, [guess.label for guess in net.guesses])
    axes.set_xlim(0, 1.25)
    axes.set_xticks([])
    axes.invert_yaxis()
    for place, guess in enumerate(net.guesses):
        axes.text(guess.probability + 0.02, place, f"{guess.probability:.1%}", va="center")
    axes.spines[:].set_visible(False)
    axes.set_title(f"{title}: {net.attention}{'' if net.trained else ', random weights'}", loc="left")


def _draw_blocks(axes: Axes, net: Explained, most: int) -> None:
    """Draw a row for each block: how often its gates have which value, their mean, and its figures."""
    if not net.blocks:
        said = f"{net.model} {NO_GATES}".replace(", ", ",\n")
        axes.text(0.5, 0.5, said, ha="center", va="center")
        axes.set_axis_off()
        return
    count = len(net.blocks)
    shares = np.array([_shares(block.figures) for block in net.blocks])
    axes.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=1, extent=(0, 1, count - 0.5, -0.5))
    axes.plot([_first_mean(block.figures) for block in net.blocks], range(count), "|", color=_MARK, ms=9)
    axes.hlines(np.arange(1, count) - 0.5, 0, 1, color=_PAPER, lw=1.5)
    axes.set_yticks(range(count), [f"{block.block} ({block.gates.shape[1]})" for block in net.blocks])
    axes.set_ylim(most - 0.5, -0.5)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_xlim(0, 2.2)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    for x, head in zip(_COLUMNS, ("mean", "entropy", "saturated"), strict=True):
        axes.text(x, -0.75, head, color=_QUIET, va="bottom")
    for place, block in enumerate(net.blocks):
        found = block.figures
        for x, said in zip(
            _COLUMNS, (mean(block), f"{found.entropy:.3f}", f"{found.saturation:.1%}"), strict=True
        ):
            axes.text(x, place, said, va="center")


def _shares(found: GateFigures) -> list[float]:
    """Return a histogram on the scale of its fullest bin."""
    fullest = max(found.histogram)
    return [found.histogram[bin_] / fullest for bin_ in range(BINS)]


def _first_mean(found: GateFigures) -> float:
    return found.branch_means[0] if len(found.branch_means) == 2 else found.mean  # noqa: PLR2004  as drawn
