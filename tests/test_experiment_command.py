"""`attnserve experiment` and `alias` against a gateway with a real desk and a ledger, but no engines."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner, Result

from serve.cli import app
from serve.core.access import Access
from serve.core.designs import design_of
from serve.core.experiment import Experiment
from serve.core.record import CallRecord, Said
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from serve.metrics_port import MetricsPort
from serve.terminal.example import EXAMPLE
from serve.terminal.saying import say, table
from tests.e2e.processes import ATTNSERVE, environment
from tests.edge.doors import as_service, http_door
from tests.edge.fakes import FakeService
from tests.experiments.gateway import POLL_S, Gateway, calls, design, gateways

NAME = "se-or-eca"
WHY = ("--reason", "to see")
COMMANDS = get_command(app)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A gateway, and a command line that asks it."""

    gateway: Gateway
    url: str

    async def run(self, *words: object, stdin: str | None = None, group: str = "experiment") -> Result:
        """Run a command to its end."""
        command = [group, *map(str, words), "--url", self.url]
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, command, input=stdin))

    async def says(self, *words: object, group: str = "experiment") -> str:
        """What a command prints, which must end well."""
        done = await self.run(*words, group=group)
        assert done.exit_code == 0, done.output
        return done.stdout

    async def json(self, *words: object, group: str = "experiment") -> Any:  # noqa: ANN401  JSON
        """The same for machines."""
        return json.loads(await self.says(*words, "--json", group=group))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the gateway's log out of what commands print, and put the commands together only once."""
    monkeypatch.setattr("typer.testing._get_command", lambda _: COMMANDS)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Give a gateway behind a REST door."""
    async with gateways(tmp_path) as (gateway,):
        rest = build_rest_app(as_service(FakeService()), Access(), EdgeLimits(), gateway.desk)
        async with http_door(rest) as port:
            yield House(gateway=gateway, url=f"http://127.0.0.1:{port}")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a design: two arms, split."""
    path = tmp_path / "design.yaml"
    path.write_text(yaml.safe_dump(design()))
    return path


async def test_a_life_by_commands(house: House, file: Path) -> None:
    """Each command does its act, says where the experiment stands now, and leaves its reason behind."""
    made = await house.says("create", file, *WHY, "--yes", "--start")
    assert "looking at any time" in made
    assert f"{NAME}: running; version 2, from " in made
    for words, expected in (
        (("ramp", NAME, "25%"), "running; version 3"),
        (("ramp", NAME, "2500"), "running; version 3"),  # what is so already stays
        (("edit", NAME, "--set", "description=halves", "--if-match", "3"), "running; version 4"),
        (("pause", NAME), "paused; version 5"),
        (("resume", NAME), "running; version 6"),
        (("promote", NAME, "--arm", "eca"), "'eca' answers everybody; version 7"),
        (("rollback", NAME), "rolled back to the control; version 8"),
    ):
        assert expected in await house.says(*words, *WHY)
    listed = await house.says("list")
    assert f"{NAME}\trolled_back\tsplit\taccuracy" in listed
    versions = await house.json("audit", NAME)
    assert [version["act"] for version in versions] == [
        "create", "start", "ramp", "patch", "pause", "resume", "promote", "rollback",
    ]  # fmt: skip
    assert {(version["author"], version["reason"]) for version in versions} == {("anonymous", "to see")}
    told = await house.says("audit", NAME)
    assert "ramp: 10000 -> 2500" in told
    assert "description: none -> halves" in told


async def test_a_design_comes_back_as_it_was_written(house: House, file: Path, tmp_path: Path) -> None:
    """What `show` prints is YAML that `create` and `plan` read: the same design, its state in comments."""
    await house.says("create", file, *WHY, "--yes")
    shown = await house.says("show", NAME)
    assert "# draft, not started; version 1" in shown
    assert design_of(yaml.safe_load(shown)) == design_of(design())
    again = tmp_path / "again.yaml"
    again.write_text(shown)
    assert (await house.json("create", again, *WHY, "--yes"))["version"] == 1
    assert (await house.json("show", NAME))["state"] == "draft"


