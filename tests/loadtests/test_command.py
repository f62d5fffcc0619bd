"""The command line: what it lists, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from loadtests.running.command import app
from loadtests.running.scenarios import SCENARIOS


def command(*arguments: str) -> Result:
    """Run it in this process."""
    return CliRunner().invoke(app, arguments)


def test_every_scenario_is_listed() -> None:
    """With what it takes."""
    done = command("--list")
    assert done.exit_code == 0
    assert all(re.search(rf"\b{name}\b.*--", done.output) for name in SCENARIOS)


def test_help_has_every_option_in_a_group() -> None:
    """The fields of a wish, as options."""
    done = command("--help")
    assert done.exit_code == 0
    for word in ("Load", "Target", "Questions", "--rate", "--slo-ms", "--against", "--list"):
        assert word in done.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ramps"], 2, "SCENARIO: 'ramps' is none"),
        (["steps", "--users", "5"], 2, "--users: does not fit the scenario 'steps'"),
        (["steps", "--shape", "5@"], 2, "'5@' is no segment"),
        (["replay", "--trace", "/none"], 2, "trace /none: cannot be read"),
        (["--against", "/none"], 1, "--against: /none cannot be read"),
        (["--host", "http://192.0.2.1"], 1, "--remote"),
        (["--host", "http://127.0.0.1:9"], 1, "--host: no answer from http://127.0.0.1:9"),
    ],
)
def test_wrong_input_is_told_in_a_line(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    """Exit code 2 where the options do not fit together, 1 where they lead nowhere; nothing is written."""
    done = command(*arguments, "--report", str(tmp_path / "report"))
    assert done.exit_code == code
    assert message in done.output
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Before anything is started: there would be no place for what is found."""
    (tmp_path / "file").touch()
    done = command("--report", str(tmp_path / "file" / "report"))
    assert done.exit_code == 1
    assert "--report:" in done.output
