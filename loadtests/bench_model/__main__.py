"""`python -m loadtests.bench_model`: forms of a net beside each other, and what attention costs in each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError
from typing import Annotated, Any, Final

import typer

from loadtests.bench.generator import LoadError
from loadtests.bench_model.findings import PAIRS, PLAIN, Pair, Wish
from loadtests.bench_model.gpu import NoGpuError
from loadtests.bench_model.gpu_report import gpu_json, measure_gpu, show_gpu
from loadtests.bench_model.measure import measure
from loadtests.bench_model.openvino import OpenVinoError
from loadtests.bench_model.plots import draw
from loadtests.bench_model.report import as_json, goals, show
from loadtests.bench_model.rounds import Plan
from loadtests.console import wide
from loadtests.stack import StackError, end_in_order
from model_store.errors import InputError

NET: Final = "se_resnet50"
QUICK: Final = Plan(rounds=3, turn_s=0.1)
FOLDER: Final = Path("run/bench")

console = wide()


def main(  # noqa: PLR0913  options
    *,
    net: Annotated[str, typer.Option(help="A net of the zoo, measured in every form.")] = NET,
    batch: Annotated[list[int] | None, typer.Option(help="Images in a batch.", min=1, max=128)] = None,
    rounds: Annotated[int | None, typer.Option(help="Turns of every form.", min=1)] = None,
    threads: Annotated[int | None, typer.Option(help="All cores by default.", min=1)] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Also torch.compile, if there is g++.")] = False,
    openvino: Annotated[
        bool, typer.Option("--openvino", help="Also OpenVINO, installed under run/bench: 530 MB.")
    ] = False,
    attention: Annotated[bool, typer.Option(help="Also what attention costs.")] = True,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="On a GPU, bare and served, instead of all this.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds.")] = False,
    file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.", metavar="FILE")
    ] = None,
    plot: Annotated[Path, typer.Option(help="Draw it here: .svg or .png.", metavar="FILE")] = FOLDER
    / "model.svg",
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when a goal is not reached.")] = False,
) -> None:
    """Measure a net in the forms that others use and that archives carry, in turns.

    Takes about three minutes, with --quick half of that; nothing else should run on the machine meanwhile.
    """
    plan = QUICK if quick else Plan()
    plan = plan if rounds is None else replace(plan, rounds=rounds)
    if gpu:
        _on_gpu(net, plan, file)
        return
    wish = Wish(
        net=net,
        batches=tuple(dict.fromkeys(batch or (1, 8))),
        threads=threads or len(os.sched_getaffinity(0)),
        pairs=_pairs(attention=attention),
        forms=(*PLAIN[:2], *(("compile",) if compiled else ()), *PLAIN[2:]),
        openvino=FOLDER / "openvino" if openvino else None,
        plan=plan,
    )
    with _problems_told(), console.status("starting") as status:
        findings = measure(wish, status.update)
    show(findings, console)
    draw(findings, plot)
    console.print(f"drawn in {plot}")
    _write(file, as_json(findings))
    raise typer.Exit(1 if strict and not all(goal.reached for goal in goals(findings)) else 0)


def _on_gpu(net: str, plan: Plan, file: Path | None) -> None:
    with _problems_told(), console.status("starting") as status:
        findings = measure_gpu(net, plan, FOLDER, status.update)
    show_gpu(findings, console)
    _write(file, gpu_json(findings))


@contextmanager
def _problems_told() -> Iterator[None]:
    """What the user can do something about is said without a traceback."""
    try:
        yield
    except (OpenVinoError, NoGpuError, InputError, StackError, LoadError, CalledProcessError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None


def _write(file: Path | None, document: Mapping[str, Any]) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _pairs(*, attention: bool) -> tuple[Pair, ...]:
    return PAIRS if attention else ()


if __name__ == "__main__":
    end_in_order()
    typer.run(main)
