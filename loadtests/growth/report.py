"""What the benchmark of growth says: a table for each sweep, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.growth.sweep import Curve, Sweep
from loadtests.machine import Machine


def show(sweep: Sweep, console: Console) -> None:
    """Print its table, with each figure's line beside it."""
    table = Table(sweep.over, *_heads(sweep.curves), title=sweep.title)
    for place, at in enumerate(sweep.at):
        cells = [cell for curve in sweep.curves for cell in _cells(curve, place)]
        table.add_row(f"{at:g}", *cells)
    console.print(table)
    for curve in sweep.curves:
        if curve.law:
            console.print(_law(curve), markup=False, soft_wrap=True)
    for remark in sweep.remarks:
        console.print(remark, markup=False, soft_wrap=True)


def as_json(sweeps: Sequence[Sweep], machine: Machine) -> dict[str, Any]:
    """Everything, the residuals included."""
    return {
        "machine": asdict(machine),
        "sweeps": [
            {
                **asdict(sweep),
                "residuals": {curve.name: curve.residual for curve in sweep.curves if curve.theory},
            }
            for sweep in sweeps
        ],
    }


def _heads(curves: Sequence[Curve]) -> list[str]:
    return [head for curve in curves for head in (f"{curve.name}, {curve.unit}", *_line_head(curve))]


def _line_head(curve: Curve) -> tuple[str, ...]:
    if curve.theory is None:
        return ()
    return ("bound",) if curve.bound else ("line",)


def _cells(curve: Curve, place: int) -> list[str]:
    found = curve.found[place]
    several = found.least != found.most
    cells = [_figure(found.median) + (f" ({_figure(found.least)}-{_figure(found.most)})" if several else "")]
    return cells if curve.theory is None else [*cells, _figure(curve.theory[place])]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004  four digits are shown


def _law(curve: Curve) -> str:
    away = curve.residual
    said = "" if away is None else f"; furthest from it: {away:+.1%}"
    return f"{curve.name}: {curve.law}{said}"
