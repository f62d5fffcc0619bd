"""`python -m loadtests.peers`: attnserve beside what one would pick instead, on the same cores in one run.

Every server gets the same images, the same module file, the same threads and the same generator; all of a
group run side by side, and are asked in turn, so that a machine that becomes slower does so for all.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtests.bench.generator import LoadError
from loadtests.console import wide
from loadtests.peers import nets
from loadtests.peers.catalogue import BY_NAME, PEERS, Peer
from loadtests.peers.environments import Environments, set_up
from loadtests.peers.found import Cell, Found, cells, ratios
from loadtests.peers.generator import generator
from loadtests.peers.goals import Goal, all_reached, goals
from loadtests.peers.measure import Bench, Comparison
from loadtests.peers.picture import draw
from loadtests.peers.plan import QUICK, Plan, PlanError, Workload, checked, chosen
from loadtests.peers.reference import UnclearError
from loadtests.peers.tables import show
from loadtests.stack import StackError, end_in_order

console = wide()


def main(  # noqa: PLR0913  typer: a parameter for each option
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer cells, shorter windows: ten minutes.")
    ] = False,
    rounds: Annotated[int | None, typer.Option(help="Rounds through all servers.", min=1)] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Window on the real net; a third of it on the trivial one.", min=0.5)
    ] = None,
    only: Annotated[str | None, typer.Option(help="These peers, with commas.", metavar="NAMES")] = None,
    workloads: Annotated[
        str | None, typer.Option(help="These workloads, with commas.", metavar="NAMES")
    ] = None,
    setup: Annotated[bool, typer.Option("--setup", help="Install the peers, and no more.")] = False,
    python: Annotated[
        list[str] | None, typer.Option(help="An interpreter that has a peer already.", metavar="PEER=FILE")
    ] = None,
    pip: Annotated[str, typer.Option(help="More arguments for pip.", metavar="ARGUMENTS")] = "",
    file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.", metavar="FILE")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the ratios: .png or .svg.", metavar="FILE")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when a goal is not reached.")] = False,
    folder: Annotated[Path, typer.Option(help="Keeps environments and archives.")] = Path("run/peers"),
) -> None:
    """Measure attnserve and the serving systems that one would pick instead.

    Takes about an hour, with --quick about ten minutes; nothing else should run on the machine meanwhile.
    """
    try:
        peers, wanted = _peers(only), chosen(workloads)
        where = Environments(folder=folder, given=_given(python or []), pip=tuple(pip.split()))
        failed = set_up(where, peers, _say)
        if setup:
            _tell(failed)
            raise typer.Exit(1 if failed else 0)
        present = [peer for peer in peers if peer.name not in failed]
        found = _measure(_plan(quick=quick, rounds=rounds, seconds=seconds), present, where, (wanted, failed))
    except (PlanError, LoadError, StackError, UnclearError, subprocess.CalledProcessError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    reached = goals(found)
    show(found, reached, console)
    _write(found, reached, file, picture)
    raise typer.Exit(1 if strict and not all_reached(reached) else 0)


def as_json(found: Found, reached: Sequence[Goal]) -> dict[str, Any]:
    """Everything, with ratios and goals."""
    return asdict(found) | {
        "ratios": [_ratio_rows(found, cell) for cell in cells(found)],
        "goals": [asdict(goal) for goal in reached],
    }


def _ratio_rows(found: Found, cell: Cell) -> dict[str, Any]:
    rows = {
        figure: [{"server": one.server, "median": one.median, "rounds": one.rounds} for one in of_cell]
        for figure in ("rate", "p50", "p99")
        if (of_cell := ratios(found, cell, figure))
    }
    return asdict(cell) | rows


def _peers(only: str | None) -> list[Peer]:
    return list(PEERS) if only is None else [BY_NAME[name] for name in checked("--only", only, list(BY_NAME))]


def _given(pairs: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for pair in pairs:
        name, _, path = pair.partition("=")
        if name not in BY_NAME or not Path(path).is_file():
            rule = f"PEER=FILE, a peer of {', '.join(BY_NAME)} and an interpreter"
            raise PlanError(f"--python: {pair!r} must be {rule}")
        found[name] = Path(path).absolute()
    return found


def _plan(*, quick: bool, rounds: int | None, seconds: float | None) -> Plan:
    plan = QUICK if quick else Plan()
    plan = plan if rounds is None else replace(plan, rounds=rounds)
    return plan if seconds is None else replace(plan, heavy_s=seconds, light_s=seconds / 3)


def _measure(
    plan: Plan, peers: list[Peer], where: Environments, rest: tuple[list[Workload], dict[str, str]]
) -> Found:
    workloads, failed = rest
    nets.build(where.folder / "archives", {workload.group.model for workload in workloads})
    with generator() as load:
        bench = Bench(
            plan=plan, peers=peers, environments=where, folder=where.folder, generator=load, say=_say
        )
        return Comparison(bench).run(workloads, failed)


def _write(found: Found, reached: Sequence[Goal], file: Path | None, picture: Path | None) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(as_json(found, reached), indent=2) + "\n", encoding="utf-8")
    if picture is not None and not draw(found, picture):
        console.print("There is nothing to draw: no peer was measured beside attnserve.", style="yellow")


def _tell(failed: dict[str, str]) -> None:
    for name, reason in failed.items():
        console.print(f"{BY_NAME[name].title}: {reason}", style="yellow", markup=False)


def _say(text: str) -> None:
    console.print(text, style="dim", markup=False, soft_wrap=True)


if __name__ == "__main__":
    end_in_order()
    typer.run(main)
