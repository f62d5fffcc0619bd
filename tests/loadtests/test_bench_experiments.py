"""The benchmark of experiments."""

from __future__ import annotations

import sys

import pytest

from loadtests.bench_experiments import ALONE, DIRECT, MIRRORED, PAUSES_S, Engine, Plan, Way, measure
from loadtests.soak import fakes


def test_rounds_are_compared_with_those_of_the_same_time() -> None:
    """A machine that becomes slower changes no ratio; a single odd round does not, either."""
    direct = _way((1.0,) * 5, (2.0,) * 5, (3.0,) * 5)
    split = _way((1.1,) * 5, (9.0,) * 5, (3.3,) * 5)
    assert split.ratio(direct) == pytest.approx(1.1)


@pytest.mark.slow
def test_every_way_of_calling_is_measured() -> None:
    """Directly and through experiments of each mode, with few experiments and with more, at both paces."""
    engine = Engine(
        name="fake",
        models=("plain", "squeeze"),
        settings={"ATTNSERVE_EXPERIMENTS_POLL_INTERVAL_S": "0.2"},
        command=(sys.executable, "-m", fakes.__name__),
    )
    ways = measure(engine, Plan(rounds=2, calls=3, many=3), lambda _: None)
    assert {(way.name, way.configured) for way in ways} == {
        (ALONE, 1),
        *((name, 1) for name in (DIRECT, "split", *MIRRORED)),
        (DIRECT, 3),
        ("split", 3),
    }
    assert {way.pause_s for way in ways} == set(PAUSES_S)
    assert all(len(calls) == 3 and min(calls) > 0 for way in ways for calls in way.rounds)


def _way(*rounds: tuple[float, ...]) -> Way:
    return Way(name="", pause_s=0.0, configured=1, rounds=rounds)
