"""Runs of Locust as a whole: nothing is lost, whoever makes the load and however the run ends."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from loadtests.arrivals import poisson
from loadtests.exchanges import read_exchanges
from loadtests.running.launch import EXCHANGES, RESULT
from loadtests.shapes import Shape
from tests.loadtests.fake_gateway import FakeGateway, running
from tests.loadtests.locusts import by_hand, counts, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STALL_S = 1.0
WAIT_S = 60.0


def planned(shape: str, workers: int = 1) -> list[float]:
    """When requests are due, in seconds since the begin."""
    processes = (poisson(Shape.parse(shape), 1, worker, workers) for worker in range(workers))
    return sorted(due for process in processes for due in process)


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that must happen, however busy the machine is."""
    ends = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_in_the_open_loop_every_request_is_due_as_planned(tmp_path: Path) -> None:
    """To the microsecond; all are sent, none before its time, and each way has its share."""
    with running(FakeGateway()) as gateway:
        launched, exchanges = run(
            gateway, tmp_path, "--loop", "open", "--shape", "2@60,1@20", "--slots", "12"
        )
    assert launched.status == 0, launched
    due = planned("2@60,1@20")
    assert exchanges.due - launched.result["began"] == pytest.approx(due, abs=1e-6)
    assert (exchanges.late_ms >= 0).all()
    assert counts(launched) == gateway.requests
    assert gateway.total == len(due)
    assert launched.result["unsent"] == 0
    assert set(exchanges.way) == {"gRPC", "REST binary", "REST JSON"}


def test_every_request_of_two_workers_reaches_the_master(tmp_path: Path) -> None:
    """Both began at the same time, each with its share; all rows, counts, and Locust's own rows agree."""
    with running(FakeGateway()) as gateway:
        launched, exchanges = run(gateway, tmp_path, "--loop", "open", "--shape", "3@60", workers=2)
    assert launched.status == 0, launched
    assert launched.result["workers"] == 2
    due = planned("3@60", workers=2)
    assert exchanges.due - launched.result["began"] == pytest.approx(due, abs=0.05)  # each has a clock
    assert counts(launched) == gateway.requests
    assert sum(row["requests"] for row in launched.result["rows"]) == gateway.total == len(due)
    assert sorted(launched.result["sent"].values()) == sorted(
        len(list(poisson(Shape.parse("3@60"), 1, worker, 2))) for worker in range(2)
    )


def test_workers_in_a_closed_loop_lose_nothing_at_the_end(tmp_path: Path) -> None:
    """What is under way then is answered and counted; Locust's own options choose what is asked and how."""
    with running(FakeGateway(stall_s=STALL_S, stall_at=3)) as gateway:
        chosen = ("RestJsonUser", "--tags", "batch")
        launched, exchanges = run(gateway, tmp_path, "--shape", "2@4", *chosen, workers=2)
    assert launched.status == 0, launched
    assert counts(launched) == gateway.requests
    assert len(exchanges) == gateway.total == sum(row["requests"] for row in launched.result["rows"])
    assert set(exchanges.kind) == {"few images"}
    assert set(exchanges.way) == {"REST JSON"}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_closed_loop_ends_when_its_shape_does(workers: int, tmp_path: Path) -> None:
    """And not when Locust, which asks for the number of users once a second, hears of it."""
    with running(FakeGateway()) as gateway:
        launched, exchanges = run(gateway, tmp_path, "--shape", "2.1@4", workers=workers)
    assert launched.status == 0, launched
    assert not launched.result["stopped"]
    assert counts(launched) == gateway.requests
    assert 1 < exchanges.due.max() - launched.result["began"] < 2.6


