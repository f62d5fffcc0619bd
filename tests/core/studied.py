"""Experiments whose units are simulated one by one and counted by `serve.core.tally`, as the ledger does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from serve.core.evidence import ArmEvidence, Evidence, PhaseEvidence
from serve.core.experiment import Design, Experiment, State
from serve.core.statistics.quantile import bucket_of
from serve.core.tally import UnitTally, products

LABELS = tuple("0123456789")


def an_experiment(mode: str = "split", arms: int = 2, **changes: Any) -> Experiment:  # noqa: ANN401  a design's
    """A running experiment on digits between the arms a (the control), b, c ... of equal weights."""
    weights = [10_000 // arms] * (arms - 1)
    given: list[int | None] = [10_000 - sum(weights), *weights]
    if mode == "shadow":
        given = [None] * arms
    document: dict[str, Any] = {
        "name": "test",
        "mode": mode,
        "arms": [
            {"name": name, "model": f"digits_{name}", "version": "1", "weight": weight}
            for name, weight in zip("abcdefghij", given, strict=False)
        ],
    }
    design = Design.model_validate(document | changes)
    return Experiment(
        id=1,
        number=2,
        design=design,
        state=State.RUNNING,
        phases=(design.weights,),
        labels=LABELS,
        effective_at=0.0,
        created_at=0.0,
        act="start",
        author="ann",
        reason="because",
    )


@dataclass(slots=True)
class Count:
    """What one arm did in one phase, unit by unit."""

    sums: Counter[str] = field(default_factory=Counter)
    latency: Counter[int] = field(default_factory=Counter)

    def unit(self, tally: UnitTally, *others: str) -> None:
        """One unit, and the plain counts that it adds."""
        self.sums.update(products(tally))
        self.sums.update(others)

    def calls(self, milliseconds: Sequence[float]) -> None:
        """The latencies of some calls."""
        self.latency.update(bucket_of(1000 * one) for one in milliseconds)

    @property
    def evidence(self) -> ArmEvidence:
        """As the ledger gives it."""
        return ArmEvidence(sums=dict(self.sums), latency=dict(self.latency))


def evidence_of(*phases: tuple[tuple[int, ...], Sequence[Count]], since: float | None = None) -> Evidence:
    """Phases, each with its weights and what its arms did."""
    return Evidence(
        phases=tuple(
            PhaseEvidence(phase=number, weights=weights, arms=tuple(arm.evidence for arm in arms))
            for number, (weights, arms) in enumerate(phases)
        ),
        since=since,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """How an arm behaves in a split: probabilities for each image and call."""

    units: int = 2000
    right: float = 0.8
    fails: float = 0.0
    labelled: float = 1.0
    ms: float = 20.0


def split_arm(truth: Truth, random: np.random.Generator) -> Count:
    """One to three images a unit, each a call of its own; latencies are log-normal around `ms`."""
    count = Count()
    for images in random.integers(1, 4, truth.units).tolist():
        failures = int(random.binomial(images, truth.fails))
        labelled = int(random.binomial(images - failures, truth.labelled))
        right = int(random.binomial(labelled, truth.right))
        # Confidence 0.9: the Brier term is 0.01 where it was right, 0.81 where it was wrong.
        brier = 100 * right + 8100 * (labelled - right)
        count.unit(
            UnitTally(calls=images, failures=failures, labelled=labelled, right=right, brier=brier),
            *["confusion:3:3"] * right,
            *["confusion:3:5"] * (labelled - right),
        )
    total = count.sums["calls"] - count.sums["failures"]
    count.calls((truth.ms * random.lognormal(0, 0.3, total)).tolist())
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTruth:
    """How two arms behave on the same images, one a unit.

    Attributes:
        control_right: Share of the pairs where only the control is right.
        arm_right: Share of the pairs where only the arm is right.
        both_right: Share of the pairs where both are.
        labelled: Share of the pairs whose label is known.
    """

    pairs: int = 5000
    control_right: float = 0.05
    arm_right: float = 0.05
    both_right: float = 0.75
    labelled: float = 1.0


def paired_arms(truth: PairTruth, random: np.random.Generator) -> tuple[Count, Count]:
    """The control and the arm, on images of the class 7; where both are wrong they agree."""
    control, arm = Count(), Count()
    shares = [truth.control_right, truth.arm_right, truth.both_right]
    kinds = random.choice(4, size=truth.pairs, p=[*shares, 1 - sum(shares)]).tolist()
    known = (random.random(truth.pairs) < truth.labelled).tolist()
    for kind, labelled in zip(kinds, known, strict=True):
        one, other = kind in {0, 2}, kind in {1, 2}
        control.unit(_answered(one, labelled), *_confusion(one, labelled))
        differ = kind < 2
        pair = UnitTally(
            pairs=1,
            differ=int(differ),
            differ_labelled=int(differ and labelled),
            signed=(other - one) * labelled,
            scored=int(labelled),
            brier_change=8000 * (one - other) * labelled,
        )
        names = ["first:pairs", *(["first:differ"] if differ else [])]
        if labelled:
            names += [
                ["first:labelled", "first:control_right", "class:7:control_right"],
                ["first:labelled", "first:arm_right", "class:7:arm_right"],
                ["first:both_right"],
                ["first:both_wrong"],
            ][kind]
        arm.unit(_answered(other, labelled).plus(pair), *names, *_confusion(other, labelled))
    for count in (control, arm):
        count.calls((20 * random.lognormal(0, 0.3, truth.pairs)).tolist())
    return control, arm


def with_counts(count: Count, **sums: int) -> Count:
    """The same with other sums besides; "__" stands for a colon in a name."""
    named = {name.replace("__", ":"): value for name, value in sums.items()}
    together = Counter(count.sums)
    together.update(named)
    return replace(count, sums=together)


def _answered(right: bool, labelled: bool) -> UnitTally:
    return UnitTally(
        calls=1,
        labelled=int(labelled),
        right=int(right and labelled),
        brier=(100 if right else 8100) * labelled,
    )


def _confusion(right: bool, labelled: bool) -> tuple[str, ...]:
    return (f"confusion:7:{7 if right else 1}",) if labelled else ()
