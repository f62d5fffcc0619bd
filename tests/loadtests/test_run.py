"""The command itself, against the real stack."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loadtests.arrivals import poisson
from loadtests.exchange import GRPC, REST_BINARY, REST_JSON
from loadtests.exchanges import read_exchanges
from loadtests.running.command import app
from loadtests.scrape import scrape
from loadtests.shapes import Shape
from loadtests.stack import StackError, Target, running_stack
from loadtests.traffic.questions import KINDS
from tests.e2e.demo import Demo, build_demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TIMEOUT_S = 240
WAYS = {GRPC, REST_BINARY, REST_JSON}
MODELS = {"digits_plain", "digits_se", "digits_eca", "digits_sk"}


@dataclass(frozen=True, kw_only=True)
class Done:
    """What the command left."""

    code: int
    output: str
    report: dict[str, Any]

    def rows(self, group: str) -> dict[str, int]:
        """Requests by name."""
        return {row["name"]: row["requests"] for row in self.report["rows"] if row["group"] == group}


def command(*arguments: object, folder: Path | None = None) -> Done:
    """Run it."""
    where = [] if folder is None else ["--report", folder]
    done = subprocess.run(
        [sys.executable, "-m", "loadtests", *map(str, (*arguments, *where))],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    file = folder / "report.json" if folder else None
    report = json.loads(file.read_text()) if file and file.exists() else {}
    return Done(code=done.returncode, output=done.stdout + done.stderr, report=report)


@pytest.fixture(scope="module")
def demo() -> Demo:
    """The demo's archives and samples."""
    return build_demo()


@pytest.fixture(scope="module")
def target(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A gateway of its own, which must end without an error."""
    settings = {"ATTNSERVE_MODEL_STORE": str(demo.archives)}
    with running_stack(tmp_path_factory.mktemp("run"), settings) as stack:
        yield stack.target


@pytest.fixture(scope="module")
def where(target: Target, demo: Demo) -> list[object]:
    """Options that lead there, with a promise that a busy machine keeps as well."""
    addresses = ("--host", target.http, "--grpc", target.grpc, "--metrics", target.metrics)
    return [*addresses, "--samples", demo.samples, "--slo-ms", 60_000]


@pytest.fixture(scope="module")
def smoke(where: list[object], tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """A short run, and its folder."""
    folder = tmp_path_factory.mktemp("smoke")
    return command("--seconds", 9, "--users", 6, *where, folder=folder), folder


def test_a_short_run_finds_nothing_wrong_and_counts_as_the_gateway_does(smoke: tuple[Done, Path]) -> None:
    """Every sort of user, model and question took part, nothing failed, and the files are there."""
    done, folder = smoke
    assert done.code == 0, done.output
    assert done.rows("way").keys() == WAYS
    assert done.rows("model").keys() == MODELS
    assert done.rows("kind").keys() == KINDS.keys()
    assert done.report["differences"] == done.report["failures"] == []
    sent = len(read_exchanges(folder / "exchanges.jsonl.gz"))
    assert f"counted the same {sent} requests" in done.output
    assert "<html" in (folder / "report.html").read_text()


def test_workers_send_what_was_to_arrive_and_no_more(where: list[object], tmp_path: Path) -> None:
    """Each its share of the process that the seed draws, at the times drawn."""
    done = command(
        "steady", "--shape", "6@20", "--workers", 2, "--seed", 7, "--slots", 16, *where, folder=tmp_path
    )
    assert done.code == 0, done.output
    expected = sorted(time for worker in (0, 1) for time in poisson(Shape.parse("6@20"), 7, worker, 2))
    exchanges = read_exchanges(tmp_path / "exchanges.jsonl.gz")
    assert exchanges.due - done.report["began"] == pytest.approx(expected, abs=1e-3)
    assert sum(one["requests"] for one in done.report["generators"]) == len(expected)
    assert {file.name for file in tmp_path.glob("*.log")} == {
        "master.log",
        "worker-1.log",
        "worker-2.log",
    }


def test_a_replay_sends_when_the_trace_says_so(where: list[object], tmp_path: Path) -> None:
    """Only questions with the tags that were chosen, of the model that was chosen."""
    trace = tmp_path / "trace.csv"
    trace.write_text("time\n" + "\n".join(f"{10 + at / 8}" for at in range(17)))
    choice = ("--models", "digits_se", "--tags", "batch", "--units", 5, "--slots", 16)
    done = command("replay", "--trace", trace, *choice, *where, folder=tmp_path)
    assert done.code == 0, done.output
    exchanges = read_exchanges(tmp_path / "exchanges.jsonl.gz")
    expected = [at / 8 for at in range(17)]
    assert exchanges.due - done.report["began"] == pytest.approx(expected, abs=1e-3)
    assert done.rows("kind") == {"few images": 17}
    assert done.rows("model") == {"digits_se": 17}


def test_users_are_added_step_by_step(where: list[object], tmp_path: Path) -> None:
    """The steps are those of the table."""
    done = command("users", "--users", 6, "--seconds", 6, *where, folder=tmp_path)
    assert done.code == 0, done.output
    assert [step["name"] for step in done.report["steps"]] == ["3 users", "6 users"]
    assert done.report["loop"] == "closed"


def test_wrong_labels_fail_a_run_that_is_compared_with_an_earlier_one(
    where: list[object], demo: Demo, smoke: tuple[Done, Path], tmp_path: Path
) -> None:
    """With every label exchanged nothing but the labels is wrong, and that is enough.

    The tolerance is such that no machine, however busy, is worse by more.
    """
    for path in demo.samples.glob("*.png"):
        label, _, number = path.name.partition("-")
        shutil.copy(path, tmp_path / f"{(int(label) + 1) % 10}-{number}")
    compared = ("--against", smoke[1] / "report.json", "--tolerance", 100)
    load = ("--seconds", 9, "--users", 6, *where, "--samples", tmp_path, *compared)
    done = command(*load, folder=tmp_path / "report")
    assert done.code == 1
    complaints = [line for line in done.output.splitlines() if line.startswith("FAILED")]
    assert len(complaints) == 1
    assert re.search(r"\d+ of \d+ images got their label \(.*\), expected 90.0%", complaints[0])
    assert done.report["differences"] == done.report["failures"] == []
    assert done.report["comparisons"]


def test_what_the_gateway_lacks_is_refused_before_any_request(
    where: list[object], target: Target, tmp_path: Path
) -> None:
    """A model that is not loaded, samples that are none, a baseline that is none."""
    before = scrape(target.metrics).requests(MODELS)
    for arguments, message in (
        (("--models", "resnet"), "--models: 'resnet' is not loaded; ready are digits_"),
        (("--samples", tmp_path), "samples"),
        (("--against", tmp_path / "none.json"), "--against: .* cannot be read"),
    ):
        options = [str(option) for option in (*where, *arguments, "--report", tmp_path / "report")]
        done = CliRunner().invoke(app, options)
        assert done.exit_code == 1
        assert re.search(message, done.output), done.output
        assert not (tmp_path / "report").exists()
    assert scrape(target.metrics).requests(MODELS) == before


def test_a_gateway_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The end of its log is in the message."""
    with (
        pytest.raises(StackError, match="ATTNSERVE_NO_SUCH_SETTING is not a setting"),
        running_stack(tmp_path, {"ATTNSERVE_NO_SUCH_SETTING": "1"}),
    ):
        pytest.fail("it started")