def test_the_example_is_a_design() -> None:
    """`create --example` prints what `create` takes."""
    done = CliRunner().invoke(app, ["experiment", "create", "--example"])
    assert (done.exit_code, done.stdout) == (0, EXAMPLE)
    assert design_of(yaml.safe_load(EXAMPLE)).name == "digits-se-vs-eca"


async def test_nothing_is_made_unasked(house: House, file: Path) -> None:
    """Off a terminal without --yes, or without a reason, it is wrong use, and nothing is made."""
    for words, message in (
        ((file, *WHY), "nobody can be asked: give --yes"),
        (("-", *WHY), "nobody can be asked: give --yes"),
        ((file, "--yes"), "reason is missing: say why"),
    ):
        done = await house.run("create", *words, stdin=json.dumps(design()))
        assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    assert await house.json("list") == []
    made = await house.run("create", "-", "--yes", stdin=json.dumps(design(reason="in the file")))
    assert made.exit_code == 0
    assert (await house.json("show", NAME))["reason"] == "in the file"


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1)])
async def test_who_sits_at_a_terminal_is_asked(house: House, file: Path, answer: str, status: int) -> None:
    """The plan is shown first; it is made only on yes."""
    command = [ATTNSERVE, "experiment", "create", file, *WHY, "--url", house.url]
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = await asyncio.to_thread(lambda: _ran(command, theirs))
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == status, done.stderr
    assert "units are needed" in done.stdout
    assert f"Create '{NAME}'?" in done.stderr
    assert bool(await house.json("list")) == (answer == "y")


async def test_what_cannot_start_stays_a_draft(house: House, tmp_path: Path) -> None:
    """It is said that it was made all the same."""
    await house.gateway.started(alias="best")
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(design(name="other", alias="best")))
    done = await house.run("create", other, *WHY, "--yes", "--start")
    assert done.exit_code == 1
    assert "other is made, but not started: " in done.stderr
    assert (await house.json("show", "other"))["state"] == "draft"


async def test_days_are_told_for_a_traffic(house: House, file: Path) -> None:
    """From --units-per-day, or from the gateway's metrics; without either it is said how."""
    assert "give --units-per-day N or --metrics" in await house.says("plan", file)
    plan = await house.json("plan", file, "--units-per-day", "1000")
    assert plan["planned_days"] == 10
    registry = CollectorRegistry()
    labels = ("model", "version", "protocol", "outcome")
    requests = Counter("attnserve_requests", "", labels, registry=registry)
    for model, outcome, count in (
        ("digits_se", "ok", 800),
        ("digits_se", "client_error", 50),
        ("digits_eca", "shed", 200),
        ("digits_sk", "ok", 70),
    ):
        requests.labels(model, "1", "grpc", outcome).inc(count)
    Gauge("process_start_time_seconds", "", registry=registry).set(time.time() - 43_200)
    port = MetricsPort("127.0.0.1", 0, registry)
    try:
        told = await house.says("plan", file, "--metrics", f"http://127.0.0.1:{port.number}/metrics")
    finally:
        port.close()
    assert "1,000 requests to digits_eca and digits_se since the gateway's start, 12.0 hours ago" in told
    assert "(5.0 days)" in told  # of the planned 10,000 units, at 2,000 a day
    gone = await house.says("plan", file, "--metrics", f"http://127.0.0.1:{port.number}/metrics")
    assert "No days, the traffic cannot be read" in gone


async def test_a_refusal_says_what_to_do(house: House, file: Path) -> None:
    """One line, in the gateway's words, with the next step; exit code 1."""
    await house.says("create", file, *WHY, "--yes", "--start")
    for words, parts in (
        (("ramp", NAME, "9%", "--if-match", "1"), ("412", "version 2, not at 1", "--if-match, or without")),
        (("edit", NAME, "--set", "margin=0.5"), ("409", "margin: cannot change", "Make a new experiment")),
        (("resume", "nobody"), ("404", "experiment 'nobody' is not found")),
        (("edit", NAME, "--set", "rampp=1"), ("400", "did you mean ramp?")),
    ):
        done = await house.run(*words, *WHY)
        assert done.exit_code == 1
        assert [part for part in parts if part not in done.stderr] == []
        assert done.stderr.count("\n") == 1


