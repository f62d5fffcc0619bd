"""Up to which rate a queue keeps a promise, and how many of them a rate needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from loadtests.capacity.fitted import Compared, Fitted
from loadtests.capacity.queue import Outcome, simulate
from loadtests.capacity.service import Batching, Service
from loadtests.report.knee import first_broken

_HALVINGS: Final = 11  # the search ends within 0.1 % of the saturation
_LEAST: Final = 0.02  # of the saturation: what breaks the promise there is no queue
_CURVE: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99)
_TIMES: Final = (1, 2, 5, 10)  # the measured knee, for the table of replicas
CAUTION: Final = 0.9  # of the lowest knee that any fit predicts or the steps have shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The largest rate at which 99 % of the requests are answered in time.

    Attributes:
        p99_ms: In time is so soon.
        predicted: Requests a second; None where the promise does not even hold when hardly anything comes.
        low: The lowest that fits without one of the steps predict; None likewise.
        high: The highest.
        held_out: What the fit on every second step predicts; None likewise.
        carried: Rate of the last step before `broken` that kept the promise; None where none did.
        broken: Rate of the first that broke it and was no accident (`first_broken`); None where none did.
    """

    p99_ms: float
    predicted: float | None
    low: float | None
    high: float | None
    held_out: float | None
    carried: float | None
    broken: float | None

    @property
    def error(self) -> float | None:
        """By which share the prediction is outside of what was measured; 0 inside, None: not known."""
        return self.missed_by(self.predicted)

    def missed_by(self, rate: float | None) -> float | None:
        """The same, of any rate; negative where it is too low."""
        if rate is None or (self.carried is None and self.broken is None):
            return None
        if self.carried is not None and rate < self.carried:
            return rate / self.carried - 1
        if self.broken is not None and rate > self.broken:
            return rate / self.broken - 1
        # Nothing broke: any rate that is not too low may be right.
        return 0.0 if self.broken is not None else None

    @property
    def lowest(self) -> float | None:
        """The lowest rate that any fit predicts, or that the steps have shown where one broke.

        None where a fit predicts none, or where the first step broke.
        """
        fits = (self.predicted, self.low, self.held_out)
        rates = fits if self.broken is None else (*fits, self.carried)
        known = [rate for rate in rates if rate is not None]
        return min(known) if len(known) == len(rates) else None

    @property
    def cautious(self) -> float | None:
        """Nine tenths of the lowest."""
        return None if self.lowest is None else CAUTION * self.lowest

    def as_json(self) -> dict[str, float | None]:
        """For a document."""
        names = ("predicted", "low", "high", "held_out", "carried", "broken", "error", "cautious")
        return {name: getattr(self, name) for name in names}


def knee(model: Fitted, p99_ms: float) -> Knee:
    """Predict it with every fit, and look where the steps have it."""
    rates = [largest_rate(one, model.batching, p99_ms) for one in model.left_out]
    known = [rate for rate in rates if rate is not None]
    kept = [_kept(step, model, p99_ms) for step in model.steps]
    first = first_broken(kept)
    carried = [step for step, held in zip(model.steps[:first], kept[:first], strict=True) if held]
    broken = model.steps[first:]
    return Knee(
        p99_ms=p99_ms,
        predicted=largest_rate(model.service, model.batching, p99_ms),
        low=min(known, default=None),
        high=max(known, default=None),
        held_out=largest_rate(model.halved, model.batching, p99_ms),
        carried=carried[-1].rate if carried else None,
        broken=broken[0].rate if broken else None,
    )


@cache
def largest_rate(service: Service, batching: Batching, p99_ms: float) -> float | None:
    """Requests a second up to which 99 % are answered in time; None where not even few are."""
    most = service.saturation(batching)
    good, bad = _LEAST * most, most
    if simulate(service, batching, good).percentile(0.99) > p99_ms:
        return None
    for _ in range(_HALVINGS):
        middle = (good + bad) / 2
        if simulate(service, batching, middle).percentile(0.99) <= p99_ms:
            good = middle
        else:
            bad = middle
    return good


def _kept(step: Compared, model: Fitted, p99_ms: float) -> bool:
    """Whether a step kept a promise; the highest percentile that is known stands for one that is not."""
    if p99_ms == model.promised_ms:
        return step.kept
    return step.steady and max(step.measured.values()) <= p99_ms


def curve(model: Fitted) -> tuple[dict[str, float], ...]:
    """Predicted figures from hardly any load to almost the most, for a plot."""
    return _curve(model.service, model.batching)


@cache
def _curve(service: Service, batching: Batching) -> tuple[dict[str, float], ...]:
    rates = (share * service.saturation(batching) for share in _CURVE)
    return tuple(_point(simulate(service, batching, rate), rate) for rate in rates)


def _point(outcome: Outcome, rate: float) -> dict[str, float]:
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    return {
        "rate": rate,
        **{name: outcome.percentile(share) for name, share in shares.items()},
        "concurrency": outcome.concurrency,
        "mean_batch": outcome.mean_batch,
    }


def replicas(model: Fitted, found: Knee, target_rate: float | None) -> list[dict[str, Any]]:
    """How many replicas a rate needs: the target, and multiples of the knee that was measured.

    Each replica is one like that which was measured, with the same machine to itself, and gets its share at
    random: a Poisson stream that is split at random is several Poisson streams. To choose the least busy one
    instead only makes it better.
    """
    base = found.carried or found.predicted
    if found.predicted is None or found.cautious is None or base is None:
        return []
    rates = {f"{times} x": times * base for times in _TIMES}
    if target_rate is not None:
        rates = {"target": target_rate, **rates}
    return [_needed(model, what, rate, (found.predicted, found.cautious)) for what, rate in rates.items()]


def _needed(model: Fitted, what: str, rate: float, knees: tuple[float, float]) -> dict[str, Any]:
    number, cautious = (math.ceil(rate / one) for one in knees)
    each = simulate(model.service, model.batching, rate / number)
    return {
        "what": what,
        "rate": rate,
        "replicas": number,
        "cautious": cautious,
        "p99_ms": each.percentile(0.99),
    }
