"""How long an experiment will take, said before it is created: the units it needs, and what they can find."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from serve.core.definitions import METRICS
from serve.core.experiment import WHOLE, Design, Mode
from serve.core.sizes import POWER, SIZES, Guess


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePlan:
    """The size of an experiment. What cannot be told is None.

    Attributes:
        metric: The design's primary metric.
        effect: The difference to be found: the design's margin.
        power: The probability with which it is found, if it is there.
        alpha: Of each arm's comparison with the control.
        units: Enrolled units that are needed, of all arms together, when one looks at any time.
        units_fixed: The same for a single look at the end, to compare.
        labels: Labelled images that are needed: in shadow and paired mode of disagreements only.
        enrolled_per_day: Units that take part a day.
        days: Until `units` have come.
        days_fixed: Until `units_fixed` have.
        planned_units: Of the design.
        planned_days: Until these have come.
        detectable: The smallest difference that these find with the same probability, looking at any time.
        sentences: The same for people, with what was taken for granted.
    """

    metric: str
    effect: float
    power: float
    alpha: float
    units: int | None
    units_fixed: int | None
    labels: int | None
    enrolled_per_day: float | None
    days: float | None
    days_fixed: float | None
    planned_units: int
    planned_days: float | None
    detectable: float | None
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The plan for `json.dumps`, keyed as the fields."""
        return asdict(self) | {"sentences": list(self.sentences)}


def size_plan(design: Design, guess: Guess) -> SizePlan:
    """The plan of a design, if the guess is right."""
    alpha = design.alpha / (len(design.arms) - 1)
    sizes = SIZES[design.primary_metric](design, guess, alpha)
    daily = None if guess.units_per_day is None else guess.units_per_day * _enrolled(design)
    plan = SizePlan(
        metric=design.primary_metric,
        effect=design.margin,
        power=POWER,
        alpha=alpha,
        units=sizes.anytime,
        units_fixed=sizes.fixed,
        labels=sizes.labels,
        enrolled_per_day=daily,
        days=_days(sizes.anytime, daily),
        days_fixed=_days(sizes.fixed, daily),
        planned_units=design.planned_units,
        planned_days=_days(design.planned_units, daily),
        detectable=sizes.detectable,
        sentences=(),
    )
    return replace(plan, sentences=tuple(_sentences(plan, design, guess)))


def _enrolled(design: Design) -> float:
    """The share of all units that takes part; in shadow and paired mode, that the other arms see."""
    slots = design.slots[1] - design.slots[0]
    shares = (slots, design.ramp, WHOLE - design.holdout, design.sample)
    return math.prod(share / WHOLE for share in shares)


def _days(units: int | None, daily: float | None) -> float | None:
    return None if units is None or not daily else units / daily


def _sentences(plan: SizePlan, design: Design, guess: Guess) -> Iterator[str]:
    if plan.units is None:
        yield _unknown(plan, guess)
    else:
        yield (
            f"To {_purpose(plan)} about {plan.units:,} units are needed{_lasting(plan.days)}, looking at any "
            f"time; with a single look at the end {plan.units_fixed:,}{_lasting(plan.days_fixed)}."
        )
    if plan.labels:
        which = "images" if design.mode is Mode.SPLIT else "disagreements"
        yield f"About {plan.labels:,} labelled {which} are needed."
    if plan.detectable is not None:
        yield (
            f"The planned {plan.planned_units:,} units{_lasting(plan.planned_days)} find differences from "
            f"{_points(plan.detectable)} on."
        )
    yield from _granted(plan, design, guess)


def _purpose(plan: SizePlan) -> str:
    if plan.metric == "agreement":
        return f"tell on which side of {_points(plan.effect)} the disagreement lies,"
    title = METRICS[plan.metric].title.lower()
    return f"find a difference of {_points(plan.effect)} in {title} with a probability of {plan.power:.0%},"


def _granted(plan: SizePlan, design: Design, guess: Guess) -> Iterator[str]:
    """What the figures take for granted."""
    split = design.mode is Mode.SPLIT
    beliefs = {
        "accuracy": f"an accuracy of {guess.accuracy:.1%}"
        if split
        else f"{guess.disagreement:.1%} of the images with exactly one arm right",
        "agreement": f"{guess.disagreement:.1%} of the images answered differently",
        "error_rate": f"an error rate of {guess.error_rate:.2%}",
    }
    if plan.metric in beliefs:
        yield f"This takes for granted {beliefs[plan.metric]}."
    if len(design.arms) > 2:  # noqa: PLR2004  a control and one arm
        yield f"With {len(design.arms)} arms each comparison has an alpha of {plan.alpha:.3g}."


def _unknown(plan: SizePlan, guess: Guess) -> str:
    if plan.metric.startswith("latency"):
        return (
            "For latencies the number of units cannot be told beforehand: it depends on how they spread; the "
            "test is valid for every spread."
        )
    if plan.metric == "accuracy" and plan.effect > guess.disagreement:
        return (
            f"A difference of {_points(plan.effect)} is more than {_points(guess.disagreement)}, the share "
            "of images on which the arms are expected to disagree: only a smaller margin tells anything."
        )
    return f"A margin of {_points(plan.effect)} cannot be told from what is expected."


def _points(share: float) -> str:
    return f"{100 * share:.3g} points"


def _lasting(days: float | None) -> str:
    if days is None:
        return ""
    return f" ({days:,.1f} days)" if days >= 1 else f" ({24 * days:,.1f} hours)"
