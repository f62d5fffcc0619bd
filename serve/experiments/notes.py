"""What is written down of a call: a record for the ledger, counts for the metrics, a token for the caller."""

from __future__ import annotations

from serve.core.assignment import Why
from serve.core.experiment import LIVE, Experiment
from serve.core.record import CallRecord, Said, Ticket
from serve.core.trace import exemplar
from serve.experiment_metrics import ExperimentMetrics
from serve.experiments.case import Case, Heard, Made, Told, failed_inside, images_of
from serve.experiments.keys import Keys
from serve.experiments.recorder import Recorder


class Notes:
    """Takes notes of calls; nothing here waits."""

    def __init__(self, recorder: Recorder, metrics: ExperimentMetrics, keys: Keys) -> None:
        """Tie the parts together."""
        self._recorder = recorder
        self._metrics = metrics
        self._keys = keys

    def call(self, case: Case, arm: int, made: Made, control: Told = None) -> None:
        """Write down one arm's call.

        Args:
            case: The request.
            arm: Whose call.
            made: How it went.
            control: For a mirrored call: what the control said of the same images.
        """
        experiment, heard = case.experiment, made.heard
        place = experiment.design.arms[arm]
        if not self._metrics.has_ended(experiment.name):
            duration = self._metrics.duration.labels(experiment.name, place.name)
            duration.observe(made.taken_s, exemplar(made.trace))
        differ = self._compare(experiment, control or (), heard.said if heard else ())
        record = CallRecord(
            experiment=experiment.id,
            version=experiment.number,
            phase=experiment.phase,
            prediction=case.prediction,
            unit=case.unit,
            arm=arm,
            role=made.role,
            at=case.at,
            model=place.model,
            model_version=place.version,
            outcome=made.outcome,
            failed=made.failed or (heard is not None and failed_inside(heard.prediction)),
            latency_us=round(made.taken_s * 1e6),
            queue_us=round(heard.prediction.queue_s * 1e6) if heard else 0,
            answers=heard.said if heard else (),
            images=images_of(case.asked.request) if differ and experiment.design.keep_images else (),
        )
        self._recorder.add(experiment, record)

    def count(self, experiment: Experiment, arm: int, outcome: str, why: Why) -> None:
        """Count a request in the metrics; an experiment that has ended has no series any more."""
        if experiment.state in LIVE and not self._metrics.has_ended(experiment.name):
            name = experiment.design.arms[arm].name
            self._metrics.requests.labels(experiment.name, name, outcome, why.value).inc()

    def drop(self, experiment: Experiment, arm: int, what: str) -> None:
        """Count something that was not done, or is lost."""
        self._recorder.drop(experiment, experiment.phase, arm, what)

    def token(self, case: Case, arm: int, heard: Heard) -> str:
        """What the caller brings back with the true label."""
        experiment = case.experiment
        ticket = Ticket(
            experiment=experiment.id,
            version=experiment.number,
            phase=experiment.phase,
            prediction=case.prediction,
            unit=case.unit,
            arm=arm,
            issued_at=int(case.at),
            answers=heard.said,
        )
        return self._keys.tokens.sign(ticket)

    def unit_hash(self, unit: str) -> str:
        """What is kept of a unit."""
        return self._keys.unit_hash(unit)

    def _compare(
        self, experiment: Experiment, control: tuple[Said | None, ...], arm: tuple[Said | None, ...]
    ) -> bool:
        """Count images that both answered; returns whether any was answered differently."""
        pairs = [(one, other) for one, other in zip(control, arm, strict=False) if one and other]
        differ = sum(one.top1 != other.top1 for one, other in pairs)
        if pairs and not self._metrics.has_ended(experiment.name):
            self._metrics.agreement.labels(experiment.name, "false").inc(differ)
            self._metrics.agreement.labels(experiment.name, "true").inc(len(pairs) - differ)
        return differ > 0
