"""What the ledger knows of an experiment at one moment, from which its report is computed; and past looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmEvidence:
    """The sums of one arm in one phase.

    Attributes:
        sums: By the names of `serve.core.tally`; one that is not there is 0.
        latency: Bucket of `serve.core.statistics.quantile` -> calls that were answered in such a time.
    """

    sums: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEvidence:
    """One phase: a time in which the weights did not change.

    Attributes:
        weights: One an arm, in 1/10 000.
        arms: One an arm, in the design's order.
    """

    phase: int
    weights: tuple[int, ...]
    arms: tuple[ArmEvidence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All phases that have begun, oldest first.

    Attributes:
        since: Unix time of the start; None before it, or when it is not known.
    """

    phases: tuple[PhaseEvidence, ...]
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLook:
    """What a look showed of one arm's primary metric, against the control.

    Attributes:
        arm: Its name.
        low: Of the interval that holds however often one looks.
        fixed_low: Of the interval that holds for a single look; for comparison only.
        log_e: Logarithm of the e-value against no difference.
        units: That took part.
    """

    arm: str
    estimate: float
    low: float
    high: float
    fixed_low: float
    fixed_high: float
    log_e: float
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What somebody who looked at that moment was told; `at` is Unix time."""

    at: float
    verdict: str
    arms: tuple[ArmLook, ...]