def test_wrong_use() -> None:
    """Exit code 2 for what can never work, 3 for a gateway that is not there."""
    for words, status, part in (
        (("ramp", NAME, "12.345%", *WHY), 2, "12.345%"),
        (("ramp", NAME, "101%", *WHY), 2, "101%"),
        (("ramp", NAME, "10001", *WHY), 2, "10001"),
        (("start", NAME), 2, "--reason"),
        (("edit", NAME, *WHY), 2, "give --set KEY=VALUE"),
        (("edit", NAME, "--set", "margin", *WHY), 2, "must be KEY=VALUE"),
        (("edit", NAME, "--set", "arms=[", *WHY), 2, "--set arms: line 1"),
        (("list", "--url", "grpc://127.0.0.1:1"), 2, "over REST"),
        (("start", NAME, "--reason", "\udcff"), 2, "reason: is '\\udcff', which has no UTF-8"),
        (("assign", NAME), 2, "needs NAME and UNIT"),
        (("pairs", NAME), 2, "--csv FILE or --parquet FILE"),
        (("report", NAME, "--watch", "--json"), 2, "--watch"),
        (("pairs", NAME, "--csv", "/nowhere/pairs.csv"), 2, "/nowhere"),
        (("list", "--url", "http://127.0.0.1:1"), 3, "http://127.0.0.1:1"),
    ):
        done = CliRunner().invoke(app, ["experiment", *words])
        assert (done.exit_code, words) == (status, words)
        assert part in done.stderr


@pytest.mark.parametrize(
    ("command", "content", "message"),
    [
        ("plan", "name: x\nmode: [", "line 2, column 8: is not YAML"),
        ("plan", "a\tb: [\x00]", "is not YAML: it holds characters"),
        ("plan", "- 1", "is [1], must be an object"),
        ("plan", "\udcff", "is not UTF-8 at byte 0"),
        ("plan", "description: 2026-01-05", "holds what JSON does not: Object of type date"),
        ("plan", "margin: .nan", "holds what JSON does not"),
        ("plan", "a: &a [*a]", "holds what JSON does not"),
        ("plan", 'a: "\\ud800"', "holds what JSON does not: 'utf-8' codec can't encode"),
        (
            "label",
            '[{"prediction": "\\ud800", "label": "7"}]',
            "entry 1: prediction: is '\\ud800', which has",
        ),
        ("outcomes", "token,label\r\nabc,7\r\n", "row 1: the header 'token,label' must have one column"),
        ("outcomes", "feedback_token,label\na,7\nb\n", "row 3: has 1 cells, the header 2"),
        ("outcomes", "feedback_token,label\n,7\n", "row 2: feedback_token is empty"),
        ("outcomes", "feedback_token,label,item\na,7,-1\n", "row 2: item is '-1', must be a whole number"),
        ("outcomes", 'feedback_token,label\na,"7\n', "after row 1: is not CSV"),
        ("outcomes", '[{"feedback_token": "a", "label": 7}]', "entry 1: label is 7, must be a text"),
        ("outcomes", '{"feedback_token": "a", "label": "7"}\n{"feed', "line 2, column"),
        ("label", '{"labels": [{"label": "7"}]}', "entry 1: prediction is missing"),
        ("label", "[7]", "entry 1: is 7, must be an object"),
        ("label", "[7", "line 1, column 3: is not JSON"),
    ],
)
def test_a_bad_file_is_named_with_the_place(tmp_path: Path, command: str, content: str, message: str) -> None:
    """The file, the line or row, the field and the rule, in one line; exit code 2, and nobody is asked."""
    path = tmp_path / "bad"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    words = [path] if command == "plan" else [NAME, path]
    done = CliRunner().invoke(app, ["experiment", command, *map(str, words), "--url", "http://127.0.0.1:1"])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{path}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


async def _served(house: House, count: int) -> Experiment:
    """An experiment in force, whose first arm was called for so many units; every answer is right."""
    experiment = await house.gateway.started()
    house.gateway.ledger.records.write(calls(experiment, 0, count), [])
    return experiment


