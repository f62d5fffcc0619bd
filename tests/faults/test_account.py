"""The account itself: what goes wrong is in it, under the right name."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable

import numpy as np
import pytest

from tests.faults.callers import Callers, Entry, FailedError, Logits, baseline
from tests.faults.load import Ledger
from tests.faults.stage import assert_none_lost
from tests.faults.table import HEADER, Row, markdown

IMAGES = [b"\x00", b"\x01", b"\x02"]


class Moody:
    """Answers the baseline's questions rightly, then six rightly, wrongly and not at all in turn."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.asked = 0
        self.end = end

    async def __call__(self, image: bytes) -> Logits:
        self.asked += 1
        if self.asked == len(IMAGES) + 6:
            self.end()
        mood = 0 if self.asked <= len(IMAGES) else self.asked % 3
        if mood == 1:
            raise FailedError("UNAVAILABLE", "the engine is gone")
        return np.array([image[0] + (0.5 if mood else 0.0)], np.float32)


async def test_the_callers_tell_right_from_wrong_from_failed() -> None:
    """Each request has a line, compared with the baseline of its own image."""
    lines = io.StringIO()
    callers = Callers(IMAGES, lines, pause_s=0)
    await asyncio.wait_for(callers.run([Moody(callers.end)]), 30)
    entries = [Entry(**json.loads(line)) for line in lines.getvalue().splitlines()]
    assert Ledger(entries).outcomes == {"ok": 2, "wrong": 2, "UNAVAILABLE": 2}
    assert [one.message for one in Ledger(entries).failed] == ["the engine is gone"] * 2


async def test_images_that_look_alike_are_refused_as_a_load() -> None:
    """Were they mixed up, nobody would notice."""

    async def same(_image: bytes) -> Logits:
        return np.ones(1, np.float32)

    with pytest.raises(AssertionError, match="two images differ by"):
        await baseline(same, IMAGES)


def entry(start: float, seconds: float, outcome: str = "ok") -> Entry:
    """A line of the account."""
    return Entry(start=start, seconds=seconds, outcome=outcome)


def test_a_ledger_counts_what_overlaps_a_span() -> None:
    """Also a request that began before it or ended after it."""
    ledger = Ledger([entry(0, 1), entry(0, 3), entry(4, 9), entry(6, 1)])
    assert ledger.since(2, 5).entries == [entry(0, 3), entry(4, 9)]
    assert ledger.since(2).worst_s == 9
    assert ledger.quantile_s(0.5) == 3
    assert Ledger([]).quantile_s(0.99) == 0


@pytest.mark.parametrize("entries", [[], [entry(0, 1, "wrong")], [entry(0, 1, "503")]])
def test_no_loss_can_be_overlooked(entries: list[Entry]) -> None:
    """A wrong answer, a failure, and an empty account fail a test."""
    with pytest.raises(AssertionError):
        assert_none_lost(Ledger(entries))


def test_the_table_shows_every_figure() -> None:
    """A row has a cell for each column, and failures that had to be are said to be so."""
    ledger = Ledger([entry(0, 0.01)] * 98 + [entry(1, 2.0, "503"), entry(1, 0.5, "wrong")])
    row = Row(
        fault="fire",
        how="matches",
        times=2,
        engines=1,
        ledger=ledger,
        well_after_s=3.04,
        allowed="all 503",
    )
    *_, line = markdown([row]).splitlines()
    assert line == "| fire | matches | 2 | 1 | 100 | 1 (all 503) | 1 | 2000 | 2000 | 3.0 |"
    assert line.count("|") == len(HEADER) + 1
