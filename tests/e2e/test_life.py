"""Draining, crashes and kills, with requests in flight."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from grpc_health.v1 import health_pb2

from tests.e2e.demo import Demo
from tests.e2e.oip import WAYS, RefusedError, ask
from tests.e2e.processes import marked, wait_until
from tests.e2e.stacks import DRAIN_TIMEOUT_S, Stack, StartStack, series_name, started
from tests.e2e.stock import StockTorchServe

MODEL = "digits_se"
RESTARTS = series_name("attnserve_engine_restarts_total", engine="local")
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one request ended."""

    status: str | int
    right: bool = False


def classify(stack: Stack, demo: Demo, number: int) -> Ended:
    """Ask about one sample, in one of the ways; never raises for what the gateway says."""
    way, index = list(WAYS.values())[number % len(WAYS)], number % len(demo.images)
    try:
        answer = way(stack, ask(MODEL, demo.images[index]))
    except RefusedError as error:
        return Ended(status=error.status)
    except httpx.TransportError as error:
        return Ended(status=type(error).__name__)
    return Ended(status="OK", right=answer.labels == [demo.labels[index]])


@contextmanager
def held(workers: list[psutil.Process]) -> Iterator[None]:
    """Stop workers, so that what is sent stays in flight until this ends."""
    for worker in workers:
        worker.suspend()
    try:
        yield
    finally:
        for worker in workers:
            if worker.is_running():
                worker.resume()


@contextmanager
def in_flight(stack: Stack, demo: Demo, requests: int) -> Iterator[list[Future[Ended]]]:
    """Send requests all at once, and go on when the gateway has them all; the worker must be held."""
    with ThreadPoolExecutor(requests) as pool:
        futures = [pool.submit(classify, stack, demo, number) for number in range(requests)]
        name = series_name("attnserve_inflight_requests", model=MODEL)
        wait_until(lambda: stack.series()[name] == requests, 20, "all requests have arrived")
        yield futures


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_drain_answers_what_is_in_flight(
    start_stack: StartStack, demo: Demo, number: signal.Signals
) -> None:
    """Not ready and no new requests at once; every request is answered; exit 0 in time, and nothing left."""
    stack = start_stack()
    assert [stack.health(name) for name in ("", MODEL, "gateway")] == [SERVING] * 3
    with held(stack.workers()), in_flight(stack, demo, 24) as futures:
        began = time.monotonic()
        stack.process.send_signal(number)
        wait_until(lambda: not stack.is_ready(), 3, "not ready")
        ready = stack.rest.get("/v2/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
        wait_until(lambda: stack.health("") == NOT_SERVING, 3, "grpc.health.v1 says so too")
        assert [stack.health(name) for name in (MODEL, "gateway")] == [NOT_SERVING, SERVING]
        assert {classify(stack, demo, one).status for one in range(4)} == {"UNAVAILABLE", 503}
        for worker in stack.workers():
            worker.resume()
        ended = [future.result(DRAIN_TIMEOUT_S) for future in futures]
    assert [one.status for one in ended] == ["OK"] * 24
    assert sum(one.right for one in ended) >= 23
    assert stack.process.wait(DRAIN_TIMEOUT_S) == 0
    assert time.monotonic() - began < DRAIN_TIMEOUT_S
    stack.assert_nothing_left()


@pytest.mark.slow
def test_what_is_left_at_the_drain_timeout_is_unavailable(start_stack: StartStack, demo: Demo) -> None:
    """A worker that never answers does not hold up the end: its callers hear UNAVAILABLE / 503."""
    stack = start_stack(drain_timeout_s=4)
    with held(stack.workers()), in_flight(stack, demo, 24) as futures:
        began = time.monotonic()
        stack.process.send_signal(signal.SIGTERM)
        ended = [future.result(DRAIN_TIMEOUT_S) for future in futures]
        assert stack.process.wait(DRAIN_TIMEOUT_S) == 0
        assert time.monotonic() - began < 4 + 2  # a busy machine is slow to end processes
    assert {one.status for one in ended} == {"UNAVAILABLE", 503}
    stack.assert_nothing_left()


@pytest.mark.slow
def test_a_killed_gateway_leaves_no_process(start_stack: StartStack) -> None:
    """SIGKILL leaves no time to tidy up: the kernel ends Java, and the next gateway sweeps the files."""
    stack = start_stack()
    assert stack.java().is_running()
    stack.process.kill()
    stack.process.wait(5)
    wait_until(lambda: marked(stack.mark) == [], 5, "Java and its workers are gone")
    (left,) = stack.temporary.iterdir()
    after = start_stack(ready=False, variables={"TMPDIR": str(stack.temporary)})
    wait_until(lambda: not left.exists(), 20, "swept")
    assert after.end() == 0
    assert list(stack.temporary.iterdir()) == []


def test_a_second_signal_ends_at_once(
    start_stack: StartStack, demo: Demo, torchserve: StockTorchServe, tmp_path: Path
) -> None:
    """Whoever presses Ctrl-C twice does not wait for the drain."""
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump({"engines": [{"address": torchserve.target, "models": [MODEL]}]}))
    stack = start_stack("--config", str(config), models="[]")
    with held(torchserve.workers()), in_flight(stack, demo, 4) as futures:
        stack.process.send_signal(signal.SIGINT)
        wait_until(lambda: not stack.is_ready(), 3, "draining")
        stack.process.send_signal(signal.SIGINT)
        assert stack.process.wait(2) == -signal.SIGINT
        assert "OK" not in {future.result(5).status for future in futures}
    assert marked(stack.mark) == []


