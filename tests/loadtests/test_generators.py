"""The generator's own cost, and when it says that it was the limit."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from loadtests.exchange import GRPC, Exchange
from loadtests.exchanges import Exchanges
from loadtests.outcome import GeneratorCost, Run, Slo
from loadtests.running import generators as generators_module
from loadtests.running.generators import Generators, measuring, warnings

# Uses as many seconds of CPU as it is told to, however long that takes.
WORKER = """
import sys, time
for line in sys.stdin:
    ends = time.process_time() + float(line)
    while time.process_time() < ends:
        pass
    print("done", flush=True)
"""

COST = GeneratorCost(name="locust", requests=4000, seconds=20.0, cpu_s=10.0, busiest=0.6)


def requests(times: Iterable[tuple[float, float, float]]) -> Exchanges:
    """One for each (due, sent, ended)."""
    return Exchanges.of(
        Exchange(due=due, sent=sent, ended=ended, way=GRPC, kind="one image", model="m", outcome="ok")
        for due, sent, ended in times
    )


def run_of(exchanges: Exchanges, *costs: GeneratorCost, loop: str = "open") -> Run:
    """A run with nothing else about it."""
    return Run(
        scenario="steady",
        summary="",
        loop=loop,
        options={},
        target="http://127.0.0.1:8000",
        began=0.0,
        ended=20.0,
        stopped="",
        exchanges=exchanges,
        phases=(),
        slo=Slo(p99_ms=100.0),
        generators=costs or (COST,),
        slots=64,
    )


PUNCTUAL = requests((0.02 * index, 0.02 * index, 0.02 * index + 0.05) for index in range(1000))


def test_the_cost_of_a_process_is_the_time_that_it_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the process itself counts it, and only from when the load began; an idle one has used nothing."""
    monkeypatch.setattr(generators_module, "INTERVAL_S", 0.1)
    command = [sys.executable, "-c", WORKER]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as busy,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as idle,
    ):
        with measuring({busy.pid: "worker 1", idle.pid: "worker 2"}) as generators:
            spend(busy, 0.1)
            began = time.time()
            spend(busy, 0.4)
        ended = time.time()
        for process in (busy, idle):
            process.communicate()
    costs = generators.costs({busy.pid: 250, idle.pid: 0}, began, ended)
    assert [(cost.name, cost.requests) for cost in costs] == [("worker 1", 250), ("worker 2", 0)]
    assert 0.05 < costs[0].cpu_s < 0.45  # of the 0.4 s what lies between the first sample and the last
    assert costs[1].cpu_s < 0.2
    assert 0 < costs[0].busiest < 1.5
    assert 0 < costs[0].seconds < ended - began + 1
    assert 0 < costs[0].machine_busy <= 1


def spend(process: subprocess.Popen[str], cpu_s: float) -> None:
    """Let it work."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{cpu_s}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_a_tick_of_the_clock_is_no_busy_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last reading comes a millisecond after another, between which the system counted 10 ms of CPU."""
    at, used = iter([0.0, 0.5, 0.501]), iter([0.0, 0.25, 0.26])
    process = SimpleNamespace(pid=7, cpu_times=lambda: SimpleNamespace(user=next(used), system=0.0))
    monkeypatch.setattr(generators_module, "_process", lambda _: process)
    monkeypatch.setattr(generators_module, "time", SimpleNamespace(time=lambda: next(at)))
    end = threading.Event()
    end.set()
    generators = Generators({7: "worker 1"})
    generators.watch(end)
    generators.watch(end)
    (cost,) = generators.costs({7: 10}, -1.0, 1.0)
    assert cost.busiest == pytest.approx(0.5)
    assert cost.full_s == 0


def test_a_process_that_is_gone_costs_nothing() -> None:
    """It ended before anybody looked."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    with measuring({gone.pid: "locust"}) as generators:
        pass
    (cost,) = generators.costs({}, 0.0, time.time())
    assert (cost.cpu_s, cost.busiest, cost.seconds) == (0, 0, 0)


def test_nothing_is_said_of_a_generator_that_had_time() -> None:
    """Half a core, punctual, slots free."""
    assert warnings(run_of(PUNCTUAL)) == ()


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_a_generator_without_a_core_to_spare_is_named(loop: str) -> None:
    """With what it used, and one process more to use."""
    full = replace(COST, busiest=0.99, full_s=12.0, cpu_s=16.0)
    (line,) = warnings(run_of(PUNCTUAL, full, loop=loop))
    assert "locust used more than 90 % of a core for 12 of 20 s (4.00 ms of CPU a request)" in line
    assert "WORKERS=2" in line
    assert "worker 3" in warnings(run_of(PUNCTUAL, COST, COST, replace(full, name="worker 3")))[0]
    assert "WORKERS=4" in warnings(run_of(PUNCTUAL, COST, COST, full, replace(COST, requests=0)))[0]


def test_a_moment_without_a_core_to_spare_is_none() -> None:
    """One second, or less than what a 99th percentile sees of a long run."""
    assert warnings(run_of(PUNCTUAL, replace(COST, busiest=1.0, full_s=1.0))) == ()
    assert warnings(run_of(PUNCTUAL, replace(COST, busiest=1.0, full_s=5.0, seconds=600.0))) == ()


def test_arrivals_that_found_no_slot_are_named() -> None:
    """More slots are the cure then, not more processes."""
    late = requests((0.1 * index, 0.1 * index + 0.05, 0.1 * index + 0.08) for index in range(100))
    (line,) = warnings(replace(run_of(late), waited=96))
    assert line.startswith("96 of 100 requests found none of 64 slots free and were sent late")
    assert "WORKERS" not in line


def test_lateness_with_free_slots_is_the_generators() -> None:
    """All are sent 50 ms after they were due, and nothing else was in the way."""
    late = requests((0.1 * index, 0.1 * index + 0.05, 0.1 * index + 0.08) for index in range(100))
    (line,) = warnings(run_of(late))
    assert "1 % of the requests were sent 50 ms late or later although slots were free" in line
    assert warnings(run_of(late, loop="closed")) == ()
    slow = requests((index, index + 0.05, index + 0.85) for index in range(100))
    assert warnings(run_of(slow)) == (), "50 ms are little of what is measured"


def test_a_machine_that_both_share_and_use_up_is_named() -> None:
    """A gateway elsewhere has its own."""
    busy = replace(COST, machine_busy=0.97)
    (line,) = warnings(run_of(PUNCTUAL, busy))
    assert "97 % busy" in line
    for target, lines in (
        ("http://localhost:8000", 1),
        ("http://[::1]:8000", 1),
        ("http://10.0.0.7:8000", 0),
    ):
        assert len(warnings(replace(run_of(PUNCTUAL, busy), target=target))) == lines


def test_a_run_without_requests_says_nothing() -> None:
    """Nothing was measured."""
    assert warnings(run_of(requests([]))) == ()
