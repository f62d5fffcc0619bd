"""Workers come and go behind their name while two gateways are asked; no request is lost by it."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field

import pytest

from tests.e2e.processes import POLL_S, wait_until
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

NEW_POD_S = 2.0
SETTLED_S = 20.0
# Less than PATIENCE_S: by then each gateway has sent it something, unless chance wills it otherwise.
HELD_S = 0.7
CUT_S = 6.0
PATIENCE_S = 1.0


@dataclass(kw_only=True)
class Crew:
    """Two gateways, and workers: those in DNS, and one that is ready to be.

    Attributes:
        fleet: Where they are.
        gateways: Both of them.
        at_work: Workers that are in DNS.
        waiting: Workers that run and are not in DNS yet.
    """

    fleet: Fleet
    gateways: list[GatewayPod]
    at_work: list[WorkerPod] = field(default_factory=list)
    waiting: list[WorkerPod] = field(default_factory=list)

    def man(self, count: int) -> None:
        """Have so many in DNS, and one more that waits."""
        while len(self.at_work) + len(self.waiting) <= count:
            self.waiting.append(self.fleet.worker())
        more = [self.waiting.pop(0) for _ in range(count - len(self.at_work))]
        self.fleet.admit(*more)
        self.at_work += more

    def answers_of(self, worker: WorkerPod) -> list[float]:
        """How many batches each gateway has had from it."""
        return [self.fleet.attempts(gateway, worker) for gateway in self.gateways]

    def wait_use(self, worker: WorkerPod, seconds: float) -> None:
        """Wait until both gateways have had new answers from a worker."""
        before = self.answers_of(worker)

        def used() -> bool:
            return all(now > then for now, then in zip(self.answers_of(worker), before, strict=True))

        wait_until(used, seconds, f"both gateways use {worker.target}")

    def note(self, traffic: Traffic, event: str, how: str, seen: str) -> None:
        """End the traffic, require that nothing was lost, and write it down."""
        ledger = traffic.load.end().since(traffic.began)
        assert_none_lost(ledger)
        self.fleet.rows.append(Row(event=event, how=how, ledger=ledger, seen=seen))


@pytest.fixture(scope="module")
def crew(fleet: Fleet) -> Crew:
    """Two gateways; nobody at work."""
    gateways = [fleet.gateway(), fleet.gateway()]
    made = Crew(fleet=fleet, gateways=gateways)
    made.man(2)
    fleet.admit(*gateways)
    return made


def test_a_new_pod_gets_traffic(crew: Crew) -> None:
    """Within two seconds of being in DNS, from both gateways."""
    crew.man(2)
    fresh = crew.waiting[0]
    wait_until(fresh.is_ready, 60, "the new worker's probes pass")
    with crew.fleet.traffic() as traffic:
        crew.fleet.endpoints.admit(fresh)
        wait_until(lambda: crew.fleet.endpoints.holds(fresh), 10, "it is in DNS")
        in_dns = crew.fleet.endpoints.since(fresh)
        first_s: dict[int, float] = {}
        while len(first_s) < len(crew.gateways) and time.monotonic() < in_dns + SETTLED_S:
            for number, answers in enumerate(crew.answers_of(fresh)):
                if answers and number not in first_s:
                    first_s[number] = time.monotonic() - in_dns
            time.sleep(POLL_S)
        crew.at_work.append(crew.waiting.pop(0))
        traffic.load.go_on(crew.fleet.phase_s)
        seen = " and ".join(f"{each:.1f}" for each in first_s.values())
        crew.note(traffic, "worker added", "its address in DNS", f"first answers after {seen} s")
    assert len(first_s) == len(crew.gateways)
    assert max(first_s.values()) < NEW_POD_S


def test_a_pod_is_killed(crew: Crew) -> None:
    """All of it at once: the other one answers what it held."""
    crew.man(2)
    victim = crew.at_work.pop(0)
    with crew.fleet.traffic() as traffic:
        victim.freeze()
        time.sleep(HELD_S)
        killed = time.monotonic()
        victim.kill()
        wait_until(lambda: not crew.fleet.endpoints.holds(victim), 10, "it is out of DNS")
        gone_s = time.monotonic() - killed
        traffic.load.go_on(crew.fleet.phase_s)
        crew.note(
            traffic,
            "worker killed",
            "SIGKILL to all of it while it holds requests",
            f"out of DNS after {gone_s:.1f} s",
        )
    crew.fleet.endpoints.withdraw(victim)
    assert crew.fleet.rows[-1].ledger.worst_s > HELD_S / 2, "it held no request"


def test_a_pod_is_drained(crew: Crew) -> None:
    """Out of DNS, preStop, SIGTERM: it ends by itself, and what comes later goes to the other one."""
    crew.man(2)
    victim = crew.at_work.pop(0)
    with crew.fleet.traffic() as traffic:
        began = time.monotonic()
        status = crew.fleet.drain(victim)
        ended_s = time.monotonic() - began
        traffic.load.go_on(crew.fleet.phase_s)
        crew.note(
            traffic,
            "worker drained",
            "out of DNS, preStop, SIGTERM",
            f"ended {ended_s:.1f} s after it left DNS",
        )
    assert status == 128 + signal.SIGTERM


def test_a_pod_is_cut_off(crew: Crew) -> None:
    """Its link is down, and it stays in DNS, as a lost node's pods do for a while: the other one answers."""
    crew.man(2)
    victim = crew.at_work[0]
    with crew.fleet.traffic() as traffic:
        crew.wait_use(victim, SETTLED_S)
        with victim.host.cut_off():
            traffic.load.go_on(CUT_S / 2)
            settled = time.monotonic()
            traffic.load.go_on(CUT_S / 2)
            ended = time.monotonic()
            assert crew.fleet.endpoints.holds(victim)
        crew.wait_use(victim, SETTLED_S)
        back_s = time.monotonic() - ended
        traffic.load.go_on(crew.fleet.phase_s)
        while_cut = traffic.load.ledger().since(settled, ended)
        crew.note(
            traffic, "worker cut off", f"its link down for {CUT_S:g} s", f"used again after {back_s:.1f} s"
        )
    assert while_cut.quantile_s(0.9) < PATIENCE_S / 2
