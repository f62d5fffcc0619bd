"""From an experiment's sums to its report."""

from __future__ import annotations

from collections.abc import Iterator

from serve.core.evidence import Evidence
from serve.core.experiment import Experiment
from serve.core.report.classes import class_rows, confusion_change, confusions
from serve.core.report.comparing import compare, overall
from serve.core.report.document import Report
from serve.core.report.guards import guardrails
from serve.core.report.health import health
from serve.core.report.latencies import curve
from serve.core.report.measures import all_rows
from serve.core.report.pairs import pair_table
from serve.core.report.rows import ArmLine, ClassRow, Comparison, ConfusionChange
from serve.core.report.study import Study, study
from serve.core.verdict import Verdict

_EACH_LOOK = (
    "Intervals and e-values hold however often one looks, each by itself, unless a row says otherwise; those "
    "for a single look are given for comparison only."
)
_WINNERS_CURSE = (
    "An experiment that is stopped because it has decided shows a difference that is larger than the true "
    "one on average; the interval covers the true one all the same."
)
_SEVERAL = "With several arms the error rate is divided among their comparisons with the control."
_RETURNING = (
    "The weights were changed. Phases are taken apart; as units may come back, they count as wholly "
    "dependent, which makes intervals too wide rather than too narrow."
)


def evaluate(experiment: Experiment, evidence: Evidence, at: float) -> Report:
    """The report of an experiment.

    Args:
        experiment: The version in force.
        evidence: The ledger's sums; arms in the design's order.
        at: Unix time.
    """
    seen = study(experiment, evidence, at)
    checks, guards = health(seen), guardrails(seen)
    comparisons = tuple(compare(seen, arm, checks, guards) for arm in seen.compared)
    verdict, sentence = overall(comparisons)
    classes, changes = _by_class(seen)
    design = experiment.design
    return Report(
        experiment=experiment.name,
        description=design.description,
        version=experiment.number,
        state=experiment.state.value,
        mode=design.mode.value,
        phase=experiment.phase,
        at=at,
        arms=_arms(experiment),
        control=design.control.name,
        primary_metric=design.primary_metric,
        alpha=design.alpha,
        margin=design.margin,
        planned_units=design.planned_units,
        verdict=verdict,
        sentence=sentence,
        comparisons=comparisons,
        health=checks,
        guardrails=guards,
        rows=tuple(all_rows(seen)),
        pair_tables=tuple(pair_table(seen, arm) for arm in seen.compared) if seen.paired else (),
        classes=classes,
        confusion_changes=changes,
        latency_curves=tuple(curve(seen, arm) for arm in range(len(seen.arms))),
        notes=tuple(_notes(seen, verdict, comparisons)),
    )


def _arms(experiment: Experiment) -> tuple[ArmLine, ...]:
    lines = zip(experiment.design.arms, experiment.design.weights, strict=True)
    return tuple(
        ArmLine(name=arm.name, model=arm.model, version=arm.version, weight=weight) for arm, weight in lines
    )


def _by_class(seen: Study) -> tuple[tuple[ClassRow, ...], tuple[ConfusionChange, ...]]:
    tables = confusions(seen)
    counted = any(table.true.size for table in tables)
    changes = tuple(confusion_change(seen, arm, tables) for arm in seen.compared) if counted else ()
    return class_rows(seen, tables), changes


def _notes(seen: Study, verdict: Verdict, comparisons: tuple[Comparison, ...]) -> Iterator[str]:
    yield _EACH_LOOK
    if verdict in {Verdict.BETTER, Verdict.WORSE}:
        yield _WINNERS_CURSE
    if len(comparisons) > 1:
        yield _SEVERAL
    if len(seen.strata) > 1:
        yield _RETURNING
