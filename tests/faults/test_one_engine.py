"""With one engine, what breaks is said at once, by UNAVAILABLE with the reason, and heals unaided."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.processes import marked, wait_until
from tests.e2e.stacks import Stack, started
from tests.faults.engines import Engine, wait_answers
from tests.faults.load import Ledger
from tests.faults.stage import MODEL, Stage
from tests.faults.table import Row

pytestmark = pytest.mark.slow

Pair = tuple[Engine, Engine]
ALLOWED = "all UNAVAILABLE / 503"
BACK_S = 60.0
ATTEMPT_TIMEOUT_S = 2.0


def assert_bounded(ledger: Ledger, seconds: float) -> None:
    """No wrong answer, no other failure than UNAVAILABLE / 503 with a reason, and nobody waited for long."""
    assert ledger.wrong == []
    assert {one.outcome for one in ledger.failed} <= {"UNAVAILABLE", "503"}, ledger.outcomes
    assert all(MODEL in one.message or "engine" in one.message for one in ledger.failed), ledger.failed
    assert ledger.worst_s < seconds


def test_the_only_worker_is_killed(stage: Stage, pair: Pair) -> None:
    """Requests wait for the new worker or hear UNAVAILABLE; none hangs."""
    engine, times = pair[0], stage.times(3)
    with stage.scene([engine]) as scene:
        back_s = []
        for _ in range(times):
            engine.kill_worker()
            back_s.append(wait_answers(scene.stack, engine, BACK_S))
            scene.go_on()
        ledger = scene.end()
    assert_bounded(ledger, 15)
    stage.rows.append(
        Row(
            fault="the only worker killed in mid-batch",
            how="SIGKILL to the worker while it holds a batch",
            times=times,
            engines=1,
            ledger=ledger,
            well_after_s=max(back_s),
            allowed=ALLOWED,
        )
    )


def test_the_only_engine_is_frozen(stage: Stage, pair: Pair) -> None:
    """The first hear UNAVAILABLE when attempt_timeout_s is over, the next ones at once."""
    engine, frozen_s = pair[0], max(6.0, stage.phase_s)
    with stage.scene([engine], attempt_timeout_s=ATTEMPT_TIMEOUT_S) as scene:
        with engine.frozen():
            scene.load.go_on(frozen_s)
            ended = time.monotonic()
        back_s = wait_answers(scene.stack, engine, BACK_S)
        scene.go_on()
        ledger = scene.end()
    assert_bounded(ledger, 3 * ATTEMPT_TIMEOUT_S)
    refused = ledger.since(ended - 1, ended).failed
    assert len(refused) > 0
    assert Ledger(refused).quantile_s(0.5) < 1
    stage.rows.append(
        Row(
            fault="the only engine frozen",
            how=f"SIGSTOP to Java and worker, SIGCONT {frozen_s:g} s later; attempt_timeout_s: 2",
            times=1,
            engines=1,
            ledger=ledger,
            well_after_s=back_s,
            allowed=ALLOWED,
        )
    )


@contextmanager
def supervised(stage: Stage) -> Iterator[Stack]:
    """A gateway with a TorchServe of its own."""
    store = {"ATTNSERVE_MODEL_STORE": str(stage.demo.archives), "ATTNSERVE_MODELS": f'["{MODEL}"]'}
    with started(store) as stack:
        stack.wait_ready()
        yield stack
        assert stack.end() == 0
        stack.assert_nothing_left()


def test_the_supervised_java_is_killed(stage: Stage) -> None:
    """Not ready within 3 s and ready again unaided; meanwhile UNAVAILABLE within 2 s; one JVM, not two."""
    with supervised(stage) as stack, stage.scene_at(stack, []) as scene:
        began = time.monotonic()
        stack.java().kill()
        wait_until(lambda: not stack.is_ready(), 3, "not ready")
        wait_until(stack.is_ready, BACK_S, "ready again")
        back_s = time.monotonic() - began
        scene.go_on()
        ledger = scene.end()
        assert len([process for process in marked(stack.mark) if process.name() == "java"]) == 1
    assert_bounded(ledger, 5)
    assert len(ledger.failed) > 0
    assert Ledger(ledger.failed).worst_s < 2
    assert {one.outcome for one in ledger.entries[-20:]} == {"ok"}
    stage.rows.append(
        Row(
            fault="Java killed, restarted by the gateway",
            how="SIGKILL to Java",
            times=1,
            engines=1,
            ledger=ledger,
            well_after_s=back_s,
            allowed=ALLOWED,
        )
    )
