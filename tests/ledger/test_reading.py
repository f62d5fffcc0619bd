"""What reports are made from: evidence, and the looks of before."""

from __future__ import annotations

import math
from dataclasses import replace

from serve.core.evidence import ArmLook, Look
from serve.ledger.ledger import Ledger
from tests.ledger.facts import T0, a_call, a_started, kept


def a_look(at: float, units: int = 7) -> Look:
    """An interval that is open on one side."""
    arm = ArmLook(
        arm="b",
        estimate=0.1,
        low=-0.2,
        high=math.inf,
        fixed_low=0.0,
        fixed_high=1 / 3,
        log_e=-1.25,
        units=units,
    )
    return Look(at=at, verdict="undecided", arms=(arm, replace(arm, arm="c")))


def test_evidence_has_every_phase_and_arm(ledger: Ledger) -> None:
    """Those without any call, too, each with its weights."""
    experiment = kept(ledger, a_started())
    ledger.records.write([a_call(experiment, 1, 2, [0])], [])
    evidence = ledger.reading.evidence(experiment.id)
    weights = experiment.design.weights
    assert [(phase.phase, phase.weights) for phase in evidence.phases] == [(0, weights), (1, weights)]
    calls = [[arm.sums.get("calls", 0) for arm in phase.arms] for phase in evidence.phases]
    assert calls == [[0, 0, 0], [0, 0, 1]]
    assert [sum(arm.latency.values()) for arm in evidence.phases[1].arms] == [0, 0, 1]


def test_looks_come_back_as_they_were_in_their_order(ledger: Ledger) -> None:
    """Infinite ends, too; of two gateways that look at one moment the first is kept."""
    one, two = (kept(ledger, a_started()) for _ in range(2))
    for look in (a_look(T0 + 2), a_look(T0 + 1), a_look(T0 + 2, units=9)):
        ledger.reading.add_look(one.id, look)
    assert ledger.reading.looks(one.id) == (a_look(T0 + 1), a_look(T0 + 2))
    assert ledger.reading.looks(two.id) == ()
