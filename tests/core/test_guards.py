"""Guardrails: harm is found in time, and single units that fail again and again are no alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from serve.core.evidence import ArmEvidence, Evidence, PhaseEvidence
from serve.core.experiment import Guardrail
from serve.core.report import Guard, evaluate
from tests.core.studied import an_experiment

EXPERIMENT = an_experiment("split", guardrails=(Guardrail(metric="error_rate"),))
LOOKS = 10
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What units do: so many, each so many calls; a share of them fails often, and the arm adds its own."""

    units: int = 1000
    calls: float = 10.0
    fragile: float = 0.0
    fragile_fails: float = 0.5
    arm_fails: float = 0.0


def arm_sums(calls: Counts, failures: Counts) -> ArmEvidence:
    """The sums over some units, as `serve.core.tally` names them."""
    sums = {
        "calls": calls.sum(),
        "failures": failures.sum(),
        "calls.units": (calls > 0).sum(),
        "failures.units": (failures > 0).sum(),
        "calls*calls": (calls * calls).sum(),
        "calls*failures": (calls * failures).sum(),
        "failures*failures": (failures * failures).sum(),
    }
    return ArmEvidence(sums={name: float(value) for name, value in sums.items()})


def tripped_after(traffic: Traffic, random: np.random.Generator) -> int | None:
    """Units after which the guardrail trips, looked at ten times; None when it does not."""
    arm = random.integers(0, 2, traffic.units)
    calls = random.poisson(traffic.calls, traffic.units)
    own = np.where(random.random(traffic.units) < traffic.fragile, traffic.fragile_fails, 0.0)
    failures = random.binomial(calls, 1 - (1 - own) * (1 - traffic.arm_fails * arm))
    for units in np.linspace(0, traffic.units, LOOKS + 1)[1:].astype(int):
        chosen = [arm[:units] == index for index in (0, 1)]
        arms = tuple(arm_sums(calls[:units][own_units], failures[:units][own_units]) for own_units in chosen)
        evidence = Evidence(phases=(PhaseEvidence(phase=0, weights=(5000, 5000), arms=arms),))
        (row,) = evaluate(EXPERIMENT, evidence, at=600.0).guardrails
        if row.state is Guard.TRIPPED:
            return int(units)
    return None


def trips(traffic: Traffic, runs: int = 40) -> Sequence[int]:
    """Units after which it tripped, of the runs in which it did."""
    random = np.random.default_rng(4)
    found = (tripped_after(traffic, random) for _ in range(runs))
    return [units for units in found if units is not None]


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(fragile=0.002),
        pytest.param(Traffic(fragile=0.05), marks=pytest.mark.slow),
        pytest.param(Traffic(fragile=0.5, fragile_fails=0.05, calls=50.0), marks=pytest.mark.slow),
        Traffic(fragile=0.01, fragile_fails=1.0, calls=1.0),
    ],
)
def test_units_that_fail_again_and_again_are_no_alarm(traffic: Traffic) -> None:
    """In an A/A in which every failure comes from a few units, at most one of 40 runs trips."""
    assert len(trips(traffic)) <= 1


@pytest.mark.parametrize(
    ("traffic", "within"),
    [
        (Traffic(fragile=0.01, arm_fails=0.05), 200),
        (Traffic(fragile=0.5, fragile_fails=0.1, arm_fails=0.15), 700),
        (Traffic(fragile=0.9, fragile_fails=0.01, arm_fails=0.02, calls=200.0), 700),
        (Traffic(units=60, calls=100.0, arm_fails=1.0), 60),
        (Traffic(calls=1.0, arm_fails=0.05), 700),
    ],
)
def test_harm_is_found_whatever_units_do(traffic: Traffic, within: int) -> None:
    """Rare or frequent, with a control that never fails or often does, few units or many."""
    found = trips(traffic)
    assert len(found) >= 38
    assert float(np.median(found)) <= within
