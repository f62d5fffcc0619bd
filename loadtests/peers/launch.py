"""Starting a server and ending it, with everything that it has started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from loadtests.peers.catalogue import Peer, Setup
from loadtests.peers.nets import PeersNet
from loadtests.peers.servers.peer_options import VARIABLE
from serve import die_with_parent

SERVERS: Final = Path(__file__).with_name("servers")
STOP_TIMEOUT_S: Final = 15.0
_LOG_LINES: Final = 8
# Some servers report their use to their makers unless they are told not to.
_NO_REPORTS: Final = {"BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that was started; it may not answer yet.

    Attributes:
        pid: Of its first process.
        ports: That it listens on.
        log: What it prints.
    """

    pid: int
    ports: tuple[int, ...]
    log: Path

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to start.

    Attributes:
        peer: Which.
        setup: As documented or tuned.
        python: The interpreter of its environment.
        net: What it serves.
        folder: For its log and files.
    """

    peer: Peer
    setup: Setup
    python: Path
    net: PeersNet
    folder: Path


@contextmanager
def program(order: Order) -> Iterator[Running]:
    """A peer's program from `servers/`."""
    ports = free_ports(order.peer.ports)
    given = {"net": str(order.net.folder.absolute()), "ports": ports, "settings": dict(order.setup.settings)}
    command = [str(order.python), *(word.format(port=ports[0]) for word in order.peer.command)]
    environment = {**environ_for(order), VARIABLE: json.dumps(given), "PYTHONPATH": str(SERVERS)}
    with process(command, environment, cwd=SERVERS, log=order.folder / "server.log") as pid:
        yield Running(pid=pid, ports=ports, log=order.folder / "server.log")


def environ_for(order: Order) -> dict[str, str]:
    """Our environment, without what is this project's own, and with the order's variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ATTNSERVE_", "PYTHON", "VIRTUAL_ENV"))
    }
    path = f"{order.python.parent}{os.pathsep}{kept.get('PATH', '')}"
    files = str((order.folder / "home").absolute())  # logs and usage files that a server likes to leave
    return kept | {
        "PATH": path,
        "HOME": files,
        **_NO_REPORTS,
        **order.net.environment,
        **order.setup.environment,
    }


@contextmanager
def process(command: Sequence[str], environment: Mapping[str, str], *, cwd: Path, log: Path) -> Iterator[int]:
    """A program that dies with us; gives its process id, and ends it and all of its descendants."""
    log.parent.mkdir(parents=True, exist_ok=True)
    Path(environment["HOME"]).mkdir(parents=True, exist_ok=True)
    guard = [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())]
    with log.open("wb") as output:
        started = subprocess.Popen(  # noqa: S603  our own
            [*guard, *command],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends us, and it is we who end the server
        )
    try:
        yield started.pid
    finally:
        _end(started)


def free_ports(count: int) -> tuple[int, ...]:
    """Ports on loopback that are free now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(int(one.getsockname()[1]) for one in sockets)


def _end(started: subprocess.Popen[bytes]) -> None:
    """Ask the first process to end, then kill whatever is left of its tree."""
    tree: list[psutil.Process] = []
    with suppress(psutil.Error):
        tree = psutil.Process(started.pid).children(recursive=True)
    if started.poll() is None:
        started.terminate()
        with suppress(subprocess.TimeoutExpired):
            started.wait(STOP_TIMEOUT_S)
    for one in tree:
        with suppress(psutil.Error):
            one.kill()  # psutil has made sure that the number is still that process's
    if started.poll() is None:
        started.kill()
    started.wait()
    psutil.wait_procs(tree, timeout=STOP_TIMEOUT_S)
