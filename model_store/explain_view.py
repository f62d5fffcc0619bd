"""Explained nets on a terminal: a small histogram of each block's gates, and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape

from model_store.explain import BlockGates, Explained
from model_store.gate_figures import OPEN, SHUT
from model_store.show import show_rows

_BARS: Final = " ▁▂▃▄▅▆▇█"
NO_GATES: Final = "has no channel attention, so there are no gates to show"
LEGEND: Final = (
    "gates from 0, shut, to 1, open; where two branches compete (SK) the first one's weight, and each mean\n"
    "entropy: 1 undecided, 0 decided; saturated: share of channels "
    f"below {SHUT:g} or above {OPEN:g} (SK: largest weight above {OPEN:g})"
)


def show_explained(out: Console, nets: Sequence[Explained]) -> None:
    """Print each net's answer and its blocks, and what the columns mean."""
    for net, title in zip(nets, titles(nets), strict=True):
        untrained = "" if net.trained else ", random weights"
        out.print(escape(f"{title} ({net.attention}{untrained}): {guesses(net)}"), soft_wrap=True)
        if net.blocks:
            _show_blocks(out, net.blocks)
        else:
            out.print(escape(f"{net.model} {NO_GATES}\n"), soft_wrap=True)
    if any(net.blocks for net in nets):
        out.print(LEGEND, soft_wrap=True)


def titles(nets: Sequence[Explained]) -> list[str]:
    """Return what each net is called, with its version where others have the same name."""
    names = [net.model for net in nets]
    return [
        net.model if names.count(net.model) == 1 else f"{net.model} version {net.version}" for net in nets
    ]


def guesses(net: Explained) -> str:
    """Write the most probable classes in one line."""
    return ", ".join(f"{guess.label} {guess.probability:.1%}" for guess in net.guesses)


def bars(histogram: Sequence[int]) -> str:
    """Draw a histogram as one line; whatever is not empty can be seen."""
    most = max(*histogram, 1)
    # Rounded up, so that only an empty bin is drawn as none.
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in histogram)


def mean(block: BlockGates) -> str:
    """Write the mean of a block's gates, or of each branch's where they compete."""
    means = block.figures.branch_means or (block.figures.mean,)
    return "/".join(f"{value:.2f}" for value in means)


def _show_blocks(out: Console, blocks: Sequence[BlockGates]) -> None:
    columns = ("block", "channels", "0       gates      1", "mean", "min", "max", "entropy", "saturated")
    cells = [
        (
            block.block,
            str(block.gates.shape[1]),
            bars(block.figures.histogram),
            mean(block),
            f"{block.figures.minimum:.2f}",
            f"{block.figures.maximum:.2f}",
            f"{block.figures.entropy:.3f}",
            f"{block.figures.saturation:.1%}",
        )
        for block in blocks
    ]
    right = {*columns} - {columns[0], columns[2]}
    show_rows(out, columns, cells, right=right, spare=("channels", "min", "max", "saturated", "entropy"))
