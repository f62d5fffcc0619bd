"""The comparison with peers: plans, ratios, goals, tables, the whole command."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from loadtests.machine import Machine
from loadtests.peers.catalogue import ATTNSERVE, BARE, BY_NAME, PEERS
from loadtests.peers.environments import Environments, set_up
from loadtests.peers.found import Cell, Found, LeftOut, Standing, Turn, at, ratios
from loadtests.peers.generator import Run
from loadtests.peers.goals import Goal, goals
from loadtests.peers.meter import Memory
from loadtests.peers.picture import draw
from loadtests.peers.plan import WORKLOADS, PlanError, chosen, groups
from loadtests.peers.tables import show

CELL = Cell(workload="trivial-jpeg", callers=32)


def turn(server: str, rate: float, number: int = 0, *, door: str = "gRPC", cell: Cell = CELL) -> Turn:
    """A window in which a server answered so many requests a second."""
    run = Run(requests=100, rate=rate, p50_ms=1e3 / rate, p99_ms=2e3 / rate, cpu_s=0.05)
    return Turn(
        workload=cell.workload,
        server=server,
        door=door,
        callers=cell.callers,
        round=number,
        run=run,
        server_cpu_s=0.3,
        others_cores=0.0,
    )


def found(*turns: Turn, standings: tuple[Standing, ...] = ()) -> Found:
    """A comparison with these turns."""
    return Found(machine=Machine.here(), turns=turns, standings=standings, left_out=())


def goal(of: Found, beginning: str) -> Goal:
    """The only goal whose text begins so."""
    (one,) = (one for one in goals(of) if one.what.startswith(beginning))
    return one


def test_ratios_are_taken_round_by_round_and_the_hardest_peer_comes_first() -> None:
    """A machine that slows down between two rounds changes no ratio."""
    of = found(
        *(turn(ATTNSERVE, rate, n) for n, rate in enumerate((100.0, 50.0, 120.0))),
        *(turn("kserve", rate, n) for n, rate in enumerate((50.0, 25.0, 60.0))),
        *(turn("fastapi", rate, n) for n, rate in enumerate((100.0, 40.0, 100.0))),
    )
    hardest, easiest = ratios(of, CELL)
    assert [hardest.server, easiest.server] == ["fastapi", "kserve"]
    assert hardest.rounds == pytest.approx((1.0, 1.25, 1.2))
    assert easiest.median == pytest.approx(2.0)
    assert ratios(of, CELL, "p99")[0].median == pytest.approx(1.2)  # shorter waits are better


def test_a_server_is_judged_by_its_better_protocol() -> None:
    """A slow second protocol is no disadvantage, neither for a peer nor for us."""
    of = found(turn(ATTNSERVE, 10.0), turn("torchserve", 5.0), turn("torchserve", 20.0, door="HTTP"))
    assert [one.door for one in at(of, CELL, "torchserve")] == ["HTTP"]
    assert ratios(of, CELL)[0].median == pytest.approx(0.5)


def test_behind_is_who_is_behind_in_every_round() -> None:
    """One round ahead means that the noise explains the difference."""
    cell = Cell(workload="trivial-jpeg", callers=8)

    def reached(*rates: float) -> bool:
        ours = [turn(ATTNSERVE, rate, n, cell=cell) for n, rate in enumerate(rates)]
        theirs = [turn("kserve", 100.0, n, cell=cell) for n in range(len(rates))]
        return goal(found(*ours, *theirs), "trivial-jpeg, 8 callers: rate").reached

    assert reached(90.0, 101.0, 95.0)
    assert not reached(90.0, 99.0, 95.0)


@pytest.mark.parametrize(("ours", "reached"), [(139.0, False), (140.0, True)])
def test_the_trivial_net_asks_for_1_4_times_the_best_peer(ours: float, *, reached: bool) -> None:
    """The best peer counts, not the average one."""
    of = found(turn(ATTNSERVE, ours), turn("kserve", 100.0), turn("ray", 10.0))
    assert goal(of, "trivial-jpeg, 32 callers").reached is reached


def test_the_saturated_real_net_is_held_against_the_bare_loop_of_its_round() -> None:
    """95 % of the same module without a server."""
    cell = Cell(workload="real-same", callers=32)
    bare = [
        turn(BARE, rate, n, cell=Cell(workload="real-same", callers=0)) for n, rate in enumerate((40.0, 20.0))
    ]
    of = found(*bare, turn(ATTNSERVE, 38.4, 0, cell=cell), turn(ATTNSERVE, 19.2, 1, cell=cell))
    one = goal(of, "real-same, 32 callers: rate over a bare")
    assert one.rounds == pytest.approx((0.96, 0.96))
    assert one.reached


def test_memory_is_held_against_torchserves() -> None:
    """250 MB more are too many, and so is a hundredth of a core when nobody asks."""

    def standing(server: str, megabytes: int, idle: float) -> Standing:
        memory = Memory(pss=megabytes * 1_000_000, rss=0)
        return Standing(workload="real-same", server=server, memory=memory, idle_cores=idle)

    of = found(standings=(standing(ATTNSERVE, 849, 0.011), standing("torchserve", 600, 0.0)))
    memory, idle = goals(of)
    assert memory.rounds == pytest.approx((249.0,))
    assert memory.reached
    assert not idle.reached


def test_what_was_not_measured_has_no_goal() -> None:
    """A comparison of one workload says nothing of the others."""
    assert goals(found(turn(ATTNSERVE, 10.0))) == []


def test_the_tables_show_every_peer_and_who_is_left_out(tmp_path: Path) -> None:
    """Nobody disappears silently, and the picture is drawn where there is something to compare."""
    of = found(turn(ATTNSERVE, 15.0), turn("kserve", 10.0))
    out = LeftOut(workload="trivial-jpeg", server="ray", reason="cannot be installed: no such version")
    of = Found(machine=of.machine, turns=of.turns, standings=(), left_out=(out,))
    page = io.StringIO()
    show(of, goals(of), Console(file=page, width=200))
    for text in ("KServe", "1.50", "CPU ms, server", "Ray Serve is left out: cannot be installed", "reached"):
        assert text in page.getvalue()
    assert draw(of, tmp_path / "ratios.svg")
    assert "KServe" in (tmp_path / "ratios.svg").read_text()
    assert not draw(found(turn(ATTNSERVE, 15.0)), tmp_path / "nothing.svg")


def test_workloads_with_the_same_servers_are_measured_together() -> None:
    """The servers of the trivial net start once for both of its workloads."""
    together = list(groups(chosen(None)).values())
    assert [workload.name for workload in together[-1]] == ["trivial-jpeg", "trivial-tensor"]
    assert sum(map(len, together)) == len(WORKLOADS)


def test_an_unknown_workload_is_refused_with_the_list() -> None:
    """The message names the option, the value and what there is."""
    with pytest.raises(PlanError, match=r"--workloads: 'real' must be one of real-documented, "):
        chosen("trivial-jpeg,real")


def test_every_requirement_is_exact() -> None:
    """A figure can only be repeated with the same versions."""
    for peer in PEERS:
        assert all("==" in requirement for requirement in peer.requirements), peer.name
        assert set(peer.setups) == {"documented", "tuned"}


@pytest.mark.slow
def test_a_peer_that_cannot_be_installed_is_named_with_the_reason(tmp_path: Path) -> None:
    """The set-up first says how much it will install, and goes on with the others."""
    said: list[str] = []
    where = Environments(folder=tmp_path, given={"kserve": Path(sys.executable)}, pip=("--no-such-option",))
    failed = set_up(where, [BY_NAME["fastapi"], BY_NAME["kserve"]], said.append)
    assert "MB to download" in said[0]
    assert list(failed) == ["fastapi"]
    assert "no such option" in failed["fastapi"]


@pytest.mark.slow
def test_the_whole_command_runs_against_a_stock_torchserve(tmp_path: Path) -> None:
    """Every answer is checked, and the figures are written with their ratios and goals."""
    command = [
        sys.executable,
        "-m",
        "loadtests.peers",
        "--only",
        "torchserve",
        "--workloads",
        "trivial-tensor",
    ]
    command += ["--quick", "--rounds", "1", "--python", f"torchserve={sys.executable}"]
    command += ["--folder", str(tmp_path), "--json", str(tmp_path / "found.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["left_out"] == []
    assert {one["server"] for one in written["turns"]} == {"attnserve", "torchserve"}
    assert all(one["run"]["requests"] > 0 for one in written["turns"])
    assert any(one["what"].startswith("trivial-tensor, 32 callers") for one in written["goals"])
