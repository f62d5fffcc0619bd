"""The metrics of experiments, beside those of `serve.metrics` in the same registry.

An experiment has series only while it is live: `start_experiment` makes them exist at 0, so that a rate over
them is right from the first event, and `forget_experiment` takes them away. The counts are for alerts and
dashboards; verdicts and rollbacks are decided from the ledger's exact sums.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serve.core.experiment import Design, Experiment, Mode
from serve.core.verdict import Verdict
from serve.metrics import OUTCOME_LABELS, REQUEST_BUCKETS

AGREES = ("true", "false")
# What can get lost: `serve.core.record.Dropped.what`.
DROPPED = ("record", "mirror")


class ExperimentMetrics:
    """The series of the experiments of one gateway process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric; twice in one registry is an error."""
        self._rolled_back: set[str] = set()
        self._ended: set[str] = set()
        self.requests = Counter(
            "attnserve_experiment_requests",
            "Requests to an experiment, by assigned arm, how they ended for the caller, and why that arm.",
            ("experiment", "arm", "outcome", "assignment"),
            registry=registry,
        )
        self.duration = Histogram(
            "attnserve_experiment_duration_seconds",
            "Seconds from the call of an arm to its answer, mirrored calls included.",
            ("experiment", "arm"),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self.agreement = Counter(
            "attnserve_experiment_agreement",
            "Images that two arms answered, by whether they agree.",
            ("experiment", "agrees"),
            registry=registry,
        )
        self.verdict = Gauge(
            "attnserve_experiment_verdict",
            "1 for the current one.",
            ("experiment", "verdict"),
            registry=registry,
        )
        self.dropped = Counter(
            "attnserve_experiment_dropped",
            "Records that were lost on the way to the store, and mirrored calls that were never begun.",
            ("experiment", "arm", "what"),
            registry=registry,
        )
        self.rollbacks = Counter(
            "attnserve_experiment_rollbacks",
            "Rollbacks that this gateway did by itself, by the guardrail that was crossed.",
            ("experiment", "reason"),
            registry=registry,
        )
        self.watch_success = Gauge(
            "attnserve_experiment_watch_success",
            "1 when every live experiment could be evaluated at the last poll; else guardrails do not act.",
            registry=registry,
        )

    def start_experiment(self, experiment: Experiment) -> None:
        """Make the series of an experiment exist; those that do already keep their values."""
        name, design = experiment.name, experiment.design
        self._ended.discard(name)
        for index, arm in enumerate(design.arms):
            self._start_arm(design, index)
            self.duration.labels(name, arm.name)
            for what in DROPPED:
                self.dropped.labels(name, arm.name, what)
        for verdict in Verdict:
            self.verdict.labels(name, verdict.value)
        for guardrail in design.guardrails:
            self.rollbacks.labels(name, guardrail.metric)
        for agrees in AGREES if design.mode is not Mode.SPLIT else ():
            self.agreement.labels(name, agrees)

    def show_verdict(self, name: str, verdict: Verdict) -> None:
        """Show that verdict as the experiment's current one."""
        if self.has_ended(name):
            return
        for one in Verdict:
            self.verdict.labels(name, one.value).set(one == verdict)

    def count_rollback(self, name: str, metric: str) -> None:
        """Count a rollback by the guardrail that watches that metric."""
        self._rolled_back.add(name)
        self.rollbacks.labels(name, metric).inc()

    def has_ended(self, name: str) -> bool:
        """Whether its series are gone: a call that was under way must not make them anew."""
        return name in self._ended

    def forget_experiment(self, name: str) -> None:
        """Drop every series of an experiment that has ended; nothing happens when there are none.

        Only a rollback stays: an alert looks for it just when the experiment is over.
        """
        self._ended.add(name)
        for metric in (self.requests, self.duration, self.agreement, self.verdict, self.dropped):
            metric.remove_by_labels({"experiment": name})
        if name not in self._rolled_back:
            self.rollbacks.remove_by_labels({"experiment": name})

    def _start_arm(self, design: Design, arm: int) -> None:
        for assignment in _assignments(design, arm):
            for outcome in OUTCOME_LABELS:
                self.requests.labels(design.name, design.arms[arm].name, outcome, assignment)


def _assignments(design: Design, arm: int) -> Iterator[str]:
    """The reasons for which a request can be given to that arm: values of `serve.core.assignment.Why`."""
    yield "hash"
    if arm == 0:
        yield from ("single", "holdout")
    else:
        yield "fallback"
    if design.overrides:
        yield "override"
