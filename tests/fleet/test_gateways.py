"""Gateways come and go behind their name; callers with a single channel lose nothing by it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.processes import wait_until
from tests.faults.stage import assert_none_lost
from tests.fleet.pods import GatewayPod, WorkerPod
from tests.fleet.stage import Fleet, Traffic
from tests.fleet.table import Row

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_program("ip", how="apt install iproute2"),
    pytest.mark.needs_program("unshare", how="apt install util-linux"),
    pytest.mark.needs_program("dnsmasq", how="apt install dnsmasq-base"),
]

# Far less than the manifest's, so that the test does not take as long.
AGE_S = 5.0
YOUNG = {"ATTNSERVE_MAX_CONNECTION_AGE_S": str(AGE_S)}
# gRPC's core varies the age by a tenth; then there is a look-up, at most one a second, and a connection.
FOUND_S = 1.1 * AGE_S + 3
HELD_S = 0.3


@pytest.fixture(scope="module")
def worker(fleet: Fleet) -> WorkerPod:
    """The only one."""
    made = fleet.worker()
    fleet.admit(made)
    return made


@pytest.fixture
def pair(fleet: Fleet, worker: WorkerPod) -> Iterator[tuple[GatewayPod, GatewayPod]]:
    """Two gateways in front of it."""
    assert worker.runs()
    made = fleet.gateway(**YOUNG), fleet.gateway(**YOUNG)
    fleet.admit(*made)
    yield made
    for gateway in made:
        fleet.endpoints.withdraw(gateway)
        gateway.kill()


def note(fleet: Fleet, traffic: Traffic, event: str, how: str, seen: str) -> None:
    """End the traffic, require that nothing was lost, and write it down."""
    ledger = traffic.load.end().since(traffic.began)
    assert_none_lost(ledger)
    fleet.rows.append(Row(event=event, how=how, ledger=ledger, seen=seen))


def test_a_gateway_is_drained(fleet: Fleet, pair: tuple[GatewayPod, GatewayPod]) -> None:
    """Its connections end by age during preStop: no caller is left at its end, to need a retry policy."""
    leaving, staying = pair
    with fleet.traffic(retries=False) as traffic:
        began = time.monotonic()
        status = fleet.drain(leaving, FOUND_S)
        ended_s = time.monotonic() - began
        traffic.load.go_on(fleet.phase_s)
        note(
            fleet,
            traffic,
            "gateway drained",
            "out of DNS, preStop longer than connections get old, SIGTERM; callers do not retry",
            f"ended {ended_s:.1f} s after it left DNS",
        )
    assert status == 0
    assert staying.runs()


def test_a_gateway_is_killed(fleet: Fleet, pair: tuple[GatewayPod, GatewayPod]) -> None:
    """Nobody has had a part of an answer, so that gRPC asks the other one, by the retry policy."""
    with fleet.traffic() as traffic:
        pair[0].freeze()
        time.sleep(HELD_S)
        pair[0].kill()
        traffic.load.go_on(2 * fleet.phase_s)
        note(fleet, traffic, "gateway killed", "SIGKILL to it while it holds requests", "–")
    assert fleet.rows[-1].ledger.worst_s > HELD_S / 2, "it held no request"


def test_a_new_gateway_is_found(fleet: Fleet, worker: WorkerPod) -> None:
    """A channel over the name, content with what it has, looks it up when its connection is old enough."""
    old, new = fleet.gateway(**YOUNG), fleet.gateway(**YOUNG)
    fleet.admit(old)
    wait_until(new.is_ready, 60, "the second gateway is ready")
    with fleet.traffic() as traffic:
        fleet.admit(new)
        in_dns = fleet.endpoints.since(new)
        wait_until(lambda: fleet.attempts(new, worker) > 0, FOUND_S, "the new gateway is asked")
        found_s = time.monotonic() - in_dns
        asked = fleet.attempts(old, worker)
        traffic.load.go_on(max(2.0, fleet.phase_s))
        assert fleet.attempts(old, worker) > asked
        note(
            fleet,
            traffic,
            "gateway added",
            f"its address in DNS, max_connection_age_s {AGE_S:g}",
            f"first request after {found_s:.1f} s",
        )
