"""The command: from what was asked for to a report, and whether all was as it should be."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
from rich.console import Console

from loadtests.arrivals import TraceError
from loadtests.capacity.answer import answer
from loadtests.capacity.service import Batching, CapacityError
from loadtests.outcome import Run
from loadtests.report.against import Baseline, BaselineError, check_comparable, read_baseline
from loadtests.report.build import report as build
from loadtests.report.document import Report
from loadtests.report.page import page
from loadtests.running.execution import Execution, NothingAnsweredError, execute, measure
from loadtests.running.launch import EXCHANGES, LaunchError
from loadtests.running.plans import (
    Plan,
    ScenarioError,
    burst_of,
    needs_measurement,
    plan_of,
    scenario_of,
)
from loadtests.running.preflight import PreflightError
from loadtests.running.sites import Site, opened
from loadtests.running.terminal import show
from loadtests.running.trial import TrialError, Twins, running_trial
from loadtests.running.verdict import complaints
from loadtests.running.wish import Wish
from loadtests.shapes import ShapeError
from loadtests.stack import StackError
from loadtests.traffic.corpus import CorpusError
from loadtests.traffic.subjects import SubjectError

FOLDER: Final = Path("run/loadtest")
FAILED, WRONG = 1, 2
# What can be wrong with what was asked for, or with where it leads -> exit code.
EXIT_CODES: Final[Mapping[type[Exception], int]] = {
    **dict.fromkeys((ScenarioError, ShapeError, TraceError), WRONG),
    **dict.fromkeys(
        (BaselineError, CorpusError, PreflightError, StackError, SubjectError, TrialError), FAILED
    ),
    **dict.fromkeys((LaunchError, NothingAnsweredError), FAILED),
    **dict.fromkeys((httpx.HTTPError, subprocess.SubprocessError), FAILED),
}


Say: TypeAlias = Callable[[str], None]
Json: TypeAlias = Mapping[str, Any]


def run(wish: Wish, console: Console) -> list[str]:
    """Do what was asked for, write the report, and print what was found.

    Returns:
        What was not as it should be.

    Raises:
        Exception: One of `EXIT_CODES`, whose message is for people.
    """
    scenario = scenario_of(wish)
    if not needs_measurement(scenario, wish):
        plan_of(wish)  # nothing is started for a shape or a trace that cannot be read
    baselines = [read_baseline(file) for file in wish.against or ()]
    folder = _folder(wish)
    with opened(wish, scenario, console.print) as site:
        for baseline in baselines:
            check_comparable(baseline, scenario.name, scenario.loop, site.models)
        plan = _planned(wish, site, folder, console)
        console.print(f"{scenario.name}: {plan.shape} of {', '.join(site.asked)}", markup=False)
        with console.status(f"{plan.shape.seconds:.0f} s of load"):
            execution, experiment, lacks = _executed(plan, wish, site, folder, console.print)
    with console.status("evaluating"):
        report, doubts = _evaluated(execution.run, baselines, experiment, wish)
        files = _written(report, folder)  # before the fit, which may find what it cannot compute with
        if scenario.fits:
            report, open_questions = _with_capacity(report, execution.run, wish, site)
            doubts += open_questions
            files = _written(report, folder)
    show(report, execution.tally, console)
    for file in (*files, folder / EXCHANGES):
        console.print(str(file), markup=False, soft_wrap=True)
    return [*complaints(execution, plan, wish, report), *lacks, *doubts]


def _folder(wish: Wish) -> Path:
    """For all that is written, once there is something; raises PreflightError where nothing can be."""
    folder = wish.report or FOLDER / f"{wish.scenario}-{time.strftime('%Y%m%d-%H%M%S')}"
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise PreflightError(f"--report: {folder} cannot be written: {there} is no folder of ours")
    return folder


def _planned(wish: Wish, site: Site, folder: Path, console: Console) -> Plan:
    """The plan, for which the gateway may have to be measured first."""
    if not needs_measurement(scenario_of(wish), wish):
        return plan_of(wish)
    plan = burst_of(wish)
    with console.status("measuring"):
        measured = measure(plan, wish, site, folder / plan.scenario.name)
    console.print(
        f"no --rate: {plan.users} users who wait for answers reach {measured:.0f} requests a second"
    )
    return plan_of(wish, measured)


def _executed(
    plan: Plan, wish: Wish, site: Site, folder: Path, say: Say
) -> tuple[Execution, Json | None, list[str]]:
    """What came of the plan, what the gateway says of the experiment if there was one, or why it does not."""
    if not plan.scenario.twins:
        return execute(plan, wish, site, folder), None, []
    with running_trial(site.target.http, wish.token, Twins(model=site.asked[0]), say) as trial:
        execution = execute(plan, wish, replace(site, asked=(trial.name,)), folder)
        answered = int((execution.run.exchanges.outcome == "ok").sum())
        try:
            return execution, trial.report(answered), []
        except TrialError as error:  # what the callers saw is known all the same
            return execution, None, [f"the gateway's own verdict is missing: {error}"]


def _evaluated(
    run: Run, baselines: list[Baseline], experiment: Json | None, wish: Wish
) -> tuple[Report, list[str]]:
    """The report, beside the baselines if it can be: of a model that never answered there is nothing."""
    made = partial(build, run, experiment=experiment, tolerance=wish.tolerance)
    try:
        return made(baselines), []
    except BaselineError as error:
        return made(), [str(error)]


def _with_capacity(report: Report, run: Run, wish: Wish, site: Site) -> tuple[Report, list[str]]:
    """The report with the answer of the queueing model, or why there is none."""
    batching = Batching(max_batch=site.max_batch)
    try:
        found = answer(run, report, p99_ms=wish.slo_ms, target_rate=wish.target_rate, batching=batching)
    except CapacityError as error:
        return report, [f"the capacity cannot be told: {error}"]
    return replace(report, capacity=found), []


def _written(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write the report in both forms."""
    html, document = folder / "report.html", folder / "report.json"
    document.write_text(report.to_json() + "\n", encoding="utf-8")
    html.write_text(page(report), encoding="utf-8")
    return html, document
