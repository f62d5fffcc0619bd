"""A cut between the gateway and an engine."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.faults.engines import Engine, attempts, wait_answers
from tests.faults.network import star
from tests.faults.stage import MODEL, Stage, assert_none_lost
from tests.faults.table import Row

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_program("ip", how="apt install iproute2"),
]

PATIENCE_S = 1.0
CUT_S = 8.0
BACK_S = 15.0


def test_the_network_to_an_engine_is_cut(stage: Stage) -> None:
    """Packets vanish without a word: the other engine answers; after the repair both do, unaided."""
    with star(2) as (hub, cables), ExitStack() as life:
        engines = [Engine(stage.demo.archives, MODEL, cable.far_host) for cable in cables]
        for engine, cable in zip(engines, cables, strict=True):
            life.callback(engine.end)
            with cable.far.entered():
                engine.start()
        life.enter_context(hub.entered())
        with stage.scene(engines, patience_s=PATIENCE_S) as scene:
            with cables[1].cut():
                scene.load.go_on(CUT_S / 2)
                settled = time.monotonic()
                sent = attempts(scene.stack, engines[0])
                scene.load.go_on(CUT_S / 2)
                assert attempts(scene.stack, engines[0]) > sent
                ended = time.monotonic()
            back_s = wait_answers(scene.stack, engines[1], BACK_S)
            scene.go_on()
            ledger = scene.end()
    assert_none_lost(ledger)
    assert ledger.worst_s < PATIENCE_S + 3
    assert ledger.since(settled, ended).quantile_s(0.9) < PATIENCE_S / 2
    stage.rows.append(
        Row(
            fault="network to an engine cut",
            how=f"its link down for {CUT_S:g} s, packets dropped silently",
            times=1,
            engines=2,
            ledger=ledger,
            well_after_s=back_s,
        )
    )
