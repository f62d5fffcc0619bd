"""Every program that follows the description assigns alike: vectors, two other programs, four processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.assignment_reference import bucket
from tests.contract.assignment_vectors import FILE, REQUESTS, UNITS, answered, asked, experiments, text

HERE = Path(__file__).parent
# The vectors' own units, and so many others that they are 5000.
MANY_UNITS = (*UNITS, *(f"id-{number:x}-é" for number in range(5000 - len(UNITS))))
MANY_REQUESTS = (*REQUESTS, *(f"{number:032x}" for number in range(500, 1000)))


def _said_by(*command: str, **variables: str) -> list[dict[str, Any]]:
    """What a program answers to all that is asked of the gateway."""
    question = json.dumps(asked(experiments(), MANY_UNITS, MANY_REQUESTS))
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, input=question, capture_output=True, check=True, text=True, env=environment, timeout=60
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def expected() -> list[dict[str, Any]]:
    """What the gateway answers in this process."""
    return [answered(experiment, MANY_UNITS, MANY_REQUESTS) for experiment in experiments()]


def test_the_published_vectors_are_what_the_gateway_does() -> None:
    """A change of the hash or of a rule would move every user; the file shows it before they do."""
    assert FILE.read_text(encoding="utf-8") == text(), (
        f"python -m tests.contract.assignment_vectors writes {FILE}"
    )


def test_the_vectors_buckets_follow_from_the_description() -> None:
    """A bucket computed from the description is that of the file."""
    vectors = json.loads(FILE.read_text(encoding="utf-8"))
    assert [[salt, unit, bucket(salt, unit)] for salt, unit, _ in vectors["buckets"]] == vectors["buckets"]


def test_the_vectors_meet_every_answer() -> None:
    """Each reason and each arm stands in the file, so that who passes it has tried all."""
    answers = json.loads(FILE.read_text(encoding="utf-8"))["answers"]
    assert {why for one in answers for _, why in one["units"]} == {"hash", "holdout", "override", "single"}
    assert {arm for one in answers for arm, _ in one["units"]} == {0, 1, 2}
    assert {tuple(request) for one in answers for request in one["requests"]} == {
        (0, False), (0, True), (1, False), (1, True),
    }  # fmt: skip


def test_a_program_written_from_the_description_agrees(expected: list[dict[str, Any]]) -> None:
    """Plain Python without the gateway's code gives 5000 units the same arms."""
    assert _said_by(sys.executable, str(HERE / "assignment_reference.py")) == expected


@pytest.mark.needs_program("node", how="apt install nodejs")
def test_javascript_agrees(expected: list[dict[str, Any]]) -> None:
    """So does JavaScript."""
    assert _said_by("node", str(HERE / "assignment_reference.js")) == expected


@pytest.mark.parametrize("seed", ["0", "1", "2", "3"])
def test_processes_agree(seed: str, expected: list[dict[str, Any]]) -> None:
    """Four gateways, each with other hash seeds of Python's own, give 5000 units the same arms."""
    command = (sys.executable, "-m", "tests.contract.assignment_vectors", "--answer")
    assert _said_by(*command, PYTHONHASHSEED=seed) == expected
