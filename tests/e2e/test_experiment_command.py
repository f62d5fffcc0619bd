"""An experiment from its design to its rollback, by the commands that people type."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.demo import Demo
from tests.e2e.oip import ask, rest_binary
from tests.e2e.processes import attnserve, wait_until
from tests.e2e.stacks import Stack

NAME = "story-se-vs-eca"
WHY = "ECA has fewer parameters; is it as good?"
DESIGN = f"""\
name: {NAME}
mode: paired
arms:
  - {{name: se, model: digits_se, version: "1", weight: 5000}}
  - {{name: eca, model: digits_eca, version: "1", weight: 5000}}
margin: 0.05
guardrails:
  - {{metric: error_rate, max_ratio: 1.5, alpha: 0.01}}
keep_images: {{max_images: 10, days: 1}}
"""

Command = Callable[..., str]


def _commands(stack: Stack) -> Command:
    """A function that runs `attnserve experiment`, which must end well; gives what it printed."""

    def run(*arguments: object) -> str:
        done = attnserve("experiment", *arguments, "--url", stack.addresses["http"])
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_an_experiment_by_commands(stack: Stack, demo: Demo, tmp_path: Path) -> None:
    """Planned, started, fed, told the truth, reported, explained, exported, rolled back; all by commands."""
    experiment = _commands(stack)
    design = tmp_path / "design.yaml"
    design.write_text(DESIGN)
    made = experiment("create", design, "--reason", WHY, "--yes", "--start", "--wait", "--metrics",
                      stack.addresses["metrics"])  # fmt: skip
    assert "looking at any time" in made
    assert f"{NAME}: running; version 2" in made

    outcomes = tmp_path / "outcomes.csv"
    count = _serve(stack, demo, outcomes)
    told = json.loads(experiment("outcomes", NAME, outcomes, "--json"))
    assert (told["counts"], told["refused"]) == ({"accepted": count}, [])
    where = f"/v1/experiments/{NAME}/report"
    wait_until(lambda: _labelled(stack.rest.get(where).json()) == count, 10, "all pairs have their labels")

    page = tmp_path / "report.html"
    report = json.loads(experiment("report", NAME, "--json", "--html", page))
    assert _labelled(report) == count
    assert page.read_bytes()[:15].lower() == b"<!doctype html>"
    assert report["sentence"] in experiment("report", NAME)

    explained = json.loads(experiment("assign", NAME, "camera-0", "--explain", "--json"))
    assert (explained["arm"], explained["assignment"], explained["version"]) == ("se", "hash", 2)
    assert "the unit takes part" in explained["sentence"].lower()

    _check_tables(experiment, count, tmp_path)
    experiment("rollback", NAME, "--reason", "the story is over", "--wait")
    versions = json.loads(experiment("audit", NAME, "--json"))
    assert [(one["act"], one["author"], one["reason"]) for one in versions] == [
        ("create", "anonymous", WHY),
        ("start", "anonymous", WHY),
        ("rollback", "anonymous", "the story is over"),
    ]
    answer = rest_binary(stack, ask(NAME, demo.images[0], parameters={"unit": "camera-0"}))
    assert (answer.model, answer.parameters["assignment"]) == ("digits_se", "single")


def _serve(stack: Stack, demo: Demo, outcomes: Path) -> int:
    """Send every sample as a unit of its own, and write down its token and what it shows."""
    with outcomes.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["feedback_token", "label"])
        for number, (image, label) in enumerate(zip(demo.images, demo.labels, strict=True)):
            answer = rest_binary(stack, ask(NAME, image, parameters={"unit": f"camera-{number}"}))
            assert answer.model == "digits_se"
            assert answer.parameters["assignment"] == "hash"
            table.writerow([answer.parameters["feedback_token"], label])
    return len(demo.images)


def _labelled(report: dict[str, Any]) -> int:
    """Units whose first image both arms have answered and whose label is known."""
    (table,) = report["pair_tables"]
    return sum(table[key] for key in ("both_right", "control_right", "arm_right", "both_wrong"))


def _check_tables(experiment: Command, count: int, folder: Path) -> None:
    """The raw pairs, and among them those that disagree, with their images."""
    experiment("pairs", NAME, "--csv", folder / "pairs.csv", "--parquet", folder / "pairs.parquet")
    assert (folder / "pairs.parquet").read_bytes()[:4] == b"PAR1"
    with (folder / "pairs.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))
    assert len(pairs) == count
    differ = {pair["prediction"] for pair in pairs if pair["se_label"] != pair["eca_label"]}
    experiment("disagreements", NAME, "--csv", folder / "differ.csv", "--images", folder / "images")
    assert {file.name.partition("-")[0] for file in (folder / "images").iterdir()} == differ
    assert json.loads(experiment("label", NAME, folder / "differ.csv", "--json"))["counts"] == (
        {"duplicate": len(differ)} if differ else {}
    )
