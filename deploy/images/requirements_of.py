"""Prints what extras of pyproject.toml ask for, without the project's own dependencies.

    python deploy/images/requirements_of.py worker fast-decode

A worker needs none of the gateway's libraries, but `pip install ".[worker]"` would bring them. Only the
standard library: it runs while an image is built, before anything is installed.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

PYPROJECT = Path("pyproject.toml")


def requirements_of(extras: Iterable[str], pyproject: Path = PYPROJECT) -> list[str]:
    """The requirements of these extras, each once, in order.

    Raises:
        SystemExit: There is no such extra.
    """
    known = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra in extras:
        if extra not in known:
            sys.exit(f"{extra}: is no extra of {pyproject}, which has: {', '.join(sorted(known))}")
    return list(dict.fromkeys(requirement for extra in extras for requirement in known[extra]))


if __name__ == "__main__":
    print(*requirements_of(sys.argv[1:]), sep="\n")  # noqa: T201 - a program's answer
