"""The bench's arithmetic and its verdicts."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from loadtests.bench import archives
from loadtests.bench.bare import BareRun, bare_loop
from loadtests.bench.generator import LoadRun
from loadtests.bench.measures import Idle, Loaded, Lone, Memory, Throughput
from loadtests.bench.photos import photos
from loadtests.bench.report import Findings, as_json, doubts, goals, show
from loadtests.bench.watch import Spent
from loadtests.machine import Machine


def bare(rate: float) -> BareRun:
    """Ten seconds of the bare loop at that many images a second."""
    return BareRun(images=round(10 * rate), seconds=10.0, decode_s=1.0, inference_s=9.0, cpu_s=20.0)


def loaded(rate: float, machine_s: float = 20.0) -> Loaded:
    """Ten seconds of load at that many images a second."""
    run = LoadRun(
        requests=round(10 * rate), rate=rate, mean_ms=1900.0, median_ms=1900.0, p99_ms=2100.0, cpu_s=0.5
    )
    spent = Spent(seconds=10.0, cpu_s={"gateway": 0.5, "Java": 0.3, "worker": 18.5}, machine_s=machine_s)
    stages = {"queue": 9.0, "decode": 0.4, "inference": 9.0, "encode": 0.1}
    return Loaded(run=run, spent=spent, stages_s=stages, batches=10)


IDLE = Spent(seconds=10.0, cpu_s={"gateway": 0.02, "Java": 0.01, "worker": 0.0}, machine_s=20.0)
THROUGHPUT = Throughput(
    bare=(bare(20.0), bare(10.0), bare(10.0), bare(10.0)),
    idle=(IDLE,) * 4,
    loaded=(loaded(15.0), loaded(9.5), loaded(5.0)),
)
FINDINGS = Findings(
    machine=Machine.here(),
    memory=Memory(
        before=100_000_000,
        after_some=110_000_000,
        after_many=112_000_000,
        requests=(1_000, 10_000),
        run=replace(loaded(600.0).run, median_ms=50.0),
    ),
    idle=Idle(
        memory={"gateway": 100_000_000, "Java": 300_000_000, "worker": 500_000_000}, models=2, spent=IDLE
    ),
    lone=(
        Lone(model="digits_se", call_ms=(5.0, 6.0, 30.0), added_ms=(3.0, 4.0, 28.0)),
        Lone(model="trivial", call_ms=(4.0, 4.5, 9.0), added_ms=(1.0, 1.0, 1.0)),
    ),
    recipe="cpu-fused",
    throughput=THROUGHPUT,
)


STEADY = replace(FINDINGS, throughput=replace(THROUGHPUT, bare=(bare(10.0),) * 4))


def test_each_round_is_held_against_the_bare_loops_around_it() -> None:
    """A machine that slows down between two phases does not count for or against the gateway."""
    assert THROUGHPUT.ratios == pytest.approx([1.0, 0.95, 0.5])


def test_medians_decide_and_extremes_are_shown() -> None:
    """One slow round or call does not miss a goal, and is not hidden."""
    ratio, added, trivial, memory, growth, idle = goals(FINDINGS)
    assert (ratio.least, ratio.median, ratio.most) == pytest.approx((0.5, 0.95, 1.0))
    assert ratio.reached
    assert (added.least, added.median, added.most, added.reached) == (3.0, 4.0, 28.0, True)
    assert (trivial.median, trivial.reached) == (4.5, True)
    assert idle.median == pytest.approx(0.3)
    assert idle.reached
    assert (memory.median, memory.reached) == (112.0, True)
    assert (growth.median, growth.reached) == (2.0, True)


def test_a_goal_that_is_missed_is_said_to_be() -> None:
    """Each of the six, by the figure that misses it."""
    slow = replace(THROUGHPUT, loaded=(loaded(8.0), loaded(8.0), loaded(8.0)))
    late = Lone(model="digits_se", call_ms=(20.0,), added_ms=(8.0,))
    fat = replace(FINDINGS.memory, after_many=260_000_000)
    trivial = Lone(model="trivial", call_ms=(5.1,), added_ms=(1.0,))
    restless = replace(FINDINGS.idle, spent=replace(IDLE, cpu_s={"gateway": 0.05, "Java": 0.06}))
    missed = replace(FINDINGS, throughput=slow, lone=(late, trivial), memory=fat, idle=restless)
    assert [goal.reached for goal in goals(missed)] == [False] * 6


def test_the_report_shows_every_goal_and_where_it_was_measured() -> None:
    """Also as JSON, which keeps each round and each call."""
    console = Console(file=io.StringIO(), width=160)
    show(STEADY, console)
    text = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO
    assert text.count("reached") == len(goals(FINDINGS)) == 6
    assert FINDINGS.machine.torch in text
    assert "do not trust" not in text
    assert "cpu-fused" in text
    assert "800" in text, "TorchServe's own memory: Java and workers"
    document = json.loads(json.dumps(as_json(FINDINGS)))
    assert len(document["throughput"]["bare"]) == 4
    assert document["lone"][0]["call_ms"] == [5.0, 6.0, 30.0]


def test_bare_loops_that_differ_make_the_ratio_doubtful() -> None:
    """A gateway cannot be faster than the loop: where it seems so, the loop was disturbed."""
    assert THROUGHPUT.unrest == pytest.approx(2.0)
    assert [doubt for doubt in doubts(FINDINGS) if "factor of 2.00" in doubt]
    assert doubts(STEADY) == []


def test_a_bare_loop_that_others_disturb_is_doubtful_too() -> None:
    """Their processor time counts in its phases as well."""
    busy = replace(IDLE, machine_s=25.0)
    found = replace(STEADY.throughput, idle=(busy, IDLE, IDLE, IDLE))
    assert found.others_cores == pytest.approx(0.497)


def test_a_machine_that_others_use_makes_the_figures_doubtful() -> None:
    """What they took is shown, and a warning."""
    busy = replace(THROUGHPUT, loaded=(loaded(15.0, machine_s=24.8), *THROUGHPUT.loaded[1:]))
    assert busy.loaded[0].others_cores == pytest.approx(0.5)
    console = Console(file=io.StringIO(), width=160)
    show(replace(FINDINGS, throughput=busy), console)
    assert "kept up to 0.5 cores busy" in console.file.getvalue()  # type: ignore[attr-defined] # as above


@pytest.mark.slow  # it builds an archive, and starts a process with torch
def test_the_bare_loop_runs_the_handler_of_an_archive(tmp_path: Path) -> None:
    """Decoding included, in the recipe that the handler chose: the trivial net's only one."""
    archives.prepare(tmp_path / "store", [archives.TRIVIAL])
    folder = archives.unpack(tmp_path / "store", tmp_path / "net", archives.TRIVIAL)
    with bare_loop(folder, photos(4, (64, 64)), batch=2) as loop:
        run = loop.run(0.2)
        assert loop.recipe() == "portable"
    assert run.images >= 2
    assert run.images % 2 == 0
    assert 0 < run.decode_s + run.inference_s <= run.seconds
