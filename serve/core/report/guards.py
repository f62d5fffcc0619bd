"""The guardrails: whether an arm does harm."""

from __future__ import annotations

import math

from serve.core.definitions import CONDITIONAL_BINOMIAL, METRICS
from serve.core.experiment import Guardrail
from serve.core.report.rows import Guard, GuardrailRow
from serve.core.report.study import Study, Sums, slow_sum
from serve.core.statistics.guardrail import Events, rate_ratio_log_e, stratified
from serve.core.statistics.intervals import p_value


def guardrails(study: Study) -> tuple[GuardrailRow, ...]:
    """Each guardrail of each compared arm."""
    return tuple(_row(study, arm, rail) for rail in study.design.guardrails for arm in study.compared)


def tripped(rows: tuple[GuardrailRow, ...], arm: str) -> bool:
    """Whether one of that arm's has."""
    return any(row.state is Guard.TRIPPED and row.arm == arm for row in rows)


def _row(study: Study, arm: int, rail: Guardrail) -> GuardrailRow:
    alpha = rail.alpha / (len(study.design.guardrails) * len(study.compared))
    control, other = _events(study.arms[0], rail), _events(study.arms[arm], rail)
    log_e = stratified(
        rate_ratio_log_e(_events(one.arms[0], rail), _events(one.arms[arm], rail), max_ratio=rail.max_ratio)
        for one in study.strata
    )
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
