"""Keeps a local TorchServe running: starts it, again when it dies or hangs, and ends it with the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from serve.core.errors import ServeError, UnavailableError
from serve.private_folder import PrivateFolder
from serve.torchserve_config import Endpoints, Folder, Ports
from serve.torchserve_process import Launch, StartError, TorchServeProcess, tail

_LONGEST_PAUSE_S = 32.0
_HEALTHY_AFTER_S = 60.0
_FIRST_ATTEMPTS = 3

_log = structlog.get_logger(__name__)


def pause_before(attempt: int) -> float:
    """Seconds to wait before restart number `attempt` (0, 1, ...) in a row: 0, 1, 2, 4, ... up to 32."""
    return 0.0 if attempt == 0 else min(2.0 ** min(attempt - 1, 16), _LONGEST_PAUSE_S)


class Supervisor:
    """A local TorchServe that is always there, or on its way back.

    It listens on loopback only, on ports chosen here, and asks for tokens that only `endpoints` and the
    file `inference.token` (mode 600) in the run folder tell; `inference.url` beside it says where its REST
    inference port is. Nothing of it outlives this process.
    """

    def __init__(
        self,
        run_dir: Path,
        launch: Launch | None = None,
        *,
        on_started: Callable[[], Awaitable[None]] | None = None,
        on_restart: Callable[[], None] | None = None,
    ) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            run_dir: Gets `torchserve.log`, `inference.token` and `inference.url`.
            launch: How to start TorchServe.
            on_started: Awaited after every start, the first one included: TorchServe is empty then, so
                models are registered here. An error ends the first start; later ones are only logged.
            on_restart: Called before every restart, and before the pause that comes first: TorchServe has
                just ended.
        """
        self._run_dir = run_dir
        self._launch = launch or Launch()
        self._on_started = on_started
        self._on_restart = on_restart
        self._private: PrivateFolder | None = None
        self._process: TorchServeProcess | None = None
        self._endpoints: Endpoints | None = None
        self._ports = Ports.pick()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where TorchServe answers now; ports and tokens change with a restart.

        Raises:
            UnavailableError: It is not running.
        """
        if self._endpoints is None:
            raise UnavailableError("TorchServe is not running")
        return self._endpoints

    @property
    def store(self) -> Path:
        """The folder from which TorchServe loads archives; lives from `start` to `stop`."""
        return self._folder.store

    @property
    def log_file(self) -> Path:
        """What TorchServe and its workers log."""
        return self._run_dir.absolute() / "torchserve.log"

    @property
    def token_file(self) -> Path:
        """Holds the token of the inference port while TorchServe runs; only its owner can read it."""
        return self._run_dir / "inference.token"

    @property
    def pid(self) -> int | None:
        """Process id of Java, None while it is not running."""
        return self._process.pid if self._process else None

    def tail(self, lines: int = 200) -> list[str]:
        """The last lines of the log."""
        return tail(self.log_file, lines)

    async def start(self) -> None:
        """Start TorchServe and wait until it answers and `on_started` is through.

        Raises:
            StartError: It did not start; carries the last lines of its log.
            JavaError: There is no Java.
        """
        self._private = PrivateFolder()
        try:
            await self._first_start()
            if self._on_started is not None:
                await self._on_started()
        except BaseException:
            await self.stop(0.0)
            raise

    async def run(self) -> None:
        """Watch TorchServe and restart it when it ends, until `stop`."""
        self._watcher = asyncio.create_task(self._watch(), name="torchserve-watcher")
        try:
            await asyncio.wait({self._watcher})
        finally:
            self._watcher.cancel()
        if not self._watcher.cancelled():
            self._watcher.result()

    async def stop(self, timeout_s: float) -> None:
        """End TorchServe: ask it, wait for up to `timeout_s`, kill what is left, remove its files."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
        self._endpoints = None
        if self._process is not None:
            await self._process.stop(timeout_s)
            self._process = None
        self.token_file.unlink(missing_ok=True)
        self._url_file.unlink(missing_ok=True)
        if self._private is not None:
            await asyncio.to_thread(self._private.close)

    async def _first_start(self) -> None:
        for attempt in range(_FIRST_ATTEMPTS):
            try:
                return await self._start_once()
            except StartError:
                # Somebody took a port between our look and Java's; anything else fails again just so.
                if self._ports.are_free() or attempt == _FIRST_ATTEMPTS - 1:
                    raise
                self._ports = Ports.pick()
        return None

    async def _start_once(self) -> None:
        began = time.monotonic()
        process = await TorchServeProcess.start(self._launch, self._folder, self._ports)
        try:
            endpoints = await process.ready(self._launch.start_timeout_s)
        except BaseException:
            await process.kill()
            raise
        self._process = process
        self._write_token(endpoints.inference_token)
        self._url_file.write_text(f"{endpoints.inference_http}\n", encoding="ascii")
        self._endpoints = endpoints
        _log.info("torchserve_started", pid=process.pid, seconds=round(time.monotonic() - began, 2))

    async def _watch(self) -> None:
        failures = 0
        while True:
            failures = await self._wait_for_end(failures)
            if self._on_restart is not None:
                self._on_restart()
            await asyncio.sleep(pause_before(failures))
            try:
                await self._restart()
            except (ServeError, OSError) as error:  # a full disk, say, may have room again at the next try
                _log.warning("torchserve_restart_failed", error=str(error))
            failures += 1

    async def _wait_for_end(self, failures: int) -> int:
        """Wait until the running TorchServe ends; gives the failures in a row, 0 after a healthy minute."""
        if self._process is None:
            return failures
        began = time.monotonic()
        status = await self._ended(self._process)
        self._endpoints = None
        await self._process.kill()
        self._process = None
        _log.warning("torchserve_ended", status=status, last_lines=self.tail(3))
        return 0 if time.monotonic() - began > _HEALTHY_AFTER_S else failures

    async def _ended(self, process: TorchServeProcess) -> int:
        """Wait until a process ends, or end it when it hangs; gives its exit status."""
        hangs = asyncio.create_task(process.hangs(self.endpoints, self._launch), name="torchserve-pings")
        ended = asyncio.create_task(process.wait(), name="torchserve-end")
        try:
            await asyncio.wait({hangs, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                hangs.result()
                _log.warning("torchserve_hangs", pid=process.pid, unanswered_pings=self._launch.pings_to_kill)
                await process.kill()
            return await ended
        finally:
            hangs.cancel()
            ended.cancel()
            await asyncio.wait({hangs, ended})

    async def _restart(self) -> None:
        if not self._ports.are_free():
            self._ports = Ports.pick()
        await self._start_once()
        if self._on_started is not None:
            await self._on_started()

    @property
    def _folder(self) -> Folder:
        if self._private is None:
            raise UnavailableError("TorchServe has not been started")
        return Folder(root=self._private.path, log=self.log_file)

    @property
    def _url_file(self) -> Path:
        return self._run_dir / "inference.url"

    def _write_token(self, token: str) -> None:
        """For people who call TorchServe's own port; the file is never readable by others."""
        with contextlib.suppress(FileNotFoundError):
            self.token_file.unlink()
        handle = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(token + "\n")
