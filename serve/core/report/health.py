"""Whether the comparison can be trusted at all; looked at before any figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from serve.core.experiment import WHOLE
from serve.core.report.means import MEANS, mean_change
from serve.core.report.rows import Health, HealthRow
from serve.core.report.study import Stratum, Study, Sums
from serve.core.statistics.intervals import averaged, p_value
from serve.core.statistics.sample_ratio import sample_ratio_log_e

_WARN_ALPHA, _BROKEN_ALPHA = 0.05, 0.001
_MOST_EXPOSED_TWICE = 0.001
_MOST_DROPPED = 0.001
_MOST_CONFLICTS = 0.01
_MOST_UNEVEN = 0.1


def health(study: Study) -> tuple[HealthRow, ...]:
    """All checks, those of the whole comparison first; none while there is nothing to check."""
    rows = tuple(_checks(study))
    seen = any(arm.count("calls") for arm in study.arms)
    return rows if seen or any(row.state is not Health.OK for row in rows) else ()


def broken(rows: Sequence[HealthRow], arm: str) -> bool:
    """Whether the comparison of that arm with the control cannot be trusted."""
    return any(row.state is Health.BROKEN and row.arm in {"", arm} for row in rows)


def _checks(study: Study) -> Iterator[HealthRow]:
    if not study.paired:
        yield _sample_ratio(study)
        yield _label_ratio(study)
        yield _multi_exposed(study)
    else:
        yield _label_choice(study)
    for arm in range(len(study.arms)):
        if arm or not study.paired:  # where arms see the same images they have the same labels
            yield _coverage(study, arm)
        yield _dropped(study, arm, "record")
        if study.paired and arm:
            yield _dropped(study, arm, "mirror")
    for arm in study.compared:
        yield _answered(study, arm)
    yield _conflicts(study)
    yield _unmatched(study)


def _sample_ratio(study: Study) -> HealthRow:
    counts = [arm.count("calls.units") for arm in study.arms]
    tables = [([arm.count("calls.units") for arm in one.arms], one.weights) for one in study.strata]
    words = f"units by arm: {_shares(study.names, counts)}"
    return _tested("sample_ratio", _ratio_log_e(tables), words)


def _label_ratio(study: Study) -> HealthRow:
    counts = [arm.count("labelled.units") for arm in study.arms]
    tables = [([arm.count("labelled.units") for arm in one.arms], _answering(one)) for one in study.strata]
    words = f"units with a label by arm: {_shares(study.names, counts)}"
    return _tested("label_ratio", _ratio_log_e(tables), words)


def _answering(stratum: Stratum) -> list[int]:
    """The weights of the units that had an answer to label; that calls fail is the guardrails' matter.

    Where a share f of an arm's calls failed, between none and a share f of its units had no answer at all. Of
    these weights the ones that fit the labels best are taken, so that only what failures cannot explain is
    left for the test.
    """
    shares = [_coverage_of(arm) for arm in stratum.arms]
    answered = [1 - arm.count("failures") / max(1, arm.count("calls")) for arm in stratum.arms]
    best = max(shares) or 1.0
    return [
        weight and max(1, round(weight * WHOLE * max(least, share / best)))
        for weight, least, share in zip(stratum.weights, answered, shares, strict=True)
    ]


def _coverage_of(arm: Sums) -> float:
    units = arm.count("calls.units")
    return arm.count("labelled.units") / units if units else 0.0


def _label_choice(study: Study) -> HealthRow:
    """Labels may be asked for disagreements only; then the arms' own accuracies are those of hard images."""
    counts = [(study.arms[arm].first_pairs, study.arms[arm]) for arm in study.compared]
    alike = sum(pairs.pairs - pairs.differ for pairs, _ in counts)
    known = sum(sums.count("first:both_right") + sums.count("first:both_wrong") for _, sums in counts)
    differ = sum(pairs.differ for pairs, _ in counts)
    labelled = sum(pairs.labelled for pairs, _ in counts)
    if not alike or not differ:
        return _row("label_choice", Health.OK, "no pairs to compare yet", None)
    gap = labelled / differ - known / alike
    state = Health.WARN if abs(gap) > _MOST_UNEVEN else Health.OK
    words = (
        f"labelled are {labelled / differ:.1%} of the disagreements and {known / alike:.1%} of other pairs"
    )
    if state is Health.WARN:
        words += "; the arms' own accuracies and Brier scores are those of the labelled images only"
    return _row("label_choice", state, words, gap)


def _multi_exposed(study: Study) -> HealthRow:
    units = sum(arm.count("calls.units") for arm in study.arms)
    twice = sum(arm.count("multi_exposed") for arm in study.arms)
    share = twice / units if units else 0.0
    state = Health.BROKEN if share > _MOST_EXPOSED_TWICE else Health.WARN if twice else Health.OK
    words = f"{twice} of {units} units were answered by more than one arm"
    return _row("multi_exposure", state, words, share)


def _coverage(study: Study, arm: int) -> HealthRow:
    units, labelled = study.arms[arm].count("calls.units"), study.arms[arm].count("labelled.units")
    words = f"{labelled} of {units} units have a labelled image"
    state = Health.OK if labelled or not units else Health.WARN
    share = _coverage_of(study.arms[arm]) if units else None
    return _row("label_coverage", state, words, share, study.names[arm])


