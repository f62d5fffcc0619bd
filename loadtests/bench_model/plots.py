"""The benchmark of nets as a drawing, in the style of the project's reports."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes

from loadtests.bench_model.findings import Findings, precision_of
from loadtests.bench_model.forms import RECIPES
from loadtests.bench_model.report import forms_of, overhead
from loadtests.bench_model.rounds import Key
from serve.reporting.canvas import COLOURS, INK, canvas, grid

_BAR: Final = 0.8  # of the room that a row has


def draw(findings: Findings, path: Path) -> None:
    """Draw images a second of every form with the machine's limit, and below it what attention costs.

    Args:
        findings: What was measured.
        path: Where to write it; its ending (.svg, .png, .pdf) says how.
    """
    forms = forms_of(findings)
    rows = len(findings.wish.pairs) * len(RECIPES)
    with canvas(1.6 + 0.35 * (len(forms) + rows)) as figure:
        if rows:
            above, below = figure.subplots(2, 1, height_ratios=(len(forms) + 1, rows + 1))
            _overheads(below, findings)
        else:
            above = figure.subplots()
        _rates(above, findings, forms)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160)


def _rates(axes: Axes, findings: Findings, forms: list[str]) -> None:
    wish = findings.wish
    for number, batch in enumerate(wish.batches):
        places = [_place(row, number, len(wish.batches)) for row in range(len(forms))]
        found = [findings.rounds.rate(Key(net=wish.net, form=form, batch=batch)) for form in forms]
        axes.barh(
            places,
            [rate.median for rate in found],
            height=_BAR / len(wish.batches),
            xerr=(
                [rate.median - rate.least for rate in found],
                [rate.most - rate.median for rate in found],
            ),
            color=COLOURS[1 + number],
            ecolor=INK,
            label=f"batch {batch}",
        )
    for row, form in enumerate(forms):
        limit = findings.limit(wish.net, precision_of(form))
        if limit is not None:
            label = "" if row else "peak of matrix multiplication"
            axes.vlines(limit, row - 0.5, row + 0.5, color=INK, linestyle=(0, (4, 2)), label=label)
    _rows(axes, forms)
    axes.set_xlabel(f"images/s of {wish.net}, one module in a bare loop; whiskers: least and most")
    axes.legend(loc="best")


def _overheads(axes: Axes, findings: Findings) -> None:
    wish = findings.wish
    rows = [(pair, form) for pair in wish.pairs for form in RECIPES]
    for number, batch in enumerate(wish.batches):
        for row, (pair, form) in enumerate(rows):
            found = overhead(findings, pair, form, batch)
            if found is None:
                continue
            whiskers = ([found.median - found.least], [found.most - found.median])
            axes.barh(
                _place(row, number, len(wish.batches)),
                found.median,
                height=_BAR / len(wish.batches),
                xerr=whiskers,
                color=COLOURS[1 + number],
                ecolor=INK,
            )
    for row, (pair, _) in enumerate(rows):
        label = "" if row else "goal for the fastest form"
        axes.vlines(100 * pair.most, row - 0.5, row + 0.5, color=COLOURS[3], linewidth=1.6, label=label)
    _rows(axes, [f"{pair.name}, {form}" for pair, form in rows])
    axes.set_xlabel("% slower than the same net without attention")
    axes.legend(loc="best")


def _rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    grid(axes, "x")


def _place(row: int, number: int, count: int) -> float:
    """The middle of a bar: the bars of a row lie one below the other."""
    return row + _BAR * ((number + 0.5) / count - 0.5)
