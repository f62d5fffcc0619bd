"""What the steps of a run say of the queue: the figures that a model is fitted on, and held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtests.capacity.service import CapacityError
from loadtests.exchanges import Exchanges, Floats, Ints, Mask
from loadtests.outcome import Run
from loadtests.report.document import Report, Step

PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
# Answers keep up with arrivals when at most that share of them is missing at the end of a step.
_BEHIND: Final = 0.03
_FAILED: Final = 0.05
LEAST_STEPS: Final = 3
LEAST_REQUESTS: Final = 100
# Between mean batches: with less the time of a batch and that of an image cannot be told apart.
_LEAST_SPREAD: Final = 1.15
_LEAD: Final = 0.25  # of a step's length: so much before it fills the queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One step.

    Attributes:
        name: As in the report.
        rate: Requests a second that were due in it.
        answered: Requests a second that were answered rightly.
        requests: That were due in it.
        due_ms: [N] when each request was due, and those of a while before, ascending.
        images: [N] int64, of each.
        settled: The first of them that was due in the step.
        percentiles: "p50" and so on -> response time in milliseconds, from when each was due; those for
            which there are enough requests.
        errors: Of the same: standard error of the logarithm.
        mean_batch: Images in a batch.
        handler_ms: Mean time of a batch in the handler.
        front_ms: CPU time of the gateway for each request; None where it is not known.
        steady: Whether answers kept up with arrivals, here and in every step before.
        kept: Whether the promise of the run held, too.
    """

    name: str
    rate: float
    answered: float
    requests: int
    due_ms: Floats
    images: Ints
    settled: int
    percentiles: Mapping[str, float]
    errors: Mapping[str, float]
    mean_batch: float
    handler_ms: float
    front_ms: float | None
    steady: bool
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a run says of the queue of one model.

    Attributes:
        model: Its name.
        steps: By rate, ascending.
        images: Shares of requests by their number of images.
    """

    model: str
    steps: tuple[Measured, ...]
    images: tuple[tuple[int, float], ...]

    @property
    def steady(self) -> tuple[Measured, ...]:
        """Steps below the break."""
        return tuple(step for step in self.steps if step.steady)

    @property
    def saturation(self) -> float | None:
        """Most requests a second that were answered beyond the break; None where it was not reached."""
        return max((step.answered for step in self.steps if not step.steady), default=None)


def measure(run: Run, report: Report) -> Measurement:
    """Read a run.

    Raises:
        CapacityError: It has not what a model can be fitted on; the message says what is missing.
    """
    if run.loop != "open":
        raise CapacityError(
            f"loop is {run.loop!r}, must be 'open': users who wait for each other hide the queue"
        )
    model = _model(run.exchanges)
    steps: list[Measured] = []
    for step in sorted(report.steps, key=lambda step: step.begins):
        steady_before = not steps or steps[-1].steady
        if one := _measured(run, step, steady_before=steady_before):
            steps.append(one)
    check(report, steps)
    answered = run.exchanges.where((run.exchanges.served == model) & (run.exchanges.images > 0))
    return Measurement(
        model=model, steps=tuple(sorted(steps, key=lambda step: step.rate)), images=_shares(answered)
    )


def check(report: Report, steps: Sequence[Measured]) -> None:
    """Refuse steps that leave the model open.

    Args:
        report: Of the run.
        steps: Those that can be used.

    Raises:
        CapacityError: There are too few, or all have the same mean batch.
    """
    if report.steps and not any(step.handler_ms and step.mean_batch for step in report.steps):
        raise CapacityError("steps: the gateway's metrics say nothing of their batches; where is --metrics?")
    steady = [step for step in steps if step.steady]
    if len(steady) < LEAST_STEPS:
        raise CapacityError(
            f"steps: {len(steady)} of {len(report.steps)} kept up with their load in {LEAST_REQUESTS}"
            f" requests or more, {LEAST_STEPS} must; take a lower --rate, or more --seconds"
        )
    sizes = [step.mean_batch for step in steps]
    if max(sizes) < _LEAST_SPREAD * min(sizes):
        raise CapacityError(
            f"steps: batches had {min(sizes):.2f} to {max(sizes):.2f} images on average; what a batch and"
            " what an image takes can only be told apart when they differ; end with a higher --rate"
        )


def _model(exchanges: Exchanges) -> str:
    names = sorted({str(name) for name in exchanges.served} - {""})
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise CapacityError(f"models: {found} answered, the capacity is that of exactly one")
    return names[0]


def _measured(run: Run, step: Step, *, steady_before: bool) -> Measured | None:
    """A step's figures; None where it was too short, or the gateway's metrics say nothing of it."""
    begins, ends = run.began + step.begins, run.began + step.ends
    due = run.exchanges.where((run.exchanges.due >= begins) & (run.exchanges.due < ends))
    figures = {figure.name: figure for figure in step.response if figure.value is not None}
    if not step.mean_batch or not step.handler_ms or len(due) < LEAST_REQUESTS or "p50" not in figures:
        return None
    seconds = step.ends - step.begins
    lead = run.exchanges.where((run.exchanges.due >= begins - _LEAD * seconds) & (run.exchanges.due < ends))
    good = ~run.exchanges.failed & (run.exchanges.ended >= begins) & (run.exchanges.ended < ends)
    rate = len(due) / seconds
    return Measured(
        name=step.name,
        rate=rate,
        answered=float(good.sum()) / seconds,
        requests=len(due),
        due_ms=1e3 * (lead.due - lead.due[0]),
        images=np.maximum(lead.images, 1),
        settled=len(lead) - len(due),
        percentiles={name: figures[name].value or 0.0 for name in PERCENTILES if name in figures},
        errors={name: figures[name].log_se or 0.0 for name in PERCENTILES if name in figures},
        mean_batch=step.mean_batch,
        handler_ms=step.handler_ms,
        front_ms=1e3 * step.gateway_cores / rate if step.gateway_cores is not None else None,
        steady=steady_before and _keeps_up(due, run.exchanges, begins, ends),
        kept=step.kept,
    )


def _keeps_up(due: Exchanges, every: Exchanges, begins: float, ends: float) -> bool:
    """Whether hardly more requests are unanswered when the step ends than when it began, and few failed."""
    growth = _unanswered(every, ends).sum() - _unanswered(every, begins).sum()
    return bool(growth <= max(_BEHIND * len(due), 3.0) and due.failed.mean() <= _FAILED)


def _unanswered(every: Exchanges, at: float) -> Mask:
    return (every.due <= at) & (every.ended > at)


def _shares(exchanges: Exchanges) -> tuple[tuple[int, float], ...]:
    numbers, counts = np.unique(exchanges.images, return_counts=True)
    total = int(counts.sum())
    return tuple((int(number), int(count) / total) for number, count in zip(numbers, counts, strict=True))
