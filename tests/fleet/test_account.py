"""The account of the fleet tests: whoever asks does not wait, and what goes wrong is in it."""

from __future__ import annotations

import asyncio
import io
import json

import numpy as np

from tests.faults.callers import Entry, FailedError, Logits
from tests.faults.load import Ledger
from tests.fleet.callers import Crowd
from tests.fleet.table import HEADER, Row, markdown

IMAGES = [b"\x00", b"\x01", b"\x02"]


class Moody:
    """Answers the baseline's questions; then says nothing before all others have come, and three things."""

    def __init__(self, others: int) -> None:
        self.asked = 0
        self.last = len(IMAGES) + others
        self.all_here = asyncio.Event()

    async def __call__(self, image: bytes) -> Logits:
        self.asked += 1
        if self.asked <= len(IMAGES):
            return np.array([image[0]], np.float32)
        mood = self.asked % 3
        if self.asked == self.last:
            self.all_here.set()
        await self.all_here.wait()
        if mood == 1:
            raise FailedError("UNAVAILABLE", "")
        return np.array([image[0] + (0.5 if mood else 0.0)], np.float32)


async def test_an_open_loop_waits_for_no_answer() -> None:
    """All are asked before the first is answered, and each has its line: right, wrong or failed."""
    way, lines = Moody(others=6), io.StringIO()
    crowd = Crowd(way, IMAGES, 1000.0, lines)

    async def end() -> None:
        await way.all_here.wait()
        crowd.end()

    await asyncio.wait_for(asyncio.gather(crowd.run(), end()), 30)
    entries = [Entry(**json.loads(line)) for line in lines.getvalue().splitlines()]
    assert len(entries) == way.asked - len(IMAGES)
    outcomes = Ledger(entries[:6]).outcomes
    assert outcomes == {"ok": 2, "wrong": 2, "UNAVAILABLE": 2}
    assert all(one.message for one in entries if one.outcome != "ok")


def test_the_table_shows_every_figure() -> None:
    """A row has a cell for each column."""
    quick, slow = Entry(start=0, seconds=0.01, outcome="ok"), Entry(start=1, seconds=2.0, outcome="INTERNAL")
    row = Row(event="flood", how="water", ledger=Ledger([*[quick] * 98, slow, slow]), seen="1.0 m")
    *_, line = markdown([row]).splitlines()
    assert line == "| flood | water | 100 | 2 | 0 | 10 | 2000 | 2000 | 1.0 m |"
    assert line.count("|") == len(HEADER) + 1
