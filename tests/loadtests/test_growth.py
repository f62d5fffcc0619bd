"""How cost grows: the lines of theory, tables, drawings, and the run itself."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from loadtests.bench.generator import LoadRun
from loadtests.bench.goal import Spread
from loadtests.growth import __main__ as command
from loadtests.growth import bare
from loadtests.growth.laws import Amdahl, Bounds, Line, little, residual
from loadtests.growth.plan import Plan
from loadtests.growth.plots import draw
from loadtests.growth.report import as_json, show
from loadtests.growth.served import callers_sweep, experiments
from loadtests.growth.sweep import Curve, Sweep
from loadtests.machine import Machine

POSITIVE = st.floats(0.1, 100.0)


@given(a=POSITIVE, c=POSITIVE, x=st.lists(st.integers(1, 64), min_size=2, max_size=8, unique=True))
def test_a_line_is_found_again(a: float, c: float, x: list[int]) -> None:
    """Points on a line give that line."""
    line = Line.through(x, [a + c * at for at in x])
    assert (line.a, line.c) == pytest.approx((a, c), rel=1e-6, abs=1e-8)


def test_a_line_is_that_of_weighted_least_squares() -> None:
    """As numpy's polyfit gives it, whose weights multiply the residuals: 1 / y makes these relative."""
    x, y = [1.0, 2.0, 4.0, 8.0], [3.0, 3.9, 6.5, 10.0]
    slope, start = np.polyfit(x, y, 1, w=[1 / value for value in y])
    line = Line.through(x, y)
    assert (line.a, line.c) == pytest.approx((start, slope))
    level = Line.constant(y)
    assert level.a == pytest.approx(np.polyfit(x, y, 0, w=[1 / value for value in y])[0])
    assert Line.through([2.0], [5.0]).at(7.0) == pytest.approx(5.0), "one point gives no slope"


@pytest.mark.parametrize(
    ("serial", "workers", "speed_up"), [(0.5, 2, 4 / 3), (0.1, 10, 1 / 0.19), (0.0, 8, 8.0)]
)
def test_amdahls_law(serial: float, workers: int, speed_up: float) -> None:
    """Speed-up 1 / (s + (1 - s) / n), as Amdahl (1967) has it; and measurements on it give s again."""
    law = Amdahl(rate=3.0, serial=serial)
    assert law.at(workers) / law.at(1) == pytest.approx(speed_up)
    counts = (1, 2, 4, 8)
    found = Amdahl.through(counts, [law.at(count) for count in counts])
    assert (found.rate, found.serial) == pytest.approx((3.0, serial), abs=1e-9)


def test_the_bounds_of_operational_analysis() -> None:
    """R = 100 ms alone, D = 25 ms at the bottleneck: the knee is at 4 callers (Denning & Buzen 1978)."""
    bounds = Bounds(alone_s=0.1, demand_s=0.025)
    assert bounds.knee == pytest.approx(4.0)
    assert [bounds.rate(callers) for callers in (1, 2, 4, 8)] == pytest.approx([10, 20, 40, 40])
    assert [bounds.response_s(callers) for callers in (1, 4, 8)] == pytest.approx([0.1, 0.1, 0.2])
    assert little(bounds.rate(8), bounds.response_s(8)) == pytest.approx(8.0)


def test_the_residual_is_the_furthest_from_the_line() -> None:
    """Relative, with its sign."""
    assert residual([1.0, 2.2, 2.7], [1.0, 2.0, 3.0]) == pytest.approx(0.1)
    assert residual([1.0, 2.0, 2.4], [1.0, 2.0, 3.0]) == pytest.approx(-0.2)


def made() -> Sweep:
    """Callers of a system that keeps its bounds, with a tenth of waiting on top."""
    bounds = Bounds(alone_s=0.1, demand_s=0.025)
    runs = {}
    for callers in (1, 4, 16):
        mean_s = 1.1 * bounds.response_s(callers)
        rate = callers / mean_s
        one = LoadRun(
            requests=100,
            rate=rate,
            mean_ms=1e3 * mean_s,
            median_ms=1e3 * mean_s,
            p99_ms=2e3 * mean_s,
            cpu_s=0.1,
        )
        runs[callers] = [one, one]
    return callers_sweep(runs, bounds)


def test_callers_are_held_against_bounds_and_littles_law() -> None:
    """Throughput below its bound, time above, and their product is the number of callers."""
    rate, middle, tail, product = made().curves
    assert rate.theory == pytest.approx((10.0, 40.0, 40.0))
    assert rate.residual == pytest.approx(1 / 1.1 - 1)
    assert middle.residual == pytest.approx(0.1)
    assert tail.residual is None
    assert product.medians == pytest.approx([1, 4, 16])
    assert product.residual == pytest.approx(0.0, abs=1e-9)


def test_tables_have_the_line_beside_the_figure() -> None:
    """And name the law, its parameters and the residual; JSON has all of it."""
    console = Console(file=io.StringIO(), width=200)
    show(made(), console)
    text = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO
    for part in (
        "bound",
        "X <= min(N / R, 1 / D)",
        "knee at 4.0 callers",
        "furthest from it: -9.1%",
        "Little",
    ):
        assert part in text
    document = json.loads(json.dumps(as_json([made()], Machine.here())))
    assert document["sweeps"][0]["residuals"]["p50"] == pytest.approx(0.1)


def test_sweeps_are_drawn(tmp_path: Path) -> None:
    """Each curve in a field of its own, an odd number of them too."""
    flat = Curve(name="memory", unit="MB", found=(Spread.of([1.0]), Spread.of([1.0, 2.0])))
    alone = Sweep(name="models", title="Models", over="models loaded", at=(1, 2), curves=(flat,))
    draw([made(), alone], tmp_path / "growth.svg")
    drawn = (tmp_path / "growth.svg").read_text()
    for part in ("throughput, images/s", "memory, MB", "models loaded", "line of theory", "bound"):
        assert part in drawn


def test_an_unknown_part_is_refused() -> None:
    """With the parts that there are."""
    app = typer.Typer()
    app.command()(command.main)
    result = CliRunner().invoke(app, ["--only", "weather"])
    assert result.exit_code == 2
    assert "experiments" in result.output


@pytest.mark.slow
def test_growth_is_measured() -> None:
    """Batches of a small net, and a few experiments before a fake engine."""
    plan = Plan(rounds=2, batches=(1, 2, 4), experiments=(1, 3), requests=20)
    batch = bare.batch_sizes("resnet20", plan, lambda _: None)
    assert all(spread.least > 0 for curve in batch.curves for spread in curve.found)
    found = experiments(plan, lambda _: None)
    assert list(found.at) == [1, 3]
    assert all(spread.least > 0 for curve in found.curves for spread in curve.found)
