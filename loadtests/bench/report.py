"""What the bench says: figures beside their goals, and enough of the circumstances to judge them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from loadtests.bench.archives import REAL, TRIVIAL
from loadtests.bench.goal import Goal, Spread, at_least, at_most, show_goals, under
from loadtests.bench.measures import CALLERS, Idle, Lone, Memory, Throughput, middle
from loadtests.bench.watch import GATEWAY
from loadtests.machine import Machine

LEAST_RATIO: Final = 0.95
MOST_ADDED_MS: Final = 8.0
MOST_MEMORY_MB: Final = 250.0  # what the service needs beyond its TorchServe
MOST_TRIVIAL_MS: Final = 5.0
MOST_IDLE_PERCENT: Final = 1.0  # of a core
MOST_OTHER_CORES: Final = 0.2  # the net's threads wait for each other: one that loses its core delays all
MOST_UNREST: Final = 1.15  # of the bare loop's phases: the goal for the ratio to them is a matter of 5 %
MOST_GROWTH_MB: Final = 10.0  # the allocator's own unrest; a leak of 2 KB a request is twice that


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that was measured.

    Attributes:
        machine: Where and when.
        memory: Of the gateway, under load.
        idle: Memory and CPU time of all, without load.
        lone: Calls of a lone caller, by model.
        recipe: The one that the bare loop runs, and the worker, since both choose in the same way.
        throughput: Bare loop and gateway in turns.
    """

    machine: Machine
    memory: Memory
    idle: Idle
    lone: tuple[Lone, ...]
    recipe: str
    throughput: Throughput


def goals(findings: Findings) -> list[Goal]:
    """The figures that have a goal; medians decide."""
    ratios = Spread.of(findings.throughput.ratios)
    through = f"images/s through the gateway, {CALLERS} callers, over a bare loop's"
    rows = [at_least(through, ratios, LEAST_RATIO)]
    for lone in findings.lone:
        if lone.model == TRIVIAL:
            what = f"{lone.model}, one caller, a photograph as JPEG: ms of a call"
            rows.append(at_most(what, Spread.of(lone.call_ms), MOST_TRIVIAL_MS))
        else:
            what = f"{lone.model}, one caller: ms added to the handler's own"
            rows.append(under(what, Spread.of(lone.added_ms), MOST_ADDED_MS))
    return [*rows, *_memory_goals(findings.memory), _idle_goal(findings.idle)]


def doubts(findings: Findings) -> list[str]:
    """Why the figures should not be trusted, as far as they show it themselves."""
    found = findings.throughput
    reasons = []
    if found.others_cores > MOST_OTHER_CORES:
        reasons.append(
            f"Other programs kept up to {found.others_cores:.1f} cores busy meanwhile: "
            "do not trust these figures."
        )
    if found.unrest > MOST_UNREST:
        reasons.append(
            f"The bare loop's own phases differ by a factor of {found.unrest:.2f}: do not trust ratios to it."
        )
    return reasons


def as_json(findings: Findings) -> dict[str, Any]:
    """Everything, goals included."""
    return asdict(findings) | {
        "goals": [asdict(goal) for goal in goals(findings)],
        "doubts": doubts(findings),
    }


def show(findings: Findings, console: Console) -> None:
    """Print it."""
    show_goals(goals(findings), console)
    _show_rounds(findings.throughput, console)
    _show_costs(findings.throughput, console)
    for doubt in doubts(findings):
        console.print(doubt, style="yellow", soft_wrap=True)
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
    _show_idle(findings.idle, console)
    console.print(
        f"recipe of {REAL}, as builder and handler chose: {findings.recipe}, here and in the worker",
        soft_wrap=True,
    )
    machine = findings.machine
    console.print(
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb} GB; {machine.system}; "
        f"Python {machine.python}, torch {machine.torch}; {machine.date}"
    )


def _memory_goals(memory: Memory) -> list[Goal]:
    some, many = memory.requests
    total, growth = _mb(memory.after_many), _mb(memory.after_many - memory.after_some)
    return [
        under(f"gateway's memory after {many:,} requests, MB", Spread.of([total]), MOST_MEMORY_MB),
        under(f"its growth from {some:,} requests on, MB", Spread.of([growth]), MOST_GROWTH_MB),
    ]


def _idle_goal(idle: Idle) -> Goal:
    """Of gateway, Java and workers together."""
    return under(
        "idle: % of a core that the service uses", Spread.of([100 * idle.spent.cores]), MOST_IDLE_PERCENT
    )


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


def _show_idle(idle: Idle, console: Console) -> None:
    table = Table("", "memory, MB", "CPU, % of a core", title=f"Idle, {idle.models} models loaded")
    for role in sorted(idle.memory):
        percent = 100 * idle.spent.cpu_s.get(role, 0.0) / idle.spent.seconds
        table.add_row(role, f"{_mb(idle.memory[role]):.0f}", f"{percent:.2f}")
    everything = sum(idle.memory.values())
    own = everything - idle.memory.get(GATEWAY, 0)
    table.add_section()
    table.add_row("TorchServe: Java and workers", f"{_mb(own):.0f}", "")
    table.add_row("all", f"{_mb(everything):.0f}", f"{100 * idle.spent.cores:.2f}")
    console.print(table)


def _mb(size: int) -> float:
    return size / 1e6
