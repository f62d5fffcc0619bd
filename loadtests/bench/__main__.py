"""`python -m loadtests.bench`: what the gateway costs, beside the limit of the machine.

All phases run one after the other on the same cores, bare loop and gateway in turn, so that a machine that
becomes slower or busier shows in both.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loadtests.bench import archives
from loadtests.bench.bare import bare_loop
from loadtests.bench.generator import LoadError, generator
from loadtests.bench.measures import (
    PHOTO_SIZE,
    PHOTOS,
    Bench,
    Plan,
    measure_idle,
    measure_lone,
    measure_memory,
    measure_throughput,
)
from loadtests.bench.photos import photos
from loadtests.bench.report import Findings, as_json, doubts, goals, show
from loadtests.bench.watch import Watch
from loadtests.console import wide
from loadtests.machine import Machine
from loadtests.stack import StackError, end_in_order, running_stack

BATCH = 16  # the gateway's own default
MODELS = (archives.TINY, archives.TRIVIAL, archives.REAL)

QUICK = Plan(rounds=2, bare_s=6.0, load_s=10.0, lone_calls=40, idle_s=5.0, requests=(1_000, 10_000))

console = wide()


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds.")] = False,
    rounds: Annotated[int | None, typer.Option(help="Rounds of bare loop and gateway.", min=1)] = None,
    file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.", metavar="FILE")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit code 1 when a goal is not reached, or figures are in doubt."),
    ] = False,
    folder: Annotated[Path, typer.Option(help="Keeps the archives for the next time.")] = Path("run/bench"),
) -> None:
    """Measure the gateway against a bare loop of the same module on the same cores.

    Takes about five minutes, with --quick about two; nothing else should run on the machine meanwhile.
    """
    plan = QUICK if quick else Plan()
    plan = plan if rounds is None else replace(plan, rounds=rounds)
    try:
        archives.prepare(folder / "archives", MODELS)
        findings = measure(plan, folder / "archives")
    except (LoadError, StackError, subprocess.CalledProcessError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    show(findings, console)
    if file is not None:
        file.write_text(json.dumps(as_json(findings), indent=2) + "\n", encoding="utf-8")
    trusted = not doubts(findings) and all(goal.reached for goal in goals(findings))
    raise typer.Exit(1 if strict and not trusted else 0)


def measure(plan: Plan, store: Path) -> Findings:
    """Start everything, measure, and end everything."""
    settings = {
        "ATTNSERVE_MODEL_STORE": str(store),
        "ATTNSERVE_MODELS": json.dumps(MODELS),
        "ATTNSERVE_BATCHING_MAX_BATCH_IMAGES": str(BATCH),
    }
    with (
        tempfile.TemporaryDirectory(prefix="attnserve-bench-") as name,
        console.status("starting") as status,
    ):
        run_dir = Path(name)
        net = archives.unpack(store, run_dir / "net")
        with (
            running_stack(run_dir, settings) as stack,
            bare_loop(net, photos(PHOTOS, PHOTO_SIZE), BATCH) as bare,
            generator() as load,
        ):
            bench = Bench(stack.target, Watch(stack.pid), bare, load, status.update)
            return Findings(
                machine=Machine.here(),
                memory=measure_memory(bench, plan),
                lone=tuple(measure_lone(bench, plan, model) for model in MODELS),
                idle=measure_idle(bench, plan, len(MODELS)),
                recipe=bare.recipe(),
                throughput=measure_throughput(bench, plan),
            )


if __name__ == "__main__":
    end_in_order()
    typer.run(main)
