"""What the bench says: figures beside their goals, and enough of the circumstances to judge them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from loadtests.bench.measures import CALLERS, Lone, Memory, Throughput, middle
from loadtests.machine import Machine

LEAST_RATIO: Final = 0.90
MOST_ADDED_MS: Final = 8.0
MOST_MEMORY_MB: Final = 250.0
MOST_OTHER_CORES: Final = 0.2  # the net's threads wait for each other: one that loses its core delays all
MOST_GROWTH_MB: Final = 10.0  # the allocator's own unrest; a leak of 2 KB a request is twice that


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that was measured."""

    machine: Machine
    memory: Memory
    lone: tuple[Lone, ...]
    throughput: Throughput


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure, what it shall be, and whether it is."""

    what: str
    least: float
    median: float
    most: float
    goal: str
    reached: bool


def goals(findings: Findings) -> list[Goal]:
    """The figures that have a goal; medians decide."""
    least, ratio, most = middle(findings.throughput.ratios)
    rows = [
        Goal(
            what=f"images/s through the gateway, {CALLERS} callers, over a bare loop's",
            least=least,
            median=ratio,
            most=most,
            goal=f"at least {LEAST_RATIO:.2f}",
            reached=ratio >= LEAST_RATIO,
        )
    ]
    for lone in findings.lone:
        least, added, most = middle(lone.added_ms)
        rows.append(
            Goal(
                what=f"{lone.model}, one caller: ms added to the handler's own",
                least=least,
                median=added,
                most=most,
                goal=f"under {MOST_ADDED_MS:g}",
                reached=added < MOST_ADDED_MS,
            )
        )
    return rows + _memory_goals(findings.memory)


def as_json(findings: Findings) -> dict[str, Any]:
    """Everything, goals included."""
    return asdict(findings) | {"goals": [asdict(goal) for goal in goals(findings)]}


def show(findings: Findings, console: Console) -> None:
    """Print it."""
    _show_goals(goals(findings), console)
    _show_rounds(findings.throughput, console)
    _show_costs(findings.throughput, console)
    if (others := _busiest_others(findings.throughput)) > MOST_OTHER_CORES:
        warning = f"Other programs kept up to {others:.1f} cores busy meanwhile: do not trust these figures."
        console.print(warning, style="yellow", soft_wrap=True)
    for lone in findings.lone:
        _, call, _ = middle(lone.call_ms)
        _, added, _ = middle(lone.added_ms)
        console.print(
            f"{lone.model}, one caller: median call {call:.1f} ms, of which {added:.1f} ms are added"
        )
    memory = findings.memory
    console.print(
        f"gateway's memory: {_mb(memory.before):.0f} MB when ready, {_mb(memory.after_some):.0f} MB after "
        f"{memory.requests[0]:,} requests, {_mb(memory.after_many):.0f} MB after {memory.requests[1]:,} "
        f"(at {memory.run.rate:.0f} requests/s, p50 {memory.run.median_ms:.0f} ms)"
    )
    machine = findings.machine
    console.print(
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb} GB; {machine.system}; "
        f"Python {machine.python}, torch {machine.torch}; {machine.date}"
    )


def _busiest_others(found: Throughput) -> float:
    return max(loaded.others_cores for loaded in found.loaded)


def _memory_goals(memory: Memory) -> list[Goal]:
    some, many = memory.requests
    total, growth = _mb(memory.after_many), _mb(memory.after_many - memory.after_some)
    return [
        Goal(
            what=f"gateway's memory after {many:,} requests, MB",
            least=total,
            median=total,
            most=total,
            goal=f"under {MOST_MEMORY_MB:g}",
            reached=total < MOST_MEMORY_MB,
        ),
        Goal(
            what=f"its growth from {some:,} requests on, MB",
            least=growth,
            median=growth,
            most=growth,
            goal=f"under {MOST_GROWTH_MB:g}",
            reached=growth < MOST_GROWTH_MB,
        ),
    ]


def _show_goals(rows: list[Goal], console: Console) -> None:
    table = Table("figure", "min", "median", "max", "goal", "", title="Goals")
    for row in rows:
        figures = (f"{value:.2f}" for value in (row.least, row.median, row.most))
        mark = "[green]reached[/]" if row.reached else "[red]not reached[/]"
        table.add_row(row.what, *figures, row.goal, mark)
    console.print(table)


def _show_rounds(found: Throughput, console: Console) -> None:
    table = Table(
        *("round", "bare images/s", "gateway images/s", "ratio", "images a batch", "p50 ms", "p99 ms"),
        *("cores, gateway idle", "cores of others"),
        title="Rounds: bare loop, then the gateway, then the bare loop again",
    )
    for number, (bare, idle) in enumerate(zip(found.bare, found.idle, strict=True)):
        cells = ["", "", "", "", "", "", ""]
        if number < len(found.loaded):
            loaded = found.loaded[number]
            run = loaded.run
            batch = run.requests / max(1, loaded.batches)
            cells = [f"{run.rate:.2f}", f"{found.ratios[number]:.3f}", f"{batch:.1f}"]
            cells += [f"{run.median_ms:.0f}", f"{run.p99_ms:.0f}", "", f"{loaded.others_cores:.2f}"]
        cells[5] = f"{idle.cores:.3f}"
        table.add_row(str(number + 1), f"{bare.rate:.2f}", *cells)
    console.print(table)


def _show_costs(found: Throughput, console: Console) -> None:
    table = Table("CPU ms an image", "min", "median", "max", title="Where the time goes under load")
    images = [loaded.run.requests for loaded in found.loaded]
    for role in sorted({role for loaded in found.loaded for role in loaded.spent.cpu_s}):
        costs = [
            1e3 * loaded.spent.cpu_s.get(role, 0.0) / count
            for loaded, count in zip(found.loaded, images, strict=True)
        ]
        table.add_row(role, *(f"{value:.2f}" for value in middle(costs)))
    generator = [1e3 * loaded.run.cpu_s / count for loaded, count in zip(found.loaded, images, strict=True)]
    table.add_row("generator (not the service's)", *(f"{value:.2f}" for value in middle(generator)))
    bare = [1e3 * run.cpu_s / run.images for run in found.bare]
    table.add_row("bare loop, for comparison", *(f"{value:.2f}" for value in middle(bare)), end_section=True)
    for stage in ("decode", "inference", "encode"):
        values = [
            1e3 * loaded.stages_s[stage] / count for loaded, count in zip(found.loaded, images, strict=True)
        ]
        table.add_row(f"worker's clock: {stage}, ms", *(f"{value:.2f}" for value in middle(values)))
    for stage in ("decode", "inference"):
        values = [1e3 * getattr(run, f"{stage}_s") / run.images for run in found.bare]
        table.add_row(f"bare loop's clock: {stage}, ms", *(f"{value:.2f}" for value in middle(values)))
    console.print(table)


def _mb(size: int) -> float:
    return size / 1e6
