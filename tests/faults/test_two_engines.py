"""With two engines, whatever becomes of one, no request is lost and none is answered wrongly."""

from __future__ import annotations

import time

import pytest

from tests.faults.engines import Engine, attempts, wait_answers
from tests.faults.stage import Stage, assert_none_lost
from tests.faults.table import Row

Pair = tuple[Engine, Engine]
WORKER_BACK_S = 30.0
ENGINE_BACK_S = 60.0
PATIENCE_S = 1.0


@pytest.mark.slow
def test_a_worker_is_killed(stage: Stage, pair: Pair) -> None:
    """The batch that it held is answered by the other engine; TorchServe brings a new worker."""
    times = stage.times(5)
    with stage.scene(pair) as scene:
        back_s = []
        for number in range(times):
            engine = pair[number % 2]
            engine.kill_worker()
            back_s.append(wait_answers(scene.stack, engine, WORKER_BACK_S))
            scene.go_on()
        ledger = scene.end()
        lost = sum(attempts(scene.stack, engine, "lost") for engine in pair)
    assert lost >= times
    assert_none_lost(ledger)
    assert ledger.worst_s < 5
    stage.rows.append(
        Row(
            fault="worker killed in mid-batch",
            how="SIGKILL to the worker while it holds a batch",
            times=times,
            engines=2,
            ledger=ledger,
            well_after_s=max(back_s),
        )
    )


@pytest.mark.slow
def test_java_is_killed(stage: Stage, pair: Pair) -> None:
    """All goes to the other engine; the dead one, started again, is found and used unaided."""
    victim = pair[1]
    with stage.scene(pair) as scene:
        victim.server.kill()
        scene.go_on()
        assert scene.stack.is_ready()
        victim.mend()
        back_s = wait_answers(scene.stack, victim, ENGINE_BACK_S)
        scene.go_on()
        ledger = scene.end()
    assert_none_lost(ledger)
    assert ledger.worst_s < 5
    stage.rows.append(
        Row(
            fault="Java killed, started again by its owner",
            how="SIGKILL to Java",
            times=1,
            engines=2,
            ledger=ledger,
            well_after_s=back_s,
        )
    )


@pytest.mark.slow
def test_an_engine_is_frozen(stage: Stage, pair: Pair) -> None:
    """What it holds is asked of the other one as well once patience ends; then it is left alone."""
    victim, frozen_s = pair[1], max(5.0, stage.phase_s)
    with stage.scene(pair, patience_s=PATIENCE_S) as scene:
        with victim.frozen():
            began = time.monotonic()
            scene.load.go_on(frozen_s)
            ended = time.monotonic()
        back_s = wait_answers(scene.stack, victim, ENGINE_BACK_S)
        scene.go_on()
        ledger = scene.end()
    assert_none_lost(ledger)
    # Patience, the other engine's answer, and a busy machine.
    assert ledger.worst_s < PATIENCE_S + 2
    settled = ledger.since(began + PATIENCE_S + 1, ended)
    assert settled.quantile_s(0.5) < 0.5 * PATIENCE_S
    stage.rows.append(
        Row(
            fault="engine frozen",
            how=f"SIGSTOP to Java and worker, SIGCONT {frozen_s:g} s later",
            times=1,
            engines=2,
            ledger=ledger,
            well_after_s=back_s,
        )
    )


@pytest.mark.slow
def test_an_engine_is_asked_to_end(stage: Stage, pair: Pair) -> None:
    """It answers what it has; what would come to it goes to the other one."""
    victim = pair[1]
    with stage.scene(pair) as scene:
        victim.terminate()
        scene.go_on()
        victim.server.process.wait(30)
        victim.mend()
        back_s = wait_answers(scene.stack, victim, ENGINE_BACK_S)
        scene.go_on()
        ledger = scene.end()
    assert_none_lost(ledger)
    assert ledger.worst_s < 5
    stage.rows.append(
        Row(
            fault="engine ends orderly, started again by its owner",
            how="SIGTERM to Java",
            times=1,
            engines=2,
            ledger=ledger,
            well_after_s=back_s,
        )
    )


@pytest.mark.slow
def test_an_engine_is_twenty_times_slower(stage: Stage, pair: Pair) -> None:
    """It gets a smaller part of the batches, so that few requests notice."""
    victim = pair[1]
    with stage.scene(pair) as scene:
        before = scene.load.ledger().since(scene.began - stage.phase_s)
        with victim.slowed(20):
            scene.load.go_on(10)
            began, counts = time.monotonic(), [attempts(scene.stack, engine) for engine in pair]
            scene.load.go_on(max(3.0, stage.phase_s))
            ended = time.monotonic()
            batches = [
                attempts(scene.stack, engine) - count for engine, count in zip(pair, counts, strict=True)
            ]
        back_s = wait_answers(scene.stack, victim, ENGINE_BACK_S)
        scene.go_on()
        ledger = scene.end()
    assert_none_lost(ledger)
    assert batches[1] < 0.2 * sum(batches)
    slowed = ledger.since(began, ended)
    assert slowed.quantile_s(0.95) < max(2 * before.quantile_s(0.95), 0.15)
    stage.rows.append(
        Row(
            fault="engine 20 times slower",
            how="its worker stopped for 95 ms of every 100",
            times=1,
            engines=2,
            ledger=ledger,
            well_after_s=back_s,
        )
    )