async def test_outcomes_are_sent_in_parts(house: House, tmp_path: Path) -> None:
    """All rows get there; those that are refused are named by their place; a file may be sent twice."""
    experiment = await _served(house, 0)
    tokens = [house.gateway.token(experiment, f"{n:032x}", f"{n:032x}") for n in range(1001)]
    good = "".join(f"{token},3\n" for token in tokens)
    path = tmp_path / "outcomes.csv"
    path.write_text(f"feedback_token,label\n{good}nonsense,3\n{tokens[0]},\n{tokens[0]},cat\n")
    told = await house.run("outcomes", NAME, path, "--json")
    assert told.exit_code == 1
    found = json.loads(told.stdout)
    assert found["counts"] == {"accepted": 1001, "unknown_token": 1, "invalid": 1}
    assert found["unlabelled"] == 1
    assert [row["place"] for row in found["refused"]] == ["row 1003", "row 1005"]
    path.write_text(json.dumps({"outcomes": [{"feedback_token": tokens[0], "label": "3", "item": 0}]}))
    assert "duplicate\t1" in await house.says("outcomes", NAME, path)


async def test_labels_come_back_from_a_spreadsheet(house: House, tmp_path: Path) -> None:
    """A table of predictions with its labels filled in: other columns and empty labels do not matter."""
    await _served(house, 3)
    path = tmp_path / "labelled.csv"
    path.write_text(
        f"prediction,item,unit,label\r\n{0:032x},0,u,0\r\n{1:032x},0,u,1\r\n{2:032x},0,u,\r\n", newline=""
    )
    told = await house.says("label", NAME, path)
    assert "accepted\t2" in told
    assert "1 rows have no label and were not sent." in told


async def test_pairs_are_whole_or_not_there(house: House, tmp_path: Path) -> None:
    """The file is put in its place when all of it has come; until then what was there stays."""
    await _served(house, 5)
    path = tmp_path / "pairs.csv"
    path.write_text("old")
    await house.says("pairs", NAME, "--csv", path, "--parquet", tmp_path / "pairs.parquet")
    assert len(path.read_text().splitlines()) == 6
    assert (tmp_path / "pairs.parquet").read_bytes()[:4] == b"PAR1"

    path.write_text("old")
    refused = await house.run("pairs", "nobody", "--csv", path)
    assert (refused.exit_code, path.read_text()) == (1, "old")
    assert _names(tmp_path, ".pairs*") == []


async def test_disagreements_are_listed_and_saved(house: House, tmp_path: Path) -> None:
    """As a table, as JSON, as a file; where no image is kept, the folder stays empty."""
    experiment = await house.gateway.started(mode="paired", keep_images={})
    both = [calls(experiment, 0, 3), calls(experiment, 1, 3)]
    moved = [_said(call, (n + call.arm) % 10) for arm in both for n, call in enumerate(arm)]
    house.gateway.ledger.records.write(moved, [])
    listed = await house.json("disagreements", NAME)
    assert [(row["answers"]["se"]["label"], row["answers"]["eca"]["label"]) for row in listed] == [
        ("0", "1"), ("1", "2"), ("2", "3"),
    ]  # fmt: skip
    assert f"{listed[0]['prediction']}\t0\t\t0 (0.90)\t1 (0.90)\tno" in await house.says(
        "disagreements", NAME
    )
    path, folder = tmp_path / "differ.csv", tmp_path / "images"
    await house.says("disagreements", NAME, "--csv", path, "--images", folder)
    assert len(path.read_text().splitlines()) == 4
    assert list(folder.iterdir()) == []
    assert await house.json("disagreements", NAME, "--limit", "2") == listed[:2]


async def test_what_a_unit_gets_needs_no_gateway(house: House, tmp_path: Path) -> None:
    """From the design alone comes the same answer as from a gateway that runs it, in every question."""
    split = design(ramp=8000, holdout=500)
    experiment = await house.gateway.started(ramp=8000, holdout=500)
    path = tmp_path / "design.json"
    path.write_text(json.dumps(split))
    arms = set()
    for unit in ("anna", "camera 7", "用户-42", "-1", "", "3", "4"):
        offline = await house.json("assign", "--file", path, f"--unit={unit}")
        online = await house.json("assign", NAME, f"--unit={unit}")
        assert online == {**offline, "version": experiment.number}
        arms.add(offline["arm"])
    assert arms == {"se", "eca"}
    explained = await house.says("assign", NAME, "anna", "--explain")
    assert f"arm\t{NAME}/arm\t" in explained


