"""`python -m loadtests.growth`: how cost grows, with the line that theory gives beside each figure."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer

from loadtests.bench import archives
from loadtests.bench.generator import LoadError
from loadtests.console import wide
from loadtests.growth import bare, served
from loadtests.growth.bare import Say
from loadtests.growth.plan import QUICK, Plan
from loadtests.growth.plots import draw
from loadtests.growth.report import as_json, show
from loadtests.growth.sweep import Sweep
from loadtests.machine import Machine
from loadtests.stack import StackError, end_in_order

FOLDER: Final = Path("run/bench")
STORE: Final = FOLDER / "archives"

console = wide()


def main(
    *,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this part; several are possible.", metavar="PART")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer places, shorter phases.")] = False,
    file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.", metavar="FILE")
    ] = None,
    plot: Annotated[Path, typer.Option(help="Draw it here: .svg or .png.", metavar="FILE")] = FOLDER
    / "growth.svg",
) -> None:
    """Measure how cost grows with batch, callers, models, experiments, image size and workers.

    Takes about ten minutes, with --quick about three; nothing else should run on the machine meanwhile.
    """
    parts = only or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        raise typer.BadParameter(f"{unknown[0]!r} must be one of {', '.join(PARTS)}", param_hint="--only")
    sweeps: list[Sweep] = []
    for sweep in _measured(parts, QUICK if quick else Plan()):
        show(sweep, console)
        sweeps.append(sweep)
    machine = Machine.here()
    console.print(
        f"{machine.processor}, {machine.cores} cores; torch {machine.torch}; {machine.date}",
        soft_wrap=True,
    )
    draw(sweeps, plot)
    console.print(f"drawn in {plot}")
    if file is not None:
        file.write_text(json.dumps(as_json(sweeps, machine), indent=2) + "\n", encoding="utf-8")


def _measured(parts: list[str], plan: Plan) -> Iterator[Sweep]:
    """One part after the other; what cannot be measured ends all."""
    for part in parts:
        try:
            with console.status(part) as status:
                found = PARTS[part](plan, status.update)
        except (LoadError, StackError, httpx.HTTPError, subprocess.CalledProcessError) as error:
            console.print(f"{part}: {error}", markup=False, soft_wrap=True)
            raise typer.Exit(1) from None
        yield from found


def _batch(plan: Plan, say: Say) -> list[Sweep]:
    return [bare.batch_sizes(archives.REAL, plan, say)]


def _callers(plan: Plan, say: Say) -> list[Sweep]:
    archives.prepare(STORE, [archives.REAL])
    return served.requests_and_callers(STORE, plan, say)


def _models(plan: Plan, say: Say) -> list[Sweep]:
    return [served.models(FOLDER / "models", plan, say)]


def _experiments(plan: Plan, say: Say) -> list[Sweep]:
    return [served.experiments(plan, say)]


def _image(plan: Plan, say: Say) -> list[Sweep]:
    archives.prepare(STORE, [archives.TRIVIAL])
    with tempfile.TemporaryDirectory(prefix="attnserve-growth-") as name:
        return [bare.image_sizes(archives.unpack(STORE, Path(name), archives.TRIVIAL), plan, say)]


def _workers(plan: Plan, say: Say) -> list[Sweep]:
    archives.prepare(STORE, [archives.REAL])
    with tempfile.TemporaryDirectory(prefix="attnserve-growth-") as name:
        return [bare.workers(archives.unpack(STORE, Path(name)), plan, say)]


PARTS: Final[Mapping[str, Callable[[Plan, Say], list[Sweep]]]] = {
    "batch": _batch,
    "callers": _callers,
    "models": _models,
    "experiments": _experiments,
    "image": _image,
    "workers": _workers,
}

if __name__ == "__main__":
    end_in_order()
    typer.run(main)
