"""A gateway of one's own, with its TorchServe, on free ports: started, waited for, and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import httpx

START_TIMEOUT_S: Final = 300.0
STOP_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.1
_LOG_LINES: Final = 20


class StackError(Exception):
    """The gateway did not start, or did not end as it should; the message carries the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running gateway.

    Attributes:
        http: http://host:port of REST.
        grpc: host:port.
        metrics: URL of the metrics page.
    """

    http: str
    grpc: str
    metrics: str

    def is_gateway(self) -> bool:
        """Whether an attnserve answers there."""
        try:
            return bool(_get(f"{self.http}/v2").json()["name"] == "attnserve")
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return False

    def is_ready(self) -> bool:
        """Whether every model can answer."""
        try:
            return _get(f"{self.http}/v2/health/ready").is_success
        except httpx.HTTPError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A gateway that we started, and its process."""

    target: Target
    pid: int


def end_in_order() -> None:
    """Let SIGTERM end this program as Ctrl-C does, so that what it has started is ended, too."""

    def end(_number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)


@contextmanager
def running_stack(run_dir: Path, settings: Mapping[str, str], command: Sequence[str] = ()) -> Iterator[Stack]:
    """Start `attnserve serve`, wait until it is ready, and end it by SIGTERM.

    Args:
        run_dir: Folder for its log and run-time files.
        settings: Variables ATTNSERVE_*; the ports are free ones and loopback's unless they are named here.
        command: Another program to start, which behaves in the same way.

    Raises:
        StackError: It did not become ready, or ended with an error.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    ports = dict.fromkeys(("ATTNSERVE_HTTP_PORT", "ATTNSERVE_GRPC_PORT", "ATTNSERVE_METRICS_PORT"), "0")
    environment = {**os.environ, **ports, "ATTNSERVE_RUN_DIR": str(run_dir), **settings}
    log = run_dir / "gateway.log"
    command = command or (str(Path(sys.executable).with_name("attnserve")), "serve")
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  our own
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends us, and it is we who end the gateway, once
        )
        try:
            yield Stack(target=_ready(process, run_dir, log), pid=process.pid)
        finally:
            status = _ended(process)
    if status:
        raise StackError(f"the gateway ended with status {status}:\n{_tail(log)}")


def _ready(process: subprocess.Popen[bytes], run_dir: Path, log: Path) -> Target:
    addresses = run_dir / "addresses.json"
    ends = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise StackError(
                f"the gateway ended with status {process.returncode} at its start:\n{_tail(log)}"
            )
        if addresses.exists() and (target := _target(addresses)) and target.is_ready():
            return target
        time.sleep(_POLL_S)
    raise StackError(f"the gateway was not ready within {START_TIMEOUT_S:.0f} s:\n{_tail(log)}")


def _target(addresses: Path) -> Target | None:
    try:
        return Target(**json.loads(addresses.read_text()))
    except ValueError:  # it is being written
        return None


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Ask the process to end; gives its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=5.0, trust_env=False)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