async def test_a_report_is_told(house: House) -> None:
    """Verdict, health, guardrails, figures with units and meanings; as JSON all that REST gives."""
    experiment = await house.gateway.started(guardrails=[{"metric": "error_rate"}])
    for arm in (0, 1):
        house.gateway.ledger.records.write(calls(experiment, arm, 150, failed=3), [])
    found = await house.json("report", NAME)
    told = await house.says("report", NAME)
    for part in (
        f"{NAME}: split, running, version 2",
        found["sentence"],
        "Decision rule, fixed before the start",
        "Can it be trusted?",
        "Error rate, eca: ",
        "Error rate\tse\t2.00 %\t",
        "Calls\teca\t150",
        "retry or the control answered in its place",
    ):
        assert part in told


async def test_a_watched_report_is_shown_anew(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until Ctrl-C, which ends it well; a look that fails is said, and the next one tried."""
    await house.gateway.started()
    looks: list[Callable[[], None]] = [lambda: None, lambda: None, _interrupt]
    monkeypatch.setattr("serve.cli_findings.time.sleep", lambda _: looks.pop(0)())
    told = await house.says("report", NAME, "--watch")
    assert told.count("Not enough data") == 3
    assert looks == []


async def test_aliases(house: House) -> None:
    """Set, listed, shown, pointed elsewhere only from the version that was seen."""
    made = await house.json("set", "production", "digits_se:1", *WHY, group="alias")
    assert (made["target"], made["version"]) == ("digits_se:1", 1)
    assert "production\tdigits_se:1\t1" in await house.says("list", group="alias")
    refused = await house.run("set", "production", "digits_eca", *WHY, "--if-match", "7", group="alias")
    assert refused.exit_code == 1
    assert "412" in refused.stderr
    assert (await house.json("show", "production", group="alias"))["reason"] == "to see"
    assert (await house.run("show", "staging", group="alias")).exit_code == 1


def test_what_others_wrote_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """An escape sequence, a tab or a line break in a name or a reason stays in its cell, and does nothing."""
    table(Console(), ("by", "reason"), [("anna", "\x1b[2Jgone\there\nand there")])
    say(Console(), "\x1b]0;title\x07 [bold]as it is[/bold]")
    heading, row, line = capsys.readouterr().out.splitlines()
    assert heading == "by\treason"
    assert row.endswith("gone here and there")
    assert line.endswith("[bold]as it is[/bold]")
    assert "\x1b" not in row + line


async def test_waiting_until_it_is_in_force(house: House, file: Path) -> None:
    """With --wait a command ends when the gateway goes by the new version, not before."""
    await house.says("create", file, *WHY, "--yes")
    starting = asyncio.create_task(house.says("start", NAME, *WHY, "--wait"))
    await asyncio.sleep(0.3)
    assert not starting.done()
    await house.gateway.passes(2 * POLL_S)
    assert "version 2" in await starting


def test_every_command_shows_an_example() -> None:
    """Its help has a line to paste."""
    for group, commands in (("experiment", 19), ("alias", 3)):
        listed = CliRunner().invoke(app, [group, "--help"]).stdout
        names = re.findall(r"^│ ([a-z]+)  ", listed, flags=re.MULTILINE)
        assert len(names) == commands
        for name in names:
            shown = CliRunner().invoke(app, [group, name, "--help"])
            assert shown.exit_code == 0
            assert f"attnserve {group} {name}" in shown.stdout


def _ran(command: list[object], stdin: int) -> subprocess.CompletedProcess[str]:
    words = list(map(str, command))
    return subprocess.run(
        words, stdin=stdin, capture_output=True, text=True, env=environment(), timeout=60, check=False
    )


def _said(call: CallRecord, label: int) -> CallRecord:
    """The call with another answer, of a request that both arms saw."""
    number = int(call.prediction[16:], 16)
    shared = f"{number:032x}"
    return replace(call, prediction=shared, unit=shared, answers=(Said(top1=label, confidence=9000),))


def _names(folder: Path, pattern: str) -> list[str]:
    return [path.name for path in folder.glob(pattern)]


def _interrupt() -> None:
    raise KeyboardInterrupt
