"""The queue that explains what was measured: a straight line for batches, then what response times add.

In this order, so that little is left to a search: the time of a batch from the handler's own clock; between
which limits the time of a request in the gateway lies, from its CPU time and from the highest rate that was
answered; and then, by least squares, that time, how long a batch is under way to its worker, and how much
times vary. The transport is what the lightest step's median has besides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from loadtests.capacity.measured import PERCENTILES, Measured
from loadtests.capacity.queue import Outcome, drawn, serve
from loadtests.capacity.service import Batching, Service

Floats: TypeAlias = NDArray[np.float64]

_REQUESTS: Final = 3_000  # at least, through each queue that is tried for a step
_TIMES: Final = 5  # at least, so that it is seen how much is chance
_SEED: Final = 1  # the same chance for every queue
WIDEST: Final = 1.5  # spread of a batch's time: its 99th percentile is then 33 times its median
# The gateway counts as the limit where everything broke that much below what the workers could do.
_SHORT_OF_WORKERS: Final = 0.9
# No model is better than that, however many requests there are: nothing is gained by fitting closer.
_FLOOR: Final = 0.05
_FIRST_GUESS: Final = (1.2, 1.2, 1.3)
_CLOSE: Final = 3e-3  # of the unknowns and of the sum of squares: nearer is not told from chance
_STEP: Final = 0.04  # of the unknowns, for slopes: a simulation is no smooth function


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Mean time of a batch over its mean size.

    A straight line through single batches goes through their means, too, whatever the sizes in them.

    Attributes:
        alpha_ms: At size 0.
        beta_ms: For each image.
        worst: Largest share by which a step's own mean is off the line.
    """

    alpha_ms: float
    beta_ms: float
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a fit starts from.

    Attributes:
        batching: The gateway's.
        images: Shares of requests by their number of images.
        saturation: Requests a second at which everything broke; None where nothing did.
    """

    batching: Batching
    images: tuple[tuple[int, float], ...]
    saturation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a queue makes of the requests of a step.

    Attributes:
        percentiles: "p50" and so on -> response time in milliseconds.
        chances: Standard deviation of each one's logarithm between runs that differ by chance alone, which
            is large near the break: a queue forgets slowly there, and a step is short.
        mean_batch: Images in a batch.
    """

    percentiles: Mapping[str, float]
    chances: Mapping[str, float]
    mean_batch: float


def predict(service: Service, batching: Batching, step: Measured) -> Prediction:
    """Send a step's requests through a queue, each when it was due, some times with other batch times."""
    times = max(_TIMES, math.ceil(_REQUESTS / len(step.due_ms)))
    random = np.random.default_rng(_SEED)
    outcomes = [_once(service, batching, step, random) for _ in range(times)]
    shares = list(PERCENTILES.values())
    values = np.quantile(np.concatenate([outcome.response_ms for outcome in outcomes]), shares)
    single = np.log([np.quantile(outcome.response_ms, shares) for outcome in outcomes])
    return Prediction(
        percentiles=dict(zip(PERCENTILES, values.tolist(), strict=True)),
        chances=dict(zip(PERCENTILES, single.std(axis=0, ddof=1).tolist(), strict=True)),
        mean_batch=float(np.mean([outcome.mean_batch for outcome in outcomes])),
    )


def _once(service: Service, batching: Batching, step: Measured, random: np.random.Generator) -> Outcome:
    flow = drawn(step.due_ms, step.images, service.spread, random, step.settled)
    return serve(service, batching, flow)


def line(steps: Sequence[Measured]) -> Line:
    """Fit mean times of batches by least squares, none below 0, each step with the weight of its batches."""
    sizes = np.array([step.mean_batch for step in steps])
    times = np.array([step.handler_ms for step in steps])
    batches = np.array([step.requests / step.mean_batch for step in steps])
    # A batch's deviation grows with its time, so what is to be small is the share by which a step is off.
    weights = np.sqrt(batches) / times
    (alpha, beta), _ = nnls(weights[:, None] * np.column_stack([np.ones_like(sizes), sizes]), weights * times)
    worst = np.abs((alpha + beta * sizes) / times - 1).max()
    return Line(alpha_ms=float(alpha), beta_ms=float(beta), worst=float(worst))


