"""A model with all that it was held against: steps that it had not seen, and fits without each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtests.capacity.fit import Known, fit, line, predict
from loadtests.capacity.measured import Measured, Measurement
from loadtests.capacity.service import Batching, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A step beside its predictions; percentiles are milliseconds by "p50" and so on.

    Attributes:
        name: As in the report.
        rate: Requests a second that were due in it.
        steady: Whether answers kept up with arrivals; only then are there predictions.
        kept: Whether the promise of the run held, too.
        measured: Percentiles for which there were enough requests.
        predicted: By the fit on all steady steps.
        held_out: By the fit on every second one, of which this is none; empty for the others.
        left_out: By a fit on all the others.
        mean_batch: Measured.
        predicted_batch: Predicted by the fit on all steady steps; None beyond the break.
    """

    name: str
    rate: float
    steady: bool
    kept: bool
    measured: Mapping[str, float]
    predicted: Mapping[str, float]
    held_out: Mapping[str, float]
    left_out: Mapping[str, float]
    mean_batch: float
    predicted_batch: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model and what is needed to answer with it, now or later.

    Attributes:
        model: Whose capacity it is.
        promised_ms: The promise that the run was made under.
        batching: The gateway's.
        service: Fitted on all steady steps.
        halved: Fitted on every second one; what lies beyond the break is known to every fit.
        left_out: Fitted on all but one, by rate of the one.
        saturation: Requests a second at which everything broke; None where nothing did.
        line_worst: Largest share by which a step's mean time of a batch is off the straight line.
        steps: By rate.
    """

    model: str
    promised_ms: float
    batching: Batching
    service: Service
    halved: Service
    left_out: tuple[Service, ...]
    saturation: float | None
    line_worst: float
    steps: tuple[Compared, ...]

    @property
    def limit(self) -> str:
        """What gives out first: "workers" or "gateway"."""
        workers = self.service.workers_rate(self.batching)
        return "workers" if self.service.saturation(self.batching) >= workers else "gateway"

    def as_json(self) -> dict[str, Any]:
        """For a document."""
        return asdict(self)

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Fitted:
        """From `as_json`."""
        parts: dict[str, Any] = {
            "batching": Batching(**document["batching"]),
            "service": Service.of_json(document["service"]),
            "halved": Service.of_json(document["halved"]),
            "left_out": tuple(Service.of_json(one) for one in document["left_out"]),
            "steps": tuple(Compared(**one) for one in document["steps"]),
        }
        return cls(**{**document, **parts})


def fitted(measurement: Measurement, batching: Batching, promised_ms: float) -> Fitted:
    """Fit on all steps, on every second one, and on all but each one.

    Args:
        measurement: Of the run.
        batching: The gateway's.
        promised_ms: What the run was held against.
    """
    steady, beyond = measurement.steady, [step for step in measurement.steps if not step.steady]
    known = Known(batching=batching, images=measurement.images, saturation=measurement.saturation)
    service, halved = fit(steady, beyond, known), fit(steady[::2], beyond, known)
    without = [fit(_others(steady, one), beyond, known) for one in steady]

    def compared(number: int, step: Measured) -> Compared:
        own = predict(service, batching, step)
        return Compared(
            name=step.name,
            rate=step.rate,
            steady=True,
            kept=step.kept,
            measured=step.percentiles,
            predicted=own.percentiles,
            held_out=predict(halved, batching, step).percentiles if number % 2 else {},
            left_out=predict(without[number], batching, step).percentiles,
            mean_batch=step.mean_batch,
            predicted_batch=own.mean_batch,
        )

    return Fitted(
        model=measurement.model,
        promised_ms=promised_ms,
        batching=batching,
        service=service,
        halved=halved,
        left_out=tuple(without),
        saturation=measurement.saturation,
        line_worst=line(measurement.steps).worst,
        steps=tuple(
            sorted(
                [*(compared(*one) for one in enumerate(steady)), *map(_broken, beyond)],
                key=lambda step: step.rate,
            )
        ),
    )


def _broken(step: Measured) -> Compared:
    """A step beyond the break, where there is nothing to predict."""
    return Compared(
        name=step.name,
        rate=step.rate,
        steady=False,
        kept=step.kept,
        measured=step.percentiles,
        predicted={},
        held_out={},
        left_out={},
        mean_batch=step.mean_batch,
        predicted_batch=None,
    )


def _others(steps: Sequence[Measured], one: Measured) -> list[Measured]:
    return [step for step in steps if step is not one]
