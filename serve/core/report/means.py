"""Means over units: accuracy, Brier score and error rate, of one arm and between two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from serve.core.definitions import PAIRED_MEANS, UNIT_MEANS
from serve.core.record import SCALE
from serve.core.report.figures import (
    Asymptotic,
    Figure,
    asymptotic,
    lacking_events,
    lacking_units,
)
from serve.core.report.study import Study, Sums
from serve.core.statistics.paired import mean_difference
from serve.core.statistics.units import Estimate, UnitSums, difference, stratified


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A ratio of two fields of `serve.core.tally.UnitTally`.

    Attributes:
        observations: What is divided by.
        total: What is divided.
        scale: In what part of 1 the total counts.
        events: What the observations with a 1 are called where they are 0 or 1; else "".
    """

    observations: str
    total: str
    scale: float = 1.0
    events: str = ""


MEANS: Mapping[str, Mean] = MappingProxyType(
    {
        "accuracy": Mean(observations="labelled", total="right", events="right and wrong answers"),
        "brier": Mean(observations="labelled", total="brier", scale=SCALE),
        "error_rate": Mean(observations="calls", total="failures", events="failed and answered calls"),
    }
)


def mean_level(study: Study, arm: int, mean: Mean) -> Figure:
    """The mean of one arm.

    Phases weigh as many units as all arms had in them, the same for every arm, so that levels and differences
    tell one story when weights change.
    """
    sums = _sums(study.arms[arm], mean)
    parts = [
        Estimate(
            estimate=one.mean,
            variance=one.variance,
            n=sum(_sums(every, mean).units for every in stratum.arms),
        )
        for stratum in study.strata
        if (one := _sums(stratum.arms[arm], mean)).n
    ]
    found = stratified(parts)
    return asymptotic(
        Estimate(estimate=found.estimate, variance=found.variance, n=sums.units),
        Asymptotic(
            alpha=study.alpha,
            planned_n=study.planned(1),
            n_of="units",
            method=UNIT_MEANS,
            lacking=_too_few(sums.units) or _too_rare(mean, min(sums.x, sums.n - sums.x)),
            scale=mean.scale,
        ),
    )


def mean_change(study: Study, arm: int, mean: Mean) -> Figure:
    """The mean of the arm minus that of the control, as if different units had seen them.

    In shadow and paired mode the same units saw both, which makes the true variance smaller still, as long
    as a unit that is hard for one arm is not easy for the other.
    """
    control, other = _sums(study.arms[0], mean), _sums(study.arms[arm], mean)
    pairs = [(_sums(stratum.arms[0], mean), _sums(stratum.arms[arm], mean)) for stratum in study.strata]
    found = stratified([_difference(one, two, mean) for one, two in pairs if one.n and two.n])
    return asymptotic(
        found,
        Asymptotic(
            alpha=study.alpha,
            planned_n=study.planned(2),
            n_of="units",
            method=UNIT_MEANS,
            lacking=_too_few(min(control.units, other.units)) or _too_rare(mean, _expected(control, other)),
            scale=mean.scale,
        ),
    )


def brier_change(study: Study, arm: int) -> Figure:
    """The Brier score of the arm minus that of the control: image by image where both saw them."""
    if not study.paired:
        return mean_change(study, arm, MEANS["brier"])
    sums = study.arms[arm].units("scored", "brier_change")
    return asymptotic(
        mean_difference(sums),
        Asymptotic(
            alpha=study.alpha,
            planned_n=study.planned(1),
            n_of="units",
            method=PAIRED_MEANS,
            lacking=lacking_units(int(sums.units), "units with a labelled pair"),
            scale=SCALE,
        ),
    )


def _sums(arm: Sums, mean: Mean) -> UnitSums:
    return arm.units(mean.observations, mean.total)


def _difference(control: UnitSums, arm: UnitSums, mean: Mean) -> Estimate:
    """As `difference`; an arm without any event, or with nothing else, does not hide what the other shows.

    Its own variance is that of half an event more than was seen, each unit counted as one observation.
    """
    found = difference(control, arm)
    both = control.variance, arm.variance
    if all(both) or not any(both) or not mean.events:
        return found
    rates = [(one.x + 0.5) / (one.n + 1) for one in (control, arm)]
    assumed = [rate * (1 - rate) / one.units for rate, one in zip(rates, (control, arm), strict=True)]
    return replace(found, variance=sum(seen or taken for seen, taken in zip(both, assumed, strict=True)))


def _too_few(units: float) -> str:
    return lacking_units(int(units), "units in each arm")


def _too_rare(mean: Mean, events: float) -> str:
    return lacking_events(events, f"{mean.events} in each arm") if mean.events else ""


def _expected(control: UnitSums, arm: UnitSums) -> float:
    """Events of the rarer kind that the smaller arm would have at the common rate.

    The usual rule for a table of counts. It asks for `LEAST_EVENTS` expected ones instead of seen ones, so
    that an arm may be perfect, or a control without errors be compared with an arm that fails half the time.
    """
    n = control.n + arm.n
    if not n:
        return 0.0
    rate = (control.x + arm.x) / n
    return min(rate, 1 - rate) * min(control.n, arm.n)
