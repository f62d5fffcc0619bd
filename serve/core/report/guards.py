"""The guardrails: whether an arm does harm."""

from __future__ import annotations

import math

from serve.core.definitions import CONDITIONAL_BINOMIAL, METRICS
from serve.core.experiment import Guardrail
from serve.core.report.figures import LEAST_EVENTS, LEAST_UNITS
from serve.core.report.rows import Guard, GuardrailRow
from serve.core.report.study import Stratum, Study, Sums, slow_sum
from serve.core.statistics.guardrail import Events, rate_ratio_log_e, stratified
from serve.core.statistics.intervals import asymptotic_log_e, averaged, p_value


def guardrails(study: Study) -> tuple[GuardrailRow, ...]:
    """Each guardrail of each compared arm."""
    return tuple(_row(study, arm, rail) for rail in study.design.guardrails for arm in study.compared)


def tripped(rows: tuple[GuardrailRow, ...], arm: str) -> bool:
    """Whether one of that arm's has."""
    return any(row.state is Guard.TRIPPED and row.arm == arm for row in rows)


def _row(study: Study, arm: int, rail: Guardrail) -> GuardrailRow:
    alpha = rail.alpha / (len(study.design.guardrails) * len(study.compared))
    control, other = _events(study.arms[0], rail), _events(study.arms[arm], rail)
    log_e = _log_e(study, arm, rail)
    state = _state(control, other, log_e >= -math.log(alpha))
    metric = METRICS[rail.metric]
    title = metric.title if rail.threshold_ms is None else f"{metric.title}, over {rail.threshold_ms:g} ms"
    return GuardrailRow(
        metric=rail.metric,
        title=title,
        definition=metric.definition,
        arm=study.names[arm],
        state=state,
        words=_words(control, other, rail, state),
        max_ratio=rail.max_ratio,
        control_events=control.events,
        control_n=control.n,
        arm_events=other.events,
        arm_n=other.n,
        ratio=_ratio(control, other),
        log_e=log_e,
        p=p_value(log_e),
        threshold=-math.log(alpha),
        alpha=alpha,
        method=CONDITIONAL_BINOMIAL.name,
        why=CONDITIONAL_BINOMIAL.why,
    )


def _log_e(study: Study, arm: int, rail: Guardrail) -> float:
    """The evidence of harm: by units that met it, and where units call often by their rates as well.

    The mean of two e-values is one, whatever they have to do with each other.
    """
    by_unit = stratified(
        rate_ratio_log_e(
            _independent(one.arms[0], rail), _independent(one.arms[arm], rail), max_ratio=rail.max_ratio
        )
        for one in study.strata
    )
    if rail.threshold_ms is not None or not any(_calls_often(one, arm) for one in study.strata):
        return by_unit
    by_rate = averaged([_rates_log_e(study, one, arm, rail) for one in study.strata])
    return averaged([by_unit, by_rate])


def _independent(arm: Sums, rail: Guardrail) -> Events:
    """Units and those of which a call failed; for slow calls, so many as count as independent."""
    if rail.threshold_ms is None:
        units = arm.count("calls.units")
        return Events(n=units, events=min(units, arm.count("failures.units")))
    calls = _events(arm, rail)
    return Events(n=int(calls.n * arm.independent), events=int(calls.events * arm.independent))


def _calls_often(stratum: Stratum, arm: int) -> bool:
    return any(
        sums.count("calls") > sums.count("calls.units") for sums in (stratum.arms[0], stratum.arms[arm])
    )


def _rates_log_e(study: Study, stratum: Stratum, arm: int, rail: Guardrail) -> float:
    """Against "the arm's rate of failures is at most max_ratio times the control's", clustered by unit.

    Only a rate above that speaks against it; below it the e-value counts as 0, which keeps it valid.
    """
    control, other = stratum.arms[0], stratum.arms[arm]
    seen = [(one.units("calls", "failures"), one.count("failures.units")) for one in (control, other)]
    if any(units.units < LEAST_UNITS or failing < LEAST_EVENTS for units, failing in seen):
        return -math.inf
    above = other.units("calls", "failures").mean - rail.max_ratio * control.units("calls", "failures").mean
    if above <= 0:
        return -math.inf
    variances = [units.variance for units, _ in seen]
    return asymptotic_log_e(
        estimate=above,
        variance=variances[1] + rail.max_ratio**2 * variances[0],
        n=sum(units.units for units, _ in seen),
        alpha=rail.alpha,
        planned_n=study.planned(2),
    )


def _events(arm: Sums, rail: Guardrail) -> Events:
    name = "failures" if rail.threshold_ms is None else slow_sum(rail.threshold_ms)
    calls = arm.count("calls")
    return Events(n=calls, events=min(calls, arm.count(name)))


def _state(control: Events, arm: Events, proven: bool) -> Guard:  # noqa: FBT001  the third of three facts
    if proven:
        return Guard.TRIPPED
    # With nothing to multiply, "at most so many times the control's" cannot be shown to hold.
    return Guard.CLEAR if control.events and arm.n else Guard.INSUFFICIENT


def _ratio(control: Events, arm: Events) -> float | None:
    if not control.events or not arm.n:
        return None
    return arm.events / arm.n / (control.events / control.n)


def _words(control: Events, arm: Events, rail: Guardrail, state: Guard) -> str:
    seen = f"{arm.events} of {arm.n} calls, the control {control.events} of {control.n}"
    meanings = {
        Guard.TRIPPED: f"more than {rail.max_ratio:g} times the control's rate is proven",
        Guard.CLEAR: f"more than {rail.max_ratio:g} times the control's rate is not proven",
        Guard.INSUFFICIENT: "the control has no event yet, so that nothing can be called within the ratio",
    }
    return f"{seen}: {meanings[state]}"
