"""The benchmark of the gateway's own CPU time."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.bench_gateway import FLOOR, GATEWAY, OTHER, Phase, Plan, Row, measure
from loadtests.gateway.load import KINDS


def test_servers_are_compared_within_a_round() -> None:
    """A machine that becomes slower changes no ratio; a single odd round does not, either."""
    row = Row(kind="", callers=1, phases={FLOOR: _phases(1, 2, 3, 4, 5), GATEWAY: _phases(3, 6, 90, 12, 15)})
    assert row.ratio(GATEWAY, FLOOR) == pytest.approx(3)
    assert (row.cpu_ms(FLOOR), row.rate(FLOOR)) == (3, 30)


@pytest.mark.slow
def test_every_kind_of_request_is_answered_by_every_server() -> None:
    """A row for each kind and number of callers, with a phase of each server for each round."""
    here = Path(__file__).parents[2]
    result = measure(Plan(rounds=1, seconds=0.2, idle_s=0.2, callers=(2,)), 3, here, lambda _: None)
    assert [(row.kind, row.callers) for row in result.rows] == [(kind, 2) for kind in KINDS]
    for row in result.rows:
        assert {server: len(phases) for server, phases in row.phases.items()} == dict.fromkeys(result.idle, 1)
        assert all(phase.rate > 0 for phases in row.phases.values() for phase in phases)
    assert set(result.idle) == {FLOOR, GATEWAY, OTHER}


def _phases(*cpu_ms: float) -> tuple[Phase, ...]:
    return tuple(Phase(cpu_ms=one, rate=10 * one) for one in cpu_ms)
