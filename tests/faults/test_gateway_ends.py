"""The gateway's own end under load."""

from __future__ import annotations

import re
import signal
import time

import pytest

from tests.e2e.stacks import DRAIN_TIMEOUT_S
from tests.faults.callers import Entry
from tests.faults.engines import Engine
from tests.faults.load import Ledger
from tests.faults.stage import Stage, assert_none_lost
from tests.faults.table import Row

pytestmark = pytest.mark.slow

# What callers hear who come later: that it ends, and then that nobody listens.
REFUSAL = re.compile(r"shutting down|Connection refused|connection attempts failed")
# What those hear, and at once, who knock in the moment in which the doors close: a connection that was never
# taken off the listening socket is reset, and gRPC's core cancels a call that it has handed to nobody.
SLAMMED, SLAM_S = ("ReadError", "CANCELLED"), 0.1
# Between a caller's look at the clock and the arrival of what it sends.
ON_THE_WAY_S = 0.5


def test_sigterm(stage: Stage, pair: tuple[Engine, Engine]) -> None:
    """All that were accepted are answered, later ones are refused, and it exits with 0 in time."""
    with stage.scene(pair) as scene:
        scene.go_on()
        began = time.monotonic()
        scene.stack.process.send_signal(signal.SIGTERM)
        assert scene.stack.process.wait(DRAIN_TIMEOUT_S + 1) == 0
        ended_s = time.monotonic() - began
        scene.load.go_on(0.5)
        ledger = scene.end()
    refused = [one for one in ledger.failed if REFUSAL.search(one.message) or _is_slammed(one, began)]
    accepted = Ledger([one for one in ledger.entries if one not in refused])
    assert_none_lost(accepted)
    assert all(one.start > began - ON_THE_WAY_S for one in refused)
    assert len(refused) > 0
    assert ledger.worst_s < DRAIN_TIMEOUT_S
    assert ended_s < DRAIN_TIMEOUT_S
    stage.rows.append(
        Row(
            fault="gateway ends orderly",
            how="SIGTERM to the gateway; counted are the requests that it had accepted",
            times=1,
            engines=2,
            ledger=accepted,
            well_after_s=None,
        )
    )


def _is_slammed(one: Entry, began: float) -> bool:
    """Whether a request came after the signal, and no further than the door."""
    return one.outcome in SLAMMED and one.start > began and one.seconds < SLAM_S
