"""What the command prints: a table for each cell, what the servers hold, the goals, and circumstances."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from loadtests.peers.catalogue import ATTNSERVE, BARE, title
from loadtests.peers.found import Cell, Found, Turn, cells, middle, ratio
from loadtests.peers.goals import Goal
from loadtests.peers.plan import WORKLOADS

MOST_OTHER_CORES: Final = 0.2  # a net's threads wait for each other: one that loses its core delays all
_FIGURES: Final[dict[str, tuple[str, Callable[[Turn], float]]]] = {
    "requests/s": ("{:.1f}", lambda turn: turn.run.rate),
    "p50 ms": ("{:.1f}", lambda turn: turn.run.p50_ms),
    "p99 ms": ("{:.1f}", lambda turn: turn.run.p99_ms),
    "CPU ms, server": ("{:.2f}", lambda turn: turn.server_ms),
    "generator": ("{:.2f}", lambda turn: turn.generator_ms),
}


def show(found: Found, goals: Sequence[Goal], console: Console) -> None:
    """Print all of it."""
    _settings(found, console)
    for cell in cells(found):
        console.print(_cell_table(found, cell))
    console.print(_standing_table(found))
    console.print(_goal_table(goals))
    for out in found.left_out:
        console.print(
            f"{out.workload}: {title(out.server)} is left out: {out.reason}", style="yellow", markup=False
        )
    _circumstances(found, console)


def _settings(found: Found, console: Console) -> None:
    table = Table("server", "workloads", "module", "settings", title="Who was asked")
    for one in found.served:
        table.add_row(title(one.server), "\n".join(one.workloads), one.recipe, json.dumps(dict(one.settings)))
    console.print(table)


def _cell_table(found: Found, cell: Cell) -> Table:
    callers = "one caller" if cell.callers == 1 else f"{cell.callers} callers"
    headline = f"{_titles()[cell.workload]}, {callers}"
    table = Table("server", "protocol", *_FIGURES, "attnserve's rate over it", title=headline)
    rows: dict[tuple[str, str], list[Turn]] = {}
    for turn in found.turns:
        if turn.workload == cell.workload and turn.callers in {cell.callers, 0}:
            rows.setdefault((turn.server, turn.door), []).append(turn)
    for (server, door), turns in sorted(rows.items(), key=lambda row: -_median_rate(row[1])):
        figures = (_range(form, [value(turn) for turn in turns]) for form, value in _FIGURES.values())
        table.add_row(title(server), door, *figures, _ratio(found, cell, server))
    return table


def _titles() -> dict[str, str]:
    return {str(name): workload.title for name, workload in WORKLOADS.items()}


def _median_rate(turns: Sequence[Turn]) -> float:
    return middle([turn.run.rate for turn in turns])[1]


def _ratio(found: Found, cell: Cell, server: str) -> str:
    one = None if server in {ATTNSERVE, BARE} else ratio(found, cell, server)
    return "" if one is None else _range("{:.2f}", one.rounds)


def _range(form: str, values: Sequence[float]) -> str:
    """The median, and from the least to the largest where there are several."""
    least, median, most = (form.format(value) for value in middle(values))
    return median if len(values) == 1 else f"{median} ({least} - {most})"


def _standing_table(found: Found) -> Table:
    table = Table(
        *("after", "server", "memory, MB (PSS)", "added up, MB (RSS)", "idle, cores"),
        title="Held after the load, and kept busy when nobody asks",
    )
    for one in found.standings:
        memory = (f"{one.memory.pss / 1e6:.0f}", f"{one.memory.rss / 1e6:.0f}")
        table.add_row(one.workload, title(one.server), *memory, f"{one.idle_cores:.3f}")
    return table


def _goal_table(goals: Sequence[Goal]) -> Table:
    table = Table("figure", "min", "median", "max", "goal", "", title="Goals")
    for goal in goals:
        mark = "[green]reached[/]" if goal.reached else "[red]not reached[/]"
        table.add_row(goal.what, *(f"{value:.2f}" for value in middle(goal.rounds)), goal.goal, mark)
    return table


def _circumstances(found: Found, console: Console) -> None:
    busiest = max((turn.others_cores for turn in found.turns), default=0.0)
    if busiest > MOST_OTHER_CORES:
        warning = f"Other programs kept up to {busiest:.1f} cores busy meanwhile: do not trust these figures."
        console.print(warning, style="yellow", soft_wrap=True)
    machine = found.machine
    console.print(
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb} GB; {machine.system}; "
        f"Python {machine.python}, torch {machine.torch}; {machine.date}"
    )
