"""`python -m loadtests.bench_build`: how long it takes to build an archive, and how much memory.

Each run is a process of its own, `attnserve build` on a checkpoint, as users run it. What it prints when it
begins a step is the clock: a step ends where the next one is announced.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from loadtests.console import wide
from loadtests.machine import Machine

GOAL_S: Final = 60.0
GOAL_GB: Final = 2.5
STARTING: Final = "starting Python, reading the command"
SHORTEST_STEP_S: Final = 0.05  # a line after which less time passes is no step but a remark
# Not in this process: what a child reports as its peak includes what its parent had in use when it was
# started, and torch alone is a good part of the goal.
_WRITE_CHECKPOINT: Final = """
import sys
from pathlib import Path
from model_store import zoo
from model_store.checkpoint import Checkpoint, save
name, folder = sys.argv[1], Path(sys.argv[2])
try:
    row = zoo.get(name)
except zoo.UnknownArchitectureError as error:
    sys.exit(str(error))
weights = row.build(row.classes).state_dict()
save(folder / "weights.pt", Checkpoint(architecture=name, state_dict=weights, card={}))
(folder / "labels.txt").write_text("\\n".join(f"class {number}" for number in range(row.classes)))
"""

console = wide()


class BuildError(Exception):
    """The build, or what comes before it, failed; the text is what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One build.

    Attributes:
        steps: What it said, in order, and the seconds until it said the next thing.
        wall_s: Seconds from the start of the process to its end.
        peak_gb: The most memory that it had in use, in 10^9 bytes.
        archive_mb: Size of what it built, in 10^6 bytes.
    """

    steps: tuple[tuple[str, float], ...]
    wall_s: float
    peak_gb: float
    archive_mb: float


def main(
    *,
    arch: Annotated[str, typer.Option(help="The net, as `attnserve zoo` names it.")] = "se_resnet50",
    runs: Annotated[int, typer.Option(help="How often to build it.", min=1)] = 3,
) -> None:
    """Measure what it takes to build an archive. Takes about a minute; nothing else should run meanwhile."""
    try:
        with console.status(f"{arch}: building it {runs} times"):
            found = measure(arch, runs)
    except BuildError as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    show(arch, found)
    machine = Machine.here()
    console.print(
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb} GB; "
        f"Python {machine.python}, torch {machine.torch}; {machine.date}"
    )


def measure(arch: str, runs: int) -> list[Run]:
    """Build the archive of a net with fresh weights several times.

    Raises:
        BuildError: There is no such net, or the build failed.
    """
    with tempfile.TemporaryDirectory(prefix="attnserve-bench-") as name:
        folder = Path(name)
        command = [sys.executable, "-W", "ignore", "-c", _WRITE_CHECKPOINT, arch, name]
        written = subprocess.run(  # noqa: S603  our own program
            command, capture_output=True, text=True, check=False
        )
        if written.returncode:
            raise BuildError(written.stderr.strip())
        return [_built(arch, folder) for _ in range(runs)]


def show(arch: str, runs: Sequence[Run]) -> None:
    """Print the table, and how the goals were met."""
    title = f"{arch}, archive of {runs[0].archive_mb:.0f} MB"
    table = Table("step", "median", "least", "most", title=title)
    for step in zip(*(run.steps for run in runs), strict=True):
        seconds = [one for _, one in step]
        if statistics.median(seconds) >= SHORTEST_STEP_S:
            table.add_row(step[0][0], *_figures(seconds, "s"))
    wall_s, peak_gb = [run.wall_s for run in runs], [run.peak_gb for run in runs]
    table.add_section()
    table.add_row("all", *_figures(wall_s, "s"))
    table.add_row("most memory", *_figures(peak_gb, "GB"))
    console.print(table)
    for what, found, goal, unit in (("time", wall_s, GOAL_S, "s"), ("memory", peak_gb, GOAL_GB, "GB")):
        median = statistics.median(found)
        mark = "reached" if median < goal else "not reached"
        console.print(f"{what}: {median:.2f} {unit} (goal: under {goal:g} {unit} on two cores, {mark})")


def _built(arch: str, folder: Path) -> Run:
    """Build once, in a process of its own."""
    options = {"--arch": arch, "--checkpoint": "weights.pt", "--labels": "labels.txt", "--output": "."}
    command = [sys.executable, "-m", "model_store.cli", "build"]
    begun = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603  our own program
        [*command, *(word for option in options.items() for word in option)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None  # noqa: S101  a pipe
    with process.stderr as lines:
        said = [(STARTING, begun), *((line.rstrip(), time.perf_counter()) for line in lines)]
    _, status, usage = os.wait4(process.pid, 0)
    ended = time.perf_counter()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BuildError("\n".join(line for line, _ in said[1:]))
    return Run(
        steps=_steps([one for one in said if _begins_a_step(one[0], arch)], ended),
        wall_s=ended - begun,
        peak_gb=usage.ru_maxrss * 1024 / 1e9,
        archive_mb=(folder / f"{arch}.mar").stat().st_size / 1e6,
    )


def _begins_a_step(line: str, arch: str) -> bool:
    """Whether a line is "NAME: STEP"; tables and what is told of recipes have other figures each time."""
    return line == STARTING or (line.startswith(f"{arch}: ") and line.count(": ") == 1)


def _steps(said: Sequence[tuple[str, float]], ended: float) -> tuple[tuple[str, float], ...]:
    """Seconds of each step, from when its line and the next one came; a line is "NAME: STEP"."""
    ends = [at for _, at in said[1:]] + [ended]
    return tuple(
        (line.partition(": ")[2] or line, end - at) for (line, at), end in zip(said, ends, strict=True)
    )


def _figures(values: Sequence[float], unit: str) -> list[str]:
    return [f"{value:.2f} {unit}" for value in (statistics.median(values), min(values), max(values))]


if __name__ == "__main__":
    typer.run(main)
