"""Steward: what the gateway does about experiments by itself, at every poll.

It evaluates each live experiment of which something new was written, shows the verdict, and ends what must
be ended: a guardrail that has tripped rolls back, in whatever state and however little else is known; a
verdict of "better" promotes where the design said so beforehand. That a comparison is broken does neither, it
is only told.

Every gateway has one, and needs no other: the ledger's version numbers let only one of them act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from serve.core.errors import ServeError
from serve.core.experiment import ENDED, LIVE, Experiment
from serve.core.lifecycle import Act
from serve.core.report import Report
from serve.core.report.rows import Guard, GuardrailRow
from serve.core.verdict import Verdict
from serve.experiment_metrics import ExperimentMetrics
from serve.experiments.desk import Desk
from serve.experiments.desk_parts import DeskParts
from serve.experiments.editing import ActRequest
from serve.experiments.looks import Looks
from serve.ledger.database import told

log = structlog.get_logger(__name__)

GUARDRAIL, POLICY = "guardrail", "policy"


class Steward:
    """Looks after the live experiments."""

    def __init__(self, desk: Desk, parts: DeskParts, metrics: ExperimentMetrics) -> None:
        """Nothing runs before `run`.

        Args:
            desk: Evaluates, and makes versions.
            parts: Those of the desk.
            metrics: Show verdicts and count rollbacks.
        """
        self._desk = desk
        self._parts = parts
        self._metrics = metrics
        self._looks = Looks(parts.ledger, parts.threads)
        # Experiment -> (version, writes of the ledger) when it was last seen to.
        self._seen: dict[int, tuple[int, int]] = {}
        self._verdicts: dict[str, Verdict] = {}
        # Those of which a bug has been told.
        self._odd: set[str] = set()
        self._well = True
        metrics.watch_success.set(1)

    async def run(self) -> None:
        """Look again and again; does not end by itself."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            await self.look()
            await asyncio.sleep(max(0.0, begun + self._parts.poll_interval_s - loop.time()))

    async def look(self) -> None:
        """See to every experiment once; what fails is tried again at the next look."""
        problems: list[str] = []
        with self._noting(problems, "experiments"):
            activity = await self._desk.reports.activity()
            for experiment in self._parts.plans.experiments():
                with self._noting(problems, experiment.name):
                    await self._see_to(experiment, activity.get(experiment.id, 0))
        self._tell(problems)

    async def _see_to(self, experiment: Experiment, writes: int) -> None:
        await self._desk.editing.settle(experiment)
        if experiment.state in ENDED:
            self._forget(experiment)
        now = (experiment.number, writes)
        if experiment.state not in LIVE or self._seen.get(experiment.id) == now:
            return
        report = await self._desk.reports.of(experiment, writes)
        self._show(experiment, report)
        await self._act_on(experiment, report)
        await self._looks.add(experiment, report)
        self._seen[experiment.id] = now

    async def _act_on(self, experiment: Experiment, report: Report) -> None:
        tripped = [row for row in report.guardrails if row.state is Guard.TRIPPED]
        if tripped:
            await self._roll_back(experiment, tripped[0])
        elif report.verdict is Verdict.BETTER and experiment.design.promote_when_better:
            await self._promote(experiment, report)

    async def _roll_back(self, experiment: Experiment, row: GuardrailRow) -> None:
        reason = _reason(row)
        ended = await self._desk.editing.end(
            experiment.name, Act.ROLLBACK, GUARDRAIL, ActRequest(reason=reason)
        )
        if ended is not None:
            self._metrics.count_rollback(experiment.name, row.metric)
            log.error(
                "experiment rolled back", experiment=experiment.name, version=ended.number, reason=reason
            )

    async def _promote(self, experiment: Experiment, report: Report) -> None:
        better = [one for one in report.comparisons if one.verdict is Verdict.BETTER]
        best = max(better, key=lambda one: abs(one.row.estimate or 0.0))
        request = ActRequest(reason=f"promote_when_better: {best.sentence}"[:500], arm=best.arm)
        ended = await self._desk.editing.end(experiment.name, Act.PROMOTE, POLICY, request)
        if ended is not None:
            log.warning("experiment promoted", experiment=experiment.name, version=ended.number, arm=best.arm)

    def _show(self, experiment: Experiment, report: Report) -> None:
        self._metrics.show_verdict(experiment.name, report.verdict)
        before = self._verdicts.get(experiment.name)
        self._verdicts[experiment.name] = report.verdict
        if before is not report.verdict and report.verdict is Verdict.BROKEN:
            log.error("comparison is broken", experiment=experiment.name, why=report.sentence)

    def _forget(self, experiment: Experiment) -> None:
        """An experiment that has ended has no series, once that is in force; what is pending still counts."""
        if experiment.name in self._verdicts and experiment.effective_at <= self._parts.clock():
            del self._verdicts[experiment.name]
            self._metrics.forget_experiment(experiment.name)
            self._looks.forget(experiment)
            self._seen.pop(experiment.id, None)

    @contextmanager
    def _noting(self, problems: list[str], name: str) -> Iterator[None]:
        """Note what goes wrong inside and go on: one oddity must not end the watch over the others."""
        try:
            yield
        except ServeError as error:
            problems.append(f"{name}: {told(error)}")
        except Exception:
            problems.append(f"{name}: an internal error")
            if name not in self._odd:
                self._odd.add(name)
                log.exception("experiment cannot be seen to", experiment=name)
        else:
            self._odd.discard(name)

    def _tell(self, problems: Sequence[str]) -> None:
        """Say that not everything could be seen to, once for as long as that is so."""
        well = not problems
        self._metrics.watch_success.set(well)
        if well is not self._well:
            self._well = well
            if well:
                log.info("experiments are watched again")
            else:
                log.error("experiments cannot be watched, guardrails do not act", why=problems[0])


def _reason(row: GuardrailRow) -> str:
    return (
        f"guardrail {row.metric}: arm {row.arm!r} {row.arm_events} of {row.arm_n} calls, control"
        f" {row.control_events} of {row.control_n}; at most {row.max_ratio:g} times the control's rate is"
        f" allowed; log e-value {row.log_e:.2f} has reached {row.threshold:.2f}"
    )
