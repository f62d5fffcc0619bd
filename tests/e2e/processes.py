"""Programs of ours as processes: where they are, what they leave behind, waiting with an end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil

ATTNSERVE = Path(sys.executable).with_name("attnserve")
# Inherited by everything that a started program starts, so that nothing can hide from `marked`.
MARK = "E2E_MARK"
POLL_S = 0.05


def environment(**more: str) -> dict[str, str]:
    """Our environment without settings of a gateway, and with `more`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ATTNSERVE_")} | more


def run(
    *command: object, timeout_s: float = 60.0, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with our environment and `variables`."""
    return subprocess.run(
        list(map(str, command)),
        env=environment(**(variables or {})),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def attnserve(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one of our commands to its end."""
    return run(ATTNSERVE, *arguments, variables=variables)


def attnserve_at_once(*commands: Sequence[object]) -> list[subprocess.CompletedProcess[str]]:
    """Run several of our commands that do not depend on each other, as many at a time as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda arguments: attnserve(*arguments), commands))


def marked(mark: str) -> list[psutil.Process]:
    """Every living process that was started, however indirectly, with that mark."""
    return [process for process in psutil.process_iter() if _mark_of(process) == mark]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK) if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:  # it has just ended, or is not ours to look at
        return None


def workers(mark: str) -> list[psutil.Process]:
    """Those of them that are TorchServe's workers."""
    return [one for one in marked(mark) if any("model_service_worker" in word for word in one.cmdline())]


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until a condition holds; `what` is said when it does not."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(POLL_S)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
