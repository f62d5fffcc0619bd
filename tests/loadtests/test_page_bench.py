"""The page's benchmark and pictures: what needs no browser, and a short run with one."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loadtests.bench_ledger import MANY
from loadtests.machine import Machine
from loadtests.page.bench import FIRST, REPORT, Plan, as_json, measure
from loadtests.page.first_view import Opening, Openings
from loadtests.page.live_cost import LiveCost
from loadtests.page.shrink import shrunk
from loadtests.page.stores import AGE_S, GROWTH, touch, write_grown
from serve.ledger.ledger import Ledger


def test_a_slow_machine_changes_no_difference() -> None:
    """The live view's cost is told within a round; a single odd round does not count."""
    cost = LiveCost(without=(0.020, 0.040, 0.030), watched=(0.023, 0.043, 0.080))
    assert cost.added == pytest.approx(0.003)


def test_the_middle_opening_is_told() -> None:
    """One opening that took long does not change the figure."""
    taken = tuple(
        Opening(paint_ms=paint_ms, usable_ms=2 * paint_ms, requests=3, received_bytes=1000)
        for paint_ms in (90, 5000, 100)
    )
    assert Openings(view="x", taken=taken).median("usable_ms") == 200


def test_a_picture_is_made_small_and_looks_the_same() -> None:
    """Few colours cost nothing; of many, those are taken that the size allows."""
    plain = np.zeros((40, 60, 3), np.uint8)
    plain[:20] = (0x0B, 0x5C, 0xAD)
    with Image.open(io.BytesIO(shrunk(_png(plain)))) as found:
        assert np.array_equal(np.asarray(found.convert("RGB")), plain)
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    most = len(shrunk(_png(noise), 10**9)) - 1
    fewer = shrunk(_png(noise), most)
    assert len(fewer) <= most
    with Image.open(io.BytesIO(fewer)) as found:
        assert found.size == (100, 100)


def test_ten_million_outcomes_are_in_the_ledger(tmp_path: Path) -> None:
    """As sums over three phases, with a month of looks; a touch makes every kept report old."""
    url = f"sqlite:///{tmp_path / 'experiments.db'}"
    begun = time.time()
    name = write_grown(url)
    ledger = Ledger.open(url)
    try:
        experiment = ledger.versions.history(name)[-1]
        phases = ledger.reading.evidence(experiment.id).phases
        assert sum(phase.arms[0].sums["labelled"] for phase in phases) == pytest.approx(MANY, rel=1e-5)
        looks = ledger.reading.looks(experiment.id)
        ages = np.array([look.at for look in looks]) - (begun - AGE_S)
        assert np.all(np.diff(ages) <= 1.01 * GROWTH * ages[:-1] + 1)
        before = ledger.reading.activity()[experiment.id]
        touch(url, name)
        assert ledger.reading.activity()[experiment.id] == before + 1
    finally:
        ledger.close()


@pytest.mark.slow
@pytest.mark.needs_program("chromium", how="apt install chromium")
def test_the_page_is_measured() -> None:
    """Every view becomes usable; all figures are there, and can be written down."""
    result = measure(Plan(openings=1, rounds=1, seconds=1.0))
    assert {view.view for view in result.views} >= {FIRST, REPORT}
    for view in result.views:
        (opening,) = view.taken
        assert opening.paint_ms > 0
        assert opening.usable_ms > 0
        assert opening.received_bytes > 1000
    assert all(share > 0 for share in (*result.live.without, *result.live.watched))
    assert json.loads(json.dumps(as_json(result, Machine.here())))["live"]["added"] == result.live.added


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
