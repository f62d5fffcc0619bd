"""For each metric: how it is found of one arm, and how an arm is compared with the control by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from serve.core.definitions import METRICS, QUANTILES
from serve.core.report.figures import Figure, Place, plain_row, row
from serve.core.report.latencies import latency_change, latency_level, slow_level
from serve.core.report.means import MEANS, brier_change, mean_change, mean_level
from serve.core.report.pairs import accuracy_change, disagreement
from serve.core.report.rows import Kind, Row
from serve.core.report.study import Study

Measure = Callable[[Study, int], Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How an arm, the second argument of `figure`, is compared with the control."""

    kind: Kind
    figure: Measure


def _accuracy_change(study: Study, arm: int) -> Figure:
    return accuracy_change(study, arm) if study.paired else mean_change(study, arm, MEANS["accuracy"])


LEVELS: Mapping[str, Measure] = MappingProxyType(
    {
        **{metric: partial(mean_level, mean=mean) for metric, mean in MEANS.items()},
        **{metric: partial(latency_level, metric=metric) for metric in QUANTILES},
    }
)
CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "accuracy": Change(kind=Kind.DIFFERENCE, figure=_accuracy_change),
        "agreement": Change(kind=Kind.SHARE, figure=disagreement),
        "brier": Change(kind=Kind.DIFFERENCE, figure=brier_change),
        "error_rate": Change(kind=Kind.DIFFERENCE, figure=partial(mean_change, mean=MEANS["error_rate"])),
        **{
            metric: Change(kind=Kind.RATIO, figure=partial(latency_change, metric=metric))
            for metric in QUANTILES
        },
    }
)


def change_row(study: Study, arm: int, metric: str, figure: Figure) -> Row:
    """The row of an arm's comparison with the control."""
    return row(
        Place(
            metric=METRICS[metric],
            kind=CHANGES[metric].kind,
            arm=study.names[arm],
            against=study.names[0],
        ),
        figure,
    )


def all_rows(study: Study) -> Iterator[Row]:
    """Metric by metric: of each arm, then of each arm against the control."""
    for metric in METRICS:
        if metric in LEVELS:
            for arm in range(len(study.arms)):
                yield _level_row(study, arm, metric, LEVELS[metric](study, arm))
        if metric in CHANGES and (study.paired or CHANGES[metric].kind is not Kind.SHARE):
            for arm in study.compared:
                yield change_row(study, arm, metric, CHANGES[metric].figure(study, arm))
    yield from _slow_rows(study)
    for arm in range(len(study.arms)):
        yield from _count_rows(study, arm)


def _slow_rows(study: Study) -> Iterator[Row]:
    thresholds = [rail.threshold_ms for rail in study.design.guardrails if rail.threshold_ms is not None]
    for threshold_ms in dict.fromkeys(thresholds):
        for arm in range(len(study.arms)):
            yield _level_row(study, arm, "slo_exceedance", slow_level(study, arm, threshold_ms))


def _count_rows(study: Study, arm: int) -> Iterator[Row]:
    sums, name = study.arms[arm], study.names[arm]
    calls = sums.count("calls")
    counts = {
        "throughput": (calls / study.minutes if study.minutes else None, calls, "calls"),
        "calls": (calls, calls, "calls"),
        "units": (sums.count("calls.units"), sums.count("calls.units"), "units"),
        "labelled": (sums.count("labelled"), sums.count("labelled"), "images"),
    }
    for metric, (value, n, n_of) in counts.items():
        place = Place(metric=METRICS[metric], kind=Kind.LEVEL, arm=name)
        yield plain_row(place, value, n=n, n_of=n_of, alpha=study.alpha)


def _level_row(study: Study, arm: int, metric: str, figure: Figure) -> Row:
    return row(Place(metric=METRICS[metric], kind=Kind.LEVEL, arm=study.names[arm]), figure)