def fit(steady: Sequence[Measured], beyond: Sequence[Measured], known: Known) -> Service:
    """Find the queue.

    Args:
        steady: Steps below the break, whose response times count.
        beyond: Those beyond it, of which only the time of a batch does.
        known: What is known without them.
    """
    batch = line([*steady, *beyond])
    service = Service(alpha_ms=batch.alpha_ms, beta_ms=batch.beta_ms, images=known.images)
    search = _Search(service, steady, known.batching, _front_range([*steady, *beyond], service, known))
    # The unknowns are shifted by 1, because slopes are taken over shares of them.
    found = least_squares(
        search.misses,
        _FIRST_GUESS,
        bounds=((1, 1, 1), (2, 2, 1 + WIDEST)),
        diff_step=[_STEP] * 3,
        loss="soft_l1",
        xtol=_CLOSE,
        ftol=_CLOSE,
    )
    return search.service(found.x)


def _front_range(steps: Sequence[Measured], service: Service, known: Known) -> tuple[float, float]:
    """Least and most that each request can take before the workers.

    It is no less than the gateway's CPU time, and no more than the highest rate leaves that was answered;
    where everything broke although the workers could do far more, it is exactly that.
    """
    most = 1e3 / (known.saturation or max(step.answered for step in steps))
    workers = service.workers_rate(known.batching)
    if known.saturation is not None and known.saturation < _SHORT_OF_WORKERS * workers:
        return most, most
    cpu = [step.front_ms for step in steps if step.front_ms is not None]
    return min(*cpu, most) if cpu else 0.0, most


class _Search:
    """How far a queue is from the steps, for three unknowns."""

    def __init__(
        self, service: Service, steps: Sequence[Measured], batching: Batching, front_ms: tuple[float, float]
    ) -> None:
        self._service = service
        self._steps = sorted(steps, key=lambda step: step.rate)
        self._batching = batching
        self._front_ms = front_ms
        self._rest_ms = max(0.0, self._steps[0].percentiles["p50"] - service.handler_ms(1) - front_ms[0])
        guess = self._without_transport(np.array(_FIRST_GUESS))
        self._chances = [predict(guess, batching, step).chances for step in self._steps]

    def service(self, unknowns: Floats) -> Service:
        """The queue with these; the transport is what the lightest step's median has besides."""
        known = self._without_transport(unknowns)
        return replace(known, transport_ms=self._transport_ms(predict(known, self._batching, self._steps[0])))

    def misses(self, unknowns: Floats) -> Floats:
        """Logarithms of predicted over measured, in standard errors of the measurement."""
        known = self._without_transport(unknowns)
        predictions = [predict(known, self._batching, step) for step in self._steps]
        transport_ms = self._transport_ms(predictions[0])
        pairs = zip(self._steps, predictions, self._chances, strict=True)
        return np.concatenate([_misses(step, found, chances, transport_ms) for step, found, chances in pairs])

    def _without_transport(self, unknowns: Floats) -> Service:
        held, front, spread = (float(unknown) - 1 for unknown in unknowns)
        least, most = self._front_ms
        return replace(
            self._service,
            held_ms=held * self._rest_ms,
            front_ms=least + front * (most - least),
            spread=spread,
        )

    def _transport_ms(self, lightest: Prediction) -> float:
        return max(0.0, self._steps[0].percentiles["p50"] - lightest.percentiles["p50"])


def _misses(
    step: Measured, prediction: Prediction, chances: Mapping[str, float], transport_ms: float
) -> list[float]:
    times = [
        math.log((prediction.percentiles[name] + transport_ms) / value)
        / math.hypot(_FLOOR, step.errors[name], chances[name])
        for name, value in step.percentiles.items()
    ]
    return [*times, math.log(prediction.mean_batch / step.mean_batch) / math.hypot(_FLOOR, chances["p50"])]
