"""More gateway processes on the same two ports, for machines on which one process is not enough.

One Python process uses one core. The first process is an ordinary gateway: it may supervise TorchServe, and
its ports are the ones that are told. The others are ordinary gateways, too, started by it with engines that
run elsewhere (the first one's TorchServe among them), the same store of experiments, and a metrics port each.
The kernel spreads connections over them (SO_REUSEPORT). They join when their models are ready, and end with
the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import yaml

from serve import die_with_parent
from serve.sections import EngineConfig
from serve.settings import Config

PAUSE_S = 1.0
# One that ends sooner has a lasting reason: each time the pause is twice as long, up to the longest.
HEALTHY_S = 60.0
LONGEST_PAUSE_S = 32.0
# Of the first one's drain_timeout_s: they must have ended when it begins to close what they use.
DRAIN_SHARE = 0.6
_PREFIX = "ATTNSERVE_"
# Python's own way to the program: a console script may not be installed.
_PROGRAM = "from serve.cli import main; main()"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """What the others have to know of the first process.

    Attributes:
        http_port, grpc_port: Where it listens.
        engines: Its engines, as the configuration of the others lists them.
    """

    http_port: int
    grpc_port: int
    engines: tuple[EngineConfig, ...]


def sibling_document(config: Config, leader: Leader, number: int) -> dict[str, Any]:
    """The configuration file of process `number`, 2 or more.

    Everything is as in the first process, but: it starts no engines and no further processes, keeps its files
    in a folder of its own, drains before the first one does, and its metrics port, where one is set, is
    `number - 1` above the first one's.
    """
    document = config.model_dump(mode="json")
    document |= {
        "processes": 1,
        "share_ports": True,
        "process_index": number,
        "process_count": config.processes,
        "http_port": leader.http_port,
        "grpc_port": leader.grpc_port,
        "metrics_port": config.metrics_port + number - 1 if config.metrics_port else 0,
        "run_dir": str(folder_of(config, number)),
        "audit_file": None,
        "engines": [engine.model_dump(mode="json") for engine in leader.engines],
        "models": [],
        "keep_versions": 0,
        "drain_timeout_s": config.drain_timeout_s * DRAIN_SHARE,
    }
    if config.experiments.enabled:
        keys = str(config.experiment_keys_path.absolute())
        document["experiments"] |= {"store_url": config.experiments_url, "keys_file": keys}
    return document


def folder_of(config: Config, number: int) -> Path:
    """Where process `number` keeps its files."""
    return config.run_dir.absolute() / f"process-{number}"


class Siblings:
    """The processes beside the first one: started, started again when one dies, ended."""

    def __init__(self, config: Config, leader: Callable[[], Leader]) -> None:
        """Start nothing yet.

        Args:
            config: Of the first process; `processes` says how many there are to be.
            leader: Tells what they need, once the first process has its ports and models.
        """
        self._config = config
        self._leader = leader
        self._running: dict[int, Process] = {}
        self._ending = False

    async def run(self) -> None:
        """Keep them running, until cancelled or ended."""
        numbers = range(2, self._config.processes + 1)
        await asyncio.gather(*(self._keep(number) for number in numbers))

    async def stop(self, timeout_s: float) -> None:
        """Let them answer what they have, all at a time, and kill what is left after `timeout_s`."""
        self._ending = True
        await asyncio.gather(*(_end(process, timeout_s) for process in self._running.values()))

    async def _keep(self, number: int) -> None:
        pause_s = PAUSE_S
        while not self._ending:
            began = time.monotonic()
            try:
                why = await self._serve_once(number)
            except OSError as error:  # a full disk, say, may have room again at the next try
                why = str(error)
            if not self._ending:
                healthy = time.monotonic() - began > HEALTHY_S
                pause_s = PAUSE_S if healthy else min(2 * pause_s, LONGEST_PAUSE_S)
                log.warning("gateway process ended, another is started", number=number, why=why)
                await asyncio.sleep(pause_s)

    async def _serve_once(self, number: int) -> str:
        """Start a process and wait for its end; gives the reason."""
        # A poll, since models become ready once.
        while not (leader := self._leader()).engines:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_S)
        process = self._running[number] = await self._start(number, leader)
        while process.returncode is None:
            if self._ending or _offers(self._leader()) - _offers(leader):
                await _end(process, self._config.drain_timeout_s)
                return "it knows less than the first one"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), PAUSE_S)
        return f"status {process.returncode}"

    async def _start(self, number: int, leader: Leader) -> Process:
        file = await asyncio.to_thread(_written, self._config, leader, number)
        # Whatever variables have set is in the file already.
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())),
            *(sys.executable, "-c", _PROGRAM, "serve", "--config", str(file)),
            stdin=DEVNULL,
            env=environ,
            start_new_session=True,  # so that Ctrl-C reaches the first process alone, which ends the others
        )
        log.info("gateway process started", number=number, pid=process.pid)
        return process


def _offers(leader: Leader) -> set[tuple[str, str]]:
    """Which models there are, and where: a restarted engine may be elsewhere, a failed model be back."""
    return {(engine.address, model) for engine in leader.engines for model in engine.models}


def _written(config: Config, leader: Leader, number: int) -> Path:
    folder = folder_of(config, number)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    file.unlink(missing_ok=True)
    # The store's URL may hold a password.
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        yaml.safe_dump(sibling_document(config, leader, number), opened)
    return file


async def _end(process: Process, timeout_s: float) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), timeout_s)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