@pytest.fixture(scope="module")
def resilient(demo: Demo) -> Iterator[Stack]:
    """A gateway that is hurt several times; each time it must have healed by itself at the end."""
    with started(
        {"ATTNSERVE_MODEL_STORE": str(demo.archives), "ATTNSERVE_MODELS": f'["{MODEL}"]'}
    ) as running:
        running.wait_ready()
        yield running
        assert running.end() == 0
        running.assert_nothing_left()


@contextmanager
def load(stack: Stack, demo: Demo) -> Iterator[list[Ended]]:
    """Eight callers that ask one request after another until this ends."""
    ended: list[Ended] = []
    going = True

    def caller(first: int) -> None:
        number = first
        while going:
            ended.append(classify(stack, demo, number))
            number += 1
            if ended[-1].status != "OK":
                time.sleep(0.02)

    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(caller, first) for first in range(0, 80, 10)]
        try:
            wait_until(lambda: len(ended) >= 40, 20, "the callers are at work")
            yield ended
        finally:
            going = False
    for one in callers:
        one.result()


@pytest.mark.slow
def test_a_killed_worker_loses_no_request(resilient: Stack, demo: Demo) -> None:
    """The batch that it ran is sent again; TorchServe brings a new worker."""
    (before,) = resilient.workers()
    with load(resilient, demo) as ended:
        before.kill()
        psutil.wait_procs([before], 5)
        so_far = len(ended)
        wait_until(lambda: len(ended) >= so_far + 100, 60, "requests are answered again")
    assert {one.status for one in ended} == {"OK"}
    assert sum(one.right for one in ended) >= 0.95 * len(ended)
    (after,) = resilient.workers()
    assert after.pid != before.pid
    assert resilient.series()[RESTARTS] == 0


@pytest.mark.slow
def test_a_killed_torchserve_comes_back(resilient: Stack, demo: Demo) -> None:
    """Meanwhile callers hear UNAVAILABLE and nothing else; it is ready again unaided, and counted."""
    restarts = resilient.series()[RESTARTS]
    java = resilient.java()
    with load(resilient, demo) as ended:
        java.kill()
        wait_until(lambda: not resilient.is_ready(), 1.5, "not ready, long before Java is back")
        wait_until(resilient.is_ready, 60, "ready again")
        so_far = len(ended)
        wait_until(lambda: len(ended) >= so_far + 100, 30, "requests are answered again")
        latest = ended[so_far + 50 :]
    assert {one.status for one in ended} == {"OK", "UNAVAILABLE", 503}
    assert {one.status for one in latest} == {"OK"}
    assert resilient.java().pid != java.pid
    assert resilient.series()[RESTARTS] == restarts + 1
    assert resilient.series()[series_name("attnserve_model_ready", model=MODEL, version="1")] == 1
