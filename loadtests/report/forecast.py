"""What the page shows of the capacity model's answer, of which any part may be missing.

The answer is a document of `loadtests.capacity.answer`, which says what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.report.document import Report
from serve.reporting.node import Node

PERCENTILES: Final = ("p50", "p90", "p95", "p99")
# What a manifest is for -> its key.
_MANIFESTS: Final = {"HorizontalPodAutoscaler": "hpa", "ScaledObject of KEDA": "keda"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A percentile of a step, and what a fit that had not seen the step made of it; milliseconds.

    Attributes:
        measured: None where there were too few requests.
        predicted: None where there is no prediction.
    """

    measured: float | None
    predicted: float | None

    @property
    def ratio(self) -> float | None:
        """Predicted over measured; None where one of them is not known."""
        return self.predicted / self.measured if self.predicted and self.measured else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A step beside its prediction.

    Attributes:
        name: As in the report.
        rate: Requests a second that were due in it.
        unseen: How the fit that predicts it was kept from seeing it.
        held_out: Whether it belongs to the half that one fit has seen nothing of.
        steady: Whether answers kept up with arrivals; only then are there predictions.
        guesses: By "p50" and so on.
        mean_batch: Measured.
        predicted_batch: Predicted by the fit on all steps.
    """

    name: str
    rate: float
    unseen: str
    held_out: bool
    steady: bool
    guesses: Mapping[str, Guess]
    mean_batch: float | None
    predicted_batch: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The answer, fit to be shown.

    Attributes:
        answer: The document.
        doubts: What stands against believing it.
        sentences: In words, without those that repeat a doubt.
        steps: Those that have a rate, by rate.
        manifests: For autoscalers: (what for, YAML).
    """

    answer: Node
    doubts: Sequence[str]
    sentences: Sequence[str]
    steps: Sequence[Judged]
    manifests: Sequence[tuple[str, str]]


def forecast(report: Report) -> Forecast | None:
    """What the capacity model said; None where it was not asked."""
    if not report.capacity:
        return None
    answer = Node(report.capacity)
    doubts, sentences = answer.texts("doubts"), answer.texts("sentences")
    return Forecast(
        answer=answer,
        doubts=doubts,
        sentences=[said for said in sentences if not any(doubt in said for doubt in doubts)],
        steps=sorted(filter(None, map(_judged, answer.nodes("steps"))), key=lambda step: step.rate),
        manifests=list(_manifests(report.capacity)),
    )


def _judged(step: Node) -> Judged | None:
    rate = step.number("rate")
    if rate is None:
        return None
    held_out, steady = bool(step.node("held_out")), bool(step.flag("steady"))
    seen = step.node("held_out" if held_out else "left_out")
    return Judged(
        name=step.text("name"),
        rate=rate,
        unseen=("with the other half" if held_out else "alone") if steady else "beyond the break",
        held_out=held_out,
        steady=steady,
        guesses={
            name: Guess(measured=step.node("measured").number(name), predicted=seen.number(name))
            for name in PERCENTILES
        },
        mean_batch=step.number("mean_batch"),
        predicted_batch=step.number("predicted_batch"),
    )


def _manifests(answer: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """As they are: a line break means something in YAML."""
    scaling = answer.get("autoscaling")
    for title, key in _MANIFESTS.items():
        text = scaling.get(key) if isinstance(scaling, Mapping) else None
        if isinstance(text, str):
            yield title, text