def _answered(study: Study, arm: int) -> HealthRow:
    """An arm that fails on hard images looks better on those that it answers."""
    failures = mean_change(replace(study, alpha=_BROKEN_ALPHA), arm, MEANS["error_rate"])
    control, other = (_unanswered(study.arms[index]) for index in (0, arm))
    margin, gap = study.design.margin, other - control
    state = Health.WARN if failures.log_e and failures.log_e >= -math.log(_WARN_ALPHA) else Health.OK
    if not study.paired and study.design.primary_metric == "accuracy" and abs(gap) > margin:
        state = Health.BROKEN if failures.interval.low > margin or failures.interval.high < -margin else state
    name = study.names[arm]
    words = f"no answer came from {name} to {other:.1%} of its calls, from the control to {control:.1%}"
    return _row("answered", state, words, gap, name)


def _unanswered(arm: Sums) -> float:
    calls = arm.count("calls")
    return 1 - int(arm.histogram.sum()) / calls if calls else 0.0


def _dropped(study: Study, arm: int, what: str) -> HealthRow:
    """Mirrors that are dropped cost data only; records that are dropped may be those of a bad hour."""
    lost, calls = study.arms[arm].count(f"dropped:{what}"), study.arms[arm].count("calls")
    share = lost / (lost + calls) if lost else 0.0
    state = Health.WARN if share > _MOST_DROPPED else Health.OK
    words = f"{lost} dropped, {calls} kept"
    return _row(f"dropped_{what}s", state, words, share, study.names[arm])


def _conflicts(study: Study) -> HealthRow:
    conflicts = sum(arm.count("conflict") for arm in study.arms)
    labelled = sum(arm.count("labelled") for arm in study.arms)
    state = Health.WARN if conflicts > _MOST_CONFLICTS * labelled else Health.OK
    return _row("conflicts", state, f"{conflicts} labels that contradict an earlier one", float(conflicts))


def _unmatched(study: Study) -> HealthRow:
    unmatched = sum(arm.count("unmatched") for arm in study.arms)
    labelled = sum(arm.count("labelled") for arm in study.arms)
    state = Health.WARN if unmatched > _MOST_CONFLICTS * labelled else Health.OK
    return _row("unmatched", state, f"{unmatched} calls are known from their labels only", float(unmatched))


_CHECKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "sample_ratio": (
            "Sample ratio",
            (
                "Whether units reached the arms in the shares of their weights: a sequential multinomial "
                "test, averaged over phases because units come back. Warns at p 0.05, breaks the comparison "
                "at 0.001."
            ),
        ),
        "label_ratio": (
            "Labels by arm",
            (
                "Whether units with a known label are spread over the arms as answered units are: labels "
                "that come more easily for one arm bend its accuracy. Warns at p 0.05, breaks the comparison "
                "at 0.001."
            ),
        ),
        "label_choice": (
            "Choice of labels",
            (
                "Whether disagreements are labelled as often as other pairs; warns when the shares differ by "
                "more than 0.1. The difference in accuracy stays right: agreeing pairs do not change it."
            ),
        ),
        "multi_exposure": (
            "Units in two arms",
            "Units that several arms answered in a phase; warns at one, breaks the comparison beyond 0.1 %.",
        ),
        "answered": (
            "Answered calls",
            (
                "Whether the arm fails as often as the control: accuracy and latency are those of what was "
                "answered, and who fails on hard images looks better. Warns when a difference is proven at "
                "0.05; breaks a split that compares accuracy when one of more than the margin is, at 0.001."
            ),
        ),
        "label_coverage": ("Label coverage", "Units with at least one labelled image, of the arm's units."),
        "dropped_records": (
            "Dropped records",
            "Calls not written down because the store was slower than the traffic; warns beyond 0.1 %.",
        ),
        "dropped_mirrors": (
            "Dropped mirrors",
            "Requests that the arm did not see because it had no room; warns beyond 0.1 %.",
        ),
        "conflicts": (
            "Contradicting labels",
            "The first label counts; warns beyond 1 % of the labelled images.",
        ),
        "unmatched": (
            "Labels without a record",
            "Their calls were not written down, or not yet; warns beyond 1 % of the labelled images.",
        ),
    }
)


def _row(check: str, state: Health, words: str, value: float | None, arm: str = "") -> HealthRow:
    title, definition = _CHECKS[check]
    return HealthRow(
        check=check, title=title, definition=definition, arm=arm, state=state, words=words, value=value
    )


def _tested(check: str, log_e: float, words: str) -> HealthRow:
    p = p_value(log_e)
    state = Health.BROKEN if p <= _BROKEN_ALPHA else Health.WARN if p <= _WARN_ALPHA else Health.OK
    return replace(_row(check, state, words, p), log_e=log_e, p=p)


def _ratio_log_e(tables: Sequence[tuple[Sequence[int], Sequence[int]]]) -> float:
    """The e-value of all phases: their mean, which is valid although many units are in several of them.

    A unit that comes back after a change of weights mostly keeps its arm, so that phases repeat each other's
    chance deviations; a product of their e-values would count these several times.
    """
    return averaged([sample_ratio_log_e(counts, weights) for counts, weights in tables if sum(counts)])


def _shares(names: Sequence[str], counts: Sequence[int]) -> str:
    total = sum(counts) or 1
    return ", ".join(
        f"{name} {count} ({count / total:.1%})" for name, count in zip(names, counts, strict=True)
    )
