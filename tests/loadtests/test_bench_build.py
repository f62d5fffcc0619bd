"""The benchmark of building an archive."""

from __future__ import annotations

import pytest

from loadtests.bench_build import GOAL_GB, GOAL_S, STARTING, BuildError, Run, measure, show


@pytest.mark.slow
def test_a_build_is_measured() -> None:
    """Its steps are told apart and make up the whole; its memory is its own, which torch fills somewhat."""
    (run,) = measure("digits_se", runs=1)
    steps = dict(run.steps)
    assert next(iter(steps)) == STARTING
    assert {"building the net", "packing"} <= steps.keys()
    assert sum(steps.values()) == pytest.approx(run.wall_s)
    assert 0.1 < run.peak_gb < GOAL_GB
    assert 0.05 < run.archive_mb < 1


@pytest.mark.slow  # it imports torch in a process of its own
def test_an_unknown_net_is_refused() -> None:
    """With the names that are near."""
    with pytest.raises(BuildError, match="digits_se"):
        measure("digits_sf", runs=1)


@pytest.mark.parametrize(("seconds", "mark"), [(GOAL_S - 1, "reached"), (GOAL_S + 1, "not reached")])
def test_the_goal_is_held_against_the_median(
    seconds: float, mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of three runs the middle one counts; remarks that took no time are no steps."""
    runs = [
        Run(steps=(("remark", 0.0), ("packing", wall_s)), wall_s=wall_s, peak_gb=1.0, archive_mb=1.0)
        for wall_s in (1.0, seconds, 1000.0)
    ]
    show("any", runs)
    printed = capsys.readouterr().out
    assert f"time: {seconds:.2f} s (goal: under 60 s on two cores, {mark})" in printed
    assert "packing" in printed
    assert "remark" not in printed
