"""The primary metric of each arm against the control, the verdict on it, and the verdict in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from serve.core.definitions import METRICS, Metric
from serve.core.experiment import ENDED, State
from serve.core.report.figures import Figure
from serve.core.report.guards import tripped
from serve.core.report.health import broken
from serve.core.report.measures import CHANGES, change_row
from serve.core.report.rows import Comparison, Guard, GuardrailRow, Health, HealthRow, Kind
from serve.core.report.study import Study
from serve.core.statistics.intervals import Interval
from serve.core.verdict import Facts, Verdict, decide, together


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of one arm against the control."""

    study: Study
    arm: str
    metric: Metric
    kind: Kind
    figure: Figure
    health: tuple[HealthRow, ...]
    guards: tuple[GuardrailRow, ...]


def compare(
    study: Study, arm: int, health: tuple[HealthRow, ...], guards: tuple[GuardrailRow, ...]
) -> Comparison:
    """The comparison of that arm with the control by the design's primary metric."""
    metric = study.design.primary_metric
    change = CHANGES[metric]
    case = Case(
        study=study,
        arm=study.names[arm],
        metric=METRICS[metric],
        kind=change.kind,
        figure=change.figure(study, arm),
        health=health,
        guards=guards,
    )
    verdict = decide(_facts(case))
    return Comparison(
        arm=case.arm,
        verdict=verdict,
        sentence=_sentence(case, verdict),
        row=change_row(study, arm, metric, case.figure),
        units=_units(study, arm),
    )


def overall(comparisons: tuple[Comparison, ...]) -> tuple[Verdict, str]:
    """The verdict on the experiment and the words for it: those of every arm, the deciding ones first."""
    verdict = together(one.verdict for one in comparisons)
    ordered = sorted(comparisons, key=lambda one: one.verdict is not verdict)
    return verdict, " ".join(one.sentence for one in ordered)


def _facts(case: Case) -> Facts:
    """In the direction of gain: above 0 the arm is better."""
    sign, interval = case.metric.sign, case.figure.interval
    low, high = sorted((sign * interval.low, sign * interval.high))
    margin = case.study.design.margin
    return Facts(
        tripped=tripped(case.guards, case.arm),
        broken=broken(case.health, case.arm),
        enough=not case.figure.lacking,
        gain=sign * interval.estimate,
        low=low,
        high=high,
        margin=margin,
        # A share of different answers is never 0; it is proven to matter once it is above the margin.
        proven=interval.low > margin if case.kind is Kind.SHARE else case.figure.proven,
    )


def _units(study: Study, arm: int) -> int:
    control, other = study.arms[0].count("calls.units"), study.arms[arm].count("calls.units")
    return other if study.paired else control + other


def _sentence(case: Case, verdict: Verdict) -> str:
    """What was found, and what to do as long as something can be done."""
    found, advice = _WORDS[verdict](case)
    if case.study.experiment.state is State.DRAFT:
        advice = "It has not started."
    return found if case.study.experiment.state in ENDED else f"{found} {advice}"


def _insufficient(case: Case) -> tuple[str, str]:
    return (
        f"There is not enough data to compare {case.arm} with {_control(case)}: {case.figure.lacking}.",
        "Let it run on.",
    )


def _undecided(case: Case) -> tuple[str, str]:
    return (
        f"It is not decided whether {case.arm} differs from {_control(case)}: {_figure(case)}.",
        "Let it run on, or stop it if a difference of that size would not matter.",
    )


def _better(case: Case) -> tuple[str, str]:
    return f"{case.arm} is better than {_control(case)}: {_figure(case)}.", "It can be promoted."


def _worse(case: Case) -> tuple[str, str]:
    if case.kind is Kind.SHARE:
        found = f"{case.arm} disagrees with {_control(case)} more often than the margin allows"
        return f"{found}: {_figure(case)}.", "Look at the disagreements before either replaces the other."
    return f"{case.arm} is worse than {_control(case)}: {_figure(case)}.", f"Keep {_control(case)}."


def _no_difference(case: Case) -> tuple[str, str]:
    margin = _amount(case.study.design.margin, case)
    found = f"{case.arm} and {_control(case)} do not differ by more than the margin of {margin}"
    return f"{found}: {_figure(case)}.", "Choose by something else, such as cost."


def _broken(case: Case) -> tuple[str, str]:
    reasons = [
        f"{one.title.lower()} ({one.words})"
        for one in case.health
        if one.state is Health.BROKEN and one.arm in {"", case.arm}
    ]
    found = f"The comparison of {case.arm} with {_control(case)} is broken: {'; '.join(reasons)}."
    return found, "Do not use its figures; find the cause and start a new experiment."


def _tripped(case: Case) -> tuple[str, str]:
    reasons = [
        f"{one.title.lower()} ({one.words})"
        for one in case.guards
        if one.state is Guard.TRIPPED and one.arm == case.arm
    ]
    return (
        f"{case.arm} does harm: {'; '.join(reasons)}.",
        f"Keep {_control(case)} and mend {case.arm} before another try.",
    )


_WORDS: Mapping[Verdict, Callable[[Case], tuple[str, str]]] = MappingProxyType(
    {
        Verdict.GUARDRAIL_TRIPPED: _tripped,
        Verdict.BROKEN: _broken,
        Verdict.INSUFFICIENT_DATA: _insufficient,
        Verdict.NO_DIFFERENCE: _no_difference,
        Verdict.BETTER: _better,
        Verdict.WORSE: _worse,
        Verdict.UNDECIDED: _undecided,
    }
)


def _control(case: Case) -> str:
    return case.study.names[0]


def _figure(case: Case) -> str:
    """By how much and how sure; for instance "accuracy is 1.2 points higher (95 % interval ...)"."""
    interval, title = case.figure.interval, case.metric.title.lower()
    sure = f"{100 * (1 - case.figure.alpha):.4g} % interval {_range(interval, case)}, valid at every look"
    if case.kind is Kind.DIFFERENCE and case.figure.proven and interval.contains(0):
        sure += "; the exact test is sharper, and has decided"
    if case.kind is Kind.SHARE:
        return f"{title} is {_amount(interval.estimate, case)} ({sure})"
    direction = "higher" if interval.estimate > 0 else "lower"
    return f"{title} is {_amount(abs(interval.estimate), case)} {direction} ({sure})"


def _range(interval: Interval, case: Case) -> str:
    if interval.low == interval.high or not interval.width < float("inf"):
        return "not known yet"
    signed = case.kind is not Kind.SHARE
    low, high = (_number(value, signed=signed) for value in (interval.low, interval.high))
    return f"{low} to {high} {_measure(case)}"


def _amount(value: float, case: Case) -> str:
    return f"{_number(value)} {_measure(case)}"


def _number(value: float, *, signed: bool = False) -> str:
    return f"{100 * value:{'+' if signed else ''}.2f}".replace("-", "−")


def _measure(case: Case) -> str:
    return "points" if case.kind is Kind.DIFFERENCE else "%"
