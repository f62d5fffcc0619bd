"""The program that a supervised TorchServe takes for Python: sets a model's process up, then becomes Python.

OpenMP reads its settings once, when torch is loaded, so a handler comes too late for them. TorchServe starts
each worker in the folder of the unpacked archive, which says in signature.json what its net does best with:

- `threads`: with more threads than a tiny net can use, they wait for each other busily and take the cores of
  everybody else.
- `spin`: how many times a thread looks for work before it sleeps (GOMP_SPINCOUNT of libgomp's manual).

What stands in the environment already is the operator's own choice and stays.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

SIGNATURE = Path("signature.json")
# Key of signature.json -> the variable that libgomp reads.
VARIABLES = {"threads": "OMP_NUM_THREADS", "spin": "GOMP_SPINCOUNT"}
PROGRAM = "attnserve-worker"


def settings(signature: Path) -> dict[str, str]:
    """The variables that a model asks for; none where the file cannot be read.

    A damaged archive is no concern of this program: the handler refuses it, and says why.
    """
    try:
        document = json.loads(signature.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    given = {variable: document.get(key) for key, variable in VARIABLES.items()}
    return {variable: str(value) for variable, value in given.items() if type(value) is int and value >= 0}


def worker_python(python: Path) -> Path:
    """This program as it is installed beside an interpreter; the interpreter itself where it is not."""
    program = python.with_name(PROGRAM)
    return program if program.is_file() else python


def main(
    arguments: list[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    signature: Path = SIGNATURE,
) -> None:
    """Become Python, with these arguments (our own by default) and a model's settings; does not return."""
    given = sys.argv[1:] if arguments is None else arguments
    os.execve(sys.executable, [sys.executable, *given], {**settings(signature), **environ})  # noqa: S606  ours
