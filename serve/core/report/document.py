"""A report: everything that is known of an experiment at one moment, as a value and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum

from serve.core.evidence import ArmLook, Look
from serve.core.report.rows import (
    ArmLine,
    ClassRow,
    Comparison,
    ConfusionChange,
    GuardrailRow,
    HealthRow,
    LatencyCurve,
    PairTable,
    Row,
)
from serve.core.verdict import Verdict

# Grows when a key changes its meaning or goes away; a new key does not change it.
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it; health comes before figures, on purpose.

    Attributes:
        experiment: Its name.
        version: Of the document that was in force.
        state: Where the experiment stands.
        at: Unix time.
        verdict: On the whole.
        sentence: For a manager: which arm, by how much, how sure, what to do.
        comparisons: One a compared arm.
        notes: What a reader should know of all figures.
    """

    experiment: str
    description: str
    version: int
    state: str
    mode: str
    phase: int
    at: float
    arms: tuple[ArmLine, ...]
    control: str
    primary_metric: str
    alpha: float
    margin: float
    planned_units: int
    verdict: Verdict
    sentence: str
    comparisons: tuple[Comparison, ...]
    health: tuple[HealthRow, ...]
    guardrails: tuple[GuardrailRow, ...]
    rows: tuple[Row, ...]
    pair_tables: tuple[PairTable, ...]
    classes: tuple[ClassRow, ...]
    confusion_changes: tuple[ConfusionChange, ...]
    latency_curves: tuple[LatencyCurve, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The report for `json.dumps`: objects, lists, strings and finite numbers, keyed as the fields.

        What is not known, or not finite, is None. `format` is `FORMAT`.
        """
        return {"format": FORMAT, **_members(self)}


def look(report: Report) -> Look:
    """What somebody who reads the report now is told of the primary metric.

    Arms of which no interval is known yet are left out.
    """
    return Look(
        at=report.at,
        verdict=report.verdict.value,
        arms=tuple(found for found in map(_arm_look, report.comparisons) if found),
    )


def _arm_look(comparison: Comparison) -> ArmLook | None:
    row = comparison.row
    figures = (row.estimate, row.low, row.high, row.fixed_low, row.fixed_high)
    known = [figure for figure in figures if figure is not None]
    if len(known) < len(figures):
        return None
    estimate, low, high, fixed_low, fixed_high = known
    return ArmLook(
        arm=comparison.arm,
        estimate=estimate,
        low=low,
        high=high,
        fixed_low=fixed_low,
        fixed_high=fixed_high,
        log_e=row.log_e or 0.0,  # where there is no test, no evidence
        units=comparison.units,
    )


def plain(value: object) -> object:
    """The value for `json.dumps`: dataclasses as objects, tuples as lists, what is not finite as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return _members(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _members(value: object) -> dict[str, object]:
    if not is_dataclass(value):
        raise TypeError(f"value is {value!r}, must be a dataclass")
    return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