@pytest.mark.parametrize(("loop", "shape"), [("closed", "4@3"), ("open", "4@50")])
def test_a_stall_is_hidden_by_the_closed_loop_and_shown_by_the_open_one(
    loop: str, shape: str, tmp_path: Path
) -> None:
    """Everything waits for a second, once.

    In the closed loop that is three requests, one of each user, whatever else would have been asked. In the
    open loop all that are due in the first half of the stall wait for the other half, though few are sent.
    """
    with running(FakeGateway(stall_s=STALL_S, stall_at=30)) as gateway:
        _, exchanges = run(gateway, tmp_path, "--loop", loop, "--shape", shape, "--slots", "9")
    assert len(exchanges) == gateway.total
    half_ms = 1e3 * STALL_S / 2
    slow, sent_slow = (exchanges.response_ms > half_ms).sum(), (exchanges.service_ms > half_ms).sum()
    if loop == "closed":
        assert 1 <= slow == sent_slow <= 6  # a machine that is busy may make some slow of its own
    else:
        due = np.array(planned(shape))
        waiting = ((due > due[29]) & (due < due[29] + STALL_S / 2)).sum()
        assert slow >= waiting / 2 > 8
        assert sent_slow < slow


def test_a_broken_promise_ends_the_run_and_says_why(tmp_path: Path) -> None:
    """Long before its time; workers judge together, and what was sent until then is counted."""
    with running(FakeGateway(shed=3)) as gateway:
        more = ("--loop", "open", "--shape", "600@50", "--slo-for", "2")
        launched, exchanges = run(gateway, tmp_path, *more, workers=2)
    assert "the promise was broken for 2 s in a row: of " in launched.result["stopped"]
    assert counts(launched) == gateway.requests
    assert len(exchanges) == gateway.total < len(planned("600@50", workers=2)) / 4


def test_a_run_that_is_ended_from_outside_counts_what_was_sent(tmp_path: Path) -> None:
    """By SIGTERM, in the middle of it."""
    with running(FakeGateway()) as gateway:
        command = [*by_hand(gateway, tmp_path), "--headless", "--loop", "open", "--shape", "600@50"]
        with started(command) as process:
            until(lambda: gateway.total > 50)
            process.terminate()
            assert process.wait(WAIT_S) == 0
    result = json.loads((tmp_path / RESULT).read_text())
    assert result["stopped"].startswith("it was ended from outside, before its time")
    assert len(read_exchanges(tmp_path / EXCHANGES)) == gateway.total


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--loop", "open"), "--loop: open needs either --shape or --trace"),
        (("--models", "other", "-t", "1s"), "model 'other': no such model"),
    ],
)
def test_what_makes_no_sense_is_told_before_any_load(
    more: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """Exit code 1, and no request was sent."""
    with running(FakeGateway()) as gateway:
        command = [*by_hand(gateway, tmp_path), "--headless", *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert gateway.total == 0


def test_the_web_ui_has_the_options_and_starts_runs(tmp_path: Path) -> None:
    """One with Locust's own users and time, then one in the open loop, each concluded with its files."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running(FakeGateway()) as gateway:
        command = [*by_hand(gateway, tmp_path), "--web-host", "127.0.0.1", "--web-port", str(port)]
        with (
            started([*command, "--token", "hush-hush"]) as process,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            until(lambda: answers(client))
            page = client.get("/").text
            assert all(
                f'"{name}"' in page for name in ("slo_ms", "deadline_ms", "feedback", "slots", "shape")
            )
            assert "hush-hush" not in page
            first = swarm(client, tmp_path, {"user_count": "3", "spawn_rate": "3", "run_time": "2s"})
            assert counts_of(first) == gateway.total > 0
            gateway.requests.clear()
            second = swarm(client, tmp_path, {"loop": "open", "shape": "1@40", "slots": "6"})
            assert counts_of(second) == gateway.total == len(planned("1@40"))
            process.terminate()
            assert process.wait(WAIT_S) == 0


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that does not outlive the block."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def answers(client: httpx.Client) -> bool:
    """Whether the web UI is there."""
    try:
        return client.get("/").is_success
    except httpx.HTTPError:
        return False


def swarm(client: httpx.Client, folder: Path, form: dict[str, str]) -> dict[str, Any]:
    """Start a run as the web UI's button does, and give its result."""
    (folder / RESULT).unlink(missing_ok=True)
    reply = client.post("/swarm", data=form).json()
    assert reply["success"], reply
    until((folder / RESULT).exists)
    until(lambda: client.get("/stats/requests").json()["state"] == "stopped")
    result: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return result


def counts_of(result: dict[str, Any]) -> int:
    """Requests in all."""
    return sum(count for *_, count in result["tally"]["requests"])
