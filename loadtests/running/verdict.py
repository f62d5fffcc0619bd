"""Whether a run went as it should."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from loadtests.report.document import Report
from loadtests.running.execution import Execution
from loadtests.running.plans import Plan
from loadtests.running.wish import Wish

# Where it is to be found out when a service breaks, it may break in these ways.
_TOLERATED: Final = ("shed", "timeout")
_WORSE: Final = "worse"
_DIFFERENT: Final = ("worse", "better")


def complaints(execution: Execution, plan: Plan, wish: Wish, report: Report) -> list[str]:
    """Everything for which a run fails; nothing when it went as it should."""
    found = [*_of_run(execution, plan), *_of_accuracy(execution, wish), *_of_report(report, plan)]
    if not found and execution.status and not plan.scenario.breaks:
        return [f"locust ended with status {execution.status}: {'; '.join(execution.run.errors)}"]
    return found


def _of_run(execution: Execution, plan: Plan) -> Iterator[str]:
    run = execution.run
    if not len(run.exchanges):
        yield "no request was sent"
    broken = run.exchanges.failed
    if plan.scenario.breaks:
        broken = broken & ~np.isin(run.exchanges.outcome, _TOLERATED)
    if broken.any():
        yield f"{int(broken.sum())} of {len(run.exchanges)} requests failed"
    if run.differences:
        yield f"the gateway counted otherwise: {'; '.join(run.differences)}"
    if run.stopped and not plan.scenario.breaks:
        yield run.stopped


def _of_accuracy(execution: Execution, wish: Wish) -> Iterator[str]:
    tally = execution.tally
    if tally.judged and tally.accuracy < wish.accuracy_floor:
        yield (
            f"{tally.right} of {tally.judged} images got their label ({tally.accuracy:.1%}),"
            f" expected {wish.accuracy_floor:.1%}"
        )


def _of_report(report: Report, plan: Plan) -> Iterator[str]:
    worse = [found.what for found in report.comparisons if found.verdict == _WORSE]
    if worse:
        yield f"worse than the baseline: {', '.join(worse)}"
    different = [found.what for found in report.arms if found.verdict in _DIFFERENT]
    if different and plan.scenario.twins:
        yield f"two arms that are one model differ: {', '.join(different)}"
