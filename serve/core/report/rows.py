"""The parts of a report: each row says by itself what it means, and what is not known is None."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from serve.core.definitions import Better
from serve.core.verdict import Verdict


class Kind(StrEnum):
    """What a row's figures are."""

    LEVEL = "level"  # of one arm
    DIFFERENCE = "difference"  # arm minus control
    RATIO = "ratio"  # arm by control, minus 1
    SHARE = "share"  # of the pairs that the arm and the control have in common


class Health(StrEnum):
    """What a check of the comparison says."""

    OK = "ok"
    WARN = "warn"
    BROKEN = "broken"


class Guard(StrEnum):
    """Where a guardrail stands. `CLEAR` says "no proof of harm", never "proof of no harm"."""

    CLEAR = "clear"
    TRIPPED = "tripped"
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. What is not known is None.

    Attributes:
        metric: Its key.
        title: As people call it.
        definition: What is divided by what.
        unit: Of measure: share, ms, calls/min, calls, units, images, score; "ratio" where `kind` is ratio.
        better: In which direction it improves.
        kind: What the figures are.
        arm: Whose it is.
        against: The control's name where it is compared with, else "".
        estimate: The figure.
        low: Lower end of the interval that covers the truth with `1 - alpha`.
        high: Its upper end.
        fixed_low: Of the interval that holds for a single look at a size fixed beforehand; to compare.
        fixed_high: Its upper end.
        alpha: Of the interval.
        log_e: Logarithm of the e-value against "no difference".
        p: min(1, 1/e).
        n: Independent observations behind it.
        n_of: What these are: units, pairs, calls, images.
        method: How the uncertainty was found.
        why: Why in this way, and what that takes for granted.
        anytime: Whether it holds however often one looks.
        note: What else one should know; for instance why there is no interval yet.
    """

    metric: str
    title: str
    definition: str
    unit: str
    better: Better
    kind: Kind
    arm: str
    against: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    fixed_low: float | None = None
    fixed_high: float | None = None
    alpha: float
    log_e: float | None = None
    p: float | None = None
    n: int
    n_of: str
    method: str
    why: str
    anytime: bool
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The verdict on one arm, and the figure behind it.

    Attributes:
        arm: Its name.
        verdict: On this arm against the control.
        sentence: For a manager.
        row: The primary metric's comparison.
        units: That took part, of both arms together.
    """

    arm: str
    verdict: Verdict
    sentence: str
    row: Row
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRow:
    """One check of whether the comparison can be trusted.

    Attributes:
        check: Its key.
        title: As people call it.
        definition: What is checked, and when it warns or breaks.
        arm: Whose it is; "" for all.
        state: What it says.
        words: The same for people, with the figures.
        value: The figure; None where there is nothing to count yet.
        log_e: Logarithm of the e-value against "all is well", where there is a test.
        p: min(1, 1/e).
    """

    check: str
    title: str
    definition: str
    arm: str
    state: Health
    words: str
    value: float | None
    log_e: float | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailRow:
    """One guardrail of one arm.

    Attributes:
        metric: error_rate or slo_exceedance.
        title: As people call it.
        definition: What is counted.
        arm: Whose it is.
        state: Where it stands.
        words: The same for people.
        max_ratio: The arm's rate may be so many times the control's.
        control_events: Events of the control.
        control_n: Calls of the control.
        arm_events: Events of the arm.
        arm_n: Calls of the arm.
        ratio: Of the rates; None while the control has no event.
        log_e: Logarithm of the e-value against "within the ratio".
        p: min(1, 1/e).
        threshold: It trips when `log_e` reaches this: ln(1 / alpha).
        alpha: Chance of a false alarm, of the design's divided by the guardrails and the compared arms.
        method: How it is tested.
        why: Why in this way.
    """

    metric: str
    title: str
    definition: str
    arm: str
    state: Guard
    words: str
    max_ratio: float
    control_events: int
    control_n: int
    arm_events: int
    arm_n: int
    ratio: float | None
    log_e: float
    p: float
    threshold: float
    alpha: float
    method: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """One class: where the arm gains or loses.

    Attributes:
        label: The true class.
        arm: Who is compared with the control.
        estimate: Accuracy on this class over all its labelled images, arm minus control; None, as are the
            next two, where there are too many classes to count that.
        control_n: Labelled images of the class that the control answered.
        arm_n: Labelled images of the class that the arm answered.
        control_right: First pairs where only the control was right; 0 in split mode.
        arm_right: First pairs where only the arm was right; 0 in split mode.
        log_e: Of the exact McNemar e-test; None in split mode and below 20 such pairs.
        p: min(1, 1/e).
        found: Whether it is among those with a difference: e-BH, at most a tenth of them found by chance.
    """

    label: str
    arm: str
    estimate: float | None
    control_n: int | None
    arm_n: int | None
    control_right: int
    arm_right: int
    log_e: float | None
    p: float | None
    found: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTable:
    """The first pair of each unit, by who was right. All add up to the pairs that there are."""

    arm: str
    both_right: int
    control_right: int
    arm_right: int
    both_wrong: int
    unlabelled_alike: int
    unlabelled_different: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionChange:
    """How the arm's answers moved.

    Attributes:
        arm: Who is compared with the control.
        labels: Of rows (true class) and columns (answer); of more than 100 those that changed most.
        change: One tuple a true class: images that the arm called so, minus those that the control would have
            called so of as many. All 0 in the row of a class that one of the two did not see.
    """

    arm: str
    labels: tuple[str, ...]
    change: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Of a distribution function: `share` of the calls took up to `ms`; all of the curve lies in the band."""

    ms: float
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyCurve:
    """The latency of one arm, with a band at the report's alpha that holds however often one looks."""

    arm: str
    calls: int
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLine:
    """An arm as it was designed; the weight, in 1/10 000, is the present one."""

    name: str
    model: str
    version: str
    weight: int
