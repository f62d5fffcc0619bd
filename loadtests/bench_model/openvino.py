"""OpenVINO beside the other forms: installed for the benchmark only, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import torch

from loadtests.bench_model import openvino_side
from loadtests.bench_model.forms import Precision, Subject, traced
from loadtests.bench_model.rounds import Timer
from model_store.script import quiet_jit

PACKAGES: Final = ("openvino==2026.4.1", "nncf==3.4.0")
PRECISIONS: Final[Mapping[str, Precision]] = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
_LOG_LINES: Final = 15


class OpenVinoError(Exception):
    """It cannot be installed, or does not work here; the message carries the end of its log."""


class OpenVino:
    """The running process.

    Attributes:
        errors: Of each form (`PRECISIONS`): largest difference to torch's logits, relative to the largest.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log
        self.errors: Mapping[str, float] = self._reply()

    def timer(self, form: str, batch: int) -> Timer:
        """Measures a form in its process."""
        return lambda batches: float(self._ask({"form": form, "batch": batch, "batches": batches})["seconds"])

    def _ask(self, question: Mapping[str, object]) -> dict[str, Any]:
        pipe = _open(self._process.stdin)
        pipe.write(json.dumps(question) + "\n")
        pipe.flush()
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        line = _open(self._process.stdout).readline()
        if not line:
            raise OpenVinoError(f"OpenVINO's process ended:\n{_tail(self._log)}")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextmanager
def openvino(subject: Subject, threads: int, folder: Path) -> Iterator[OpenVino]:
    """Start OpenVINO with that net.

    Args:
        subject: The net; 224 pixels wide and high.
        threads: How many it may use.
        folder: Of its environment, made where there is none: 530 MB.

    Raises:
        OpenVinoError: See there.
    """
    python = _environment(folder)
    with tempfile.TemporaryDirectory(prefix="attnserve-bench-") as name:
        path, log = Path(name, "net.pt"), Path(name, "log")
        with quiet_jit():
            torch.jit.save(traced(subject), str(path))
        packages = str(Path(torch.__file__).parents[1])
        command = [str(python), "-P", openvino_side.__file__, str(path), str(threads), packages]
        with (
            log.open("w") as output,
            subprocess.Popen(  # noqa: S603  our own
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True
            ) as process,
        ):
            try:
                yield OpenVino(process, log)
            finally:
                process.kill()


def _environment(folder: Path) -> Path:
    """The interpreter of an environment that has `PACKAGES`."""
    python = folder / "bin" / "python"
    done = folder / "packages.txt"
    wanted = "\n".join(PACKAGES)
    if done.exists() and done.read_text() == wanted:
        return python
    venv.create(folder, clear=True, symlinks=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own
    if ended.returncode:
        raise OpenVinoError(f"{' '.join(PACKAGES)} cannot be installed:\n{ended.stderr.strip()}")
    done.write_text(wanted)
    return python


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "both were asked for"  # noqa: S101  our own invariant
    return pipe


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
