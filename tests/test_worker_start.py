"""A worker gets its model's settings before its Python starts, and whatever the operator has set wins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from serve.worker_start import PROGRAM, settings, worker_python

_SHOW = "import os; print(os.environ.get('OMP_NUM_THREADS'), os.environ.get('GOMP_SPINCOUNT'))"


def _archive(folder: Path, **keys: object) -> Path:
    (folder / "signature.json").write_text(json.dumps(keys))
    return folder


def _shown(folder: Path, **variables: str) -> str:
    program = worker_python(Path(sys.executable))
    done = subprocess.run(
        [str(program), "-I", "-c", _SHOW],
        cwd=folder,
        env=variables,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout.strip()


def test_the_installed_program_becomes_python_with_the_settings_of_the_archive_it_starts_in(
    tmp_path: Path,
) -> None:
    """The console script is there, reads ./signature.json, and passes its arguments on."""
    assert worker_python(Path(sys.executable)).name == PROGRAM
    assert _shown(_archive(tmp_path, threads=1, spin=5000)) == "1 5000"


def test_what_the_operator_has_set_stays(tmp_path: Path) -> None:
    """A variable that is in the environment already is not replaced."""
    assert _shown(_archive(tmp_path, threads=1, spin=5000), OMP_NUM_THREADS="3") == "3 5000"


def test_without_a_program_the_interpreter_itself_starts_workers(tmp_path: Path) -> None:
    """An installation that has no console scripts serves all the same."""
    assert worker_python(tmp_path / "python") == tmp_path / "python"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        '"threads"',
        '{"threads": null}',
        '{"threads": "1"}',
        '{"threads": true}',
        '{"spin": -1}',
        '{"threads": 1.5}',
    ],
)
def test_an_archive_that_says_nothing_usable_changes_nothing(tmp_path: Path, text: str) -> None:
    """Damaged or silent archives start as any Python does; the handler is who refuses them."""
    (tmp_path / "signature.json").write_text(text)
    assert settings(tmp_path / "signature.json") == {}


def test_a_missing_signature_changes_nothing(tmp_path: Path) -> None:
    """An archive of somebody else's has no such file."""
    assert settings(tmp_path / "signature.json") == {}
