"""The logs: one object a line for machines, one sentence a line for people, all of it on standard error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Logging is set up for a whole process, so each test has one of its own.
PROGRAM = """
import logging, sys
import structlog
from serve import logs
logs.configure(sys.argv[1], sys.argv[2])
log = structlog.get_logger()
log.info("model ready", model="digits_se:1")
log.error("batch failed", images=3)
log.warning("no such model", model="a\x1b[2Jb")
logging.getLogger("library").warning("it is %s", "late")
logging.getLogger("library").info("not told")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("a bug")
"""


def written(level: str, style: str) -> str:
    """What a process with that configuration writes to standard error; standard output stays empty."""
    command = [sys.executable, "-c", PROGRAM, level, style]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("style", ["json", "auto"])
def test_a_line_is_a_json_object_where_no_person_reads(style: str) -> None:
    """Ours and the libraries' alike, with level and time; a traceback stays in its line."""
    lines = [json.loads(line) for line in written("info", style).splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "model ready"),
        ("error", "batch failed"),
        ("warning", "no such model"),
        ("warning", "it is late"),
        ("error", "a bug"),
    ]
    assert lines[0]["model"] == "digits_se:1"
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert "ZeroDivisionError: division by zero" in lines[4]["exception"]


def test_the_least_severe_level_holds_for_all() -> None:
    """With `error` neither our information nor a library's warning is written."""
    events = [json.loads(line)["event"] for line in written("error", "json").splitlines()]
    assert events == ["batch failed", "a bug"]


def test_people_get_sentences() -> None:
    """The console's form is no JSON, and says the same."""
    text = written("info", "console")
    assert not text.startswith("{")
    for part in ("model ready", "digits_se:1", "it is late", "ZeroDivisionError"):
        assert part in text


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_terminal_obeys_what_a_caller_sent(style: str) -> None:
    """Control characters are shown as escapes."""
    text = written("info", style)
    assert "\x1b[2J" not in text
    assert "x1b[2Jb" in text or "u001b[2Jb" in text


def test_a_full_disk_fails_nobody() -> None:
    """What cannot be written is lost, and whoever logged goes on."""
    with Path("/dev/full").open("w") as full:
        program = f"{PROGRAM}\nprint('went on')"
        command = [sys.executable, "-c", program, "info", "json"]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=full, text=True, check=False, timeout=60
        )
    assert done.stdout == "went on\n"
