"""How many units an experiment needs by each metric, and which difference the planned ones find."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from serve.core.errors import InvalidRequestError
from serve.core.experiment import WHOLE, Design, Mode
from serve.core.statistics import power
from serve.core.statistics.intervals import rate_interval, wilson

POWER = 0.8
_MOST_UNITS = 10**9
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What somebody believes beforehand; only the plan depends on it, never a verdict.

    Attributes:
        accuracy: Of the control.
        error_rate: Of the control.
        disagreement: Share of the images that the arms answer differently.
        images_per_unit: That a unit sends, on average.
        icc: How alike they are, 0 to 1: correlation within a unit.
        units_per_day: Units that come a day, enrolled or not; None where nobody knows.
    """

    accuracy: float = 0.8
    error_rate: float = 0.01
    disagreement: float = 0.1
    images_per_unit: float = 1.0
    icc: float = 0.1
    units_per_day: float | None = None

    def __post_init__(self) -> None:
        for name in ("accuracy", "error_rate", "disagreement"):
            if not 0 < getattr(self, name) < 1:
                raise InvalidRequestError(f"{name} is {getattr(self, name)}, must be between 0 and 1")
        if not 1 <= self.images_per_unit < math.inf:
            raise InvalidRequestError(f"images_per_unit is {self.images_per_unit}, must be at least 1")
        if not 0 <= self.icc <= 1:
            raise InvalidRequestError(f"icc is {self.icc}, must be 0 to 1")
        if self.units_per_day is not None and not 0 < self.units_per_day < math.inf:
            raise InvalidRequestError(f"units_per_day is {self.units_per_day}, must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of one metric: units needed (a single look, any time), labels needed, and the effect that is found."""

    fixed: int | None = None
    anytime: int | None = None
    labels: int | None = None
    detectable: float | None = None


def _accuracy(design: Design, guess: Guess, alpha: float) -> Sizes:
    if design.mode is Mode.SPLIT:
        return _unpaired(design, guess.accuracy, guess, alpha)
    many = design.pairs == "all"
    # A unit counts as one pair; or as so many as its images are worth, alike as they are.
    worth = _images_worth(guess) if many else 1.0
    found = power.paired_detectable(int(design.planned_units * worth), guess.disagreement, alpha, POWER)
    detectable = found if math.isfinite(found) else None
    if design.margin > guess.disagreement:
        return Sizes(detectable=detectable)
    pairs = [
        power.paired_pairs_needed(design.margin, guess.disagreement, alpha, POWER, sequential=sequential)
        for sequential in (False, True)
    ]
    fixed, anytime = (math.ceil(one / worth) for one in pairs)
    images = anytime * (guess.images_per_unit if many else 1)
    return Sizes(
        fixed=fixed,
        anytime=anytime,
        labels=math.ceil(images * guess.disagreement),
        detectable=detectable,
    )


def _errors(design: Design, guess: Guess, alpha: float) -> Sizes:
    return _unpaired(design, guess.error_rate, guess, alpha)


def _unpaired(design: Design, rate: float, guess: Guess, alpha: float) -> Sizes:
    """Of a rate that each unit shows for one arm, or for every arm in shadow and paired mode."""
    # Towards one half, where a difference is harder to find.
    effect = design.margin if rate < _HALF else -design.margin
    spread, worth = _spread(design), _images_worth(guess)
    if math.isinf(spread):
        return Sizes()
    in_each = int(design.planned_units * worth / spread)
    found = power.unpaired_detectable(in_each, rate, alpha, POWER) if in_each else math.inf
    detectable = found if math.isfinite(found) else None
    if not 0 <= rate + effect <= 1:
        return Sizes(detectable=detectable)
    images = [
        power.unpaired_units_needed(effect, rate, alpha, POWER, sequential=sequential)
        for sequential in (False, True)
    ]
    fixed, anytime = (math.ceil(one * spread / worth) for one in images)
    labels = math.ceil(anytime * guess.images_per_unit) if design.primary_metric == "accuracy" else None
    return Sizes(fixed=fixed, anytime=anytime, labels=labels, detectable=detectable)


def _spread(design: Design) -> float:
    """Units of all arms together for each one that each of two equal arms would need.

    With shares w and v the variance of a difference is that of two equal arms of 2 / (1/w + 1/v) units each;
    inf where an arm gets none.
    """
    if design.mode is not Mode.SPLIT:
        return 1.0
    shares = [weight / WHOLE for weight in design.weights]
    if not all(shares):
        return math.inf
    return max((1 / shares[0] + 1 / share) / 2 for share in shares[1:])


def _images_worth(guess: Guess) -> float:
    """Independent images that a unit's are worth."""
    return guess.images_per_unit / power.design_effect(guess.images_per_unit, guess.icc)


def _agreement(design: Design, guess: Guess, alpha: float) -> Sizes:
    """Until the interval of the expected disagreement leaves out the margin."""

    def clear(units: int, *, sequential: bool) -> bool:
        interval = (rate_interval if sequential else wilson)(round(units * guess.disagreement), units, alpha)
        return not interval.contains(design.margin)

    if math.isclose(guess.disagreement, design.margin):
        return Sizes()
    return Sizes(
        fixed=_fewest(lambda units: clear(units, sequential=False)),
        anytime=_fewest(lambda units: clear(units, sequential=True)),
        labels=0,
    )


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The smallest number that is enough, to a thousandth; None beyond a thousand million."""
    low, high = 0, 1
    while not enough(high):
        low, high = high, high * 2
        if low > _MOST_UNITS:
            return None
    while high - low > max(1, high // 1000):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _latency(_design: Design, _guess: Guess, _alpha: float) -> Sizes:
    return Sizes()


SIZES: Mapping[str, Callable[[Design, Guess, float], Sizes]] = MappingProxyType(
    {
        "accuracy": _accuracy,
        "agreement": _agreement,
        "error_rate": _errors,
        "latency_p50": _latency,
        "latency_p99": _latency,
    }
)
