"""One run of TorchServe: start it, wait until it answers, end it. `Supervisor` decides when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import grpc.aio
from google.protobuf.empty_pb2 import Empty

from serve import die_with_parent
from serve.core.errors import UnavailableError
from serve.java import find_java
from serve.pb.torchserve_inference_pb2_grpc import InferenceAPIsServiceStub
from serve.torchserve_config import (
    DEFAULT_JAVA_OPTIONS,
    LOOPBACK,
    METRICS_CONFIG,
    Endpoints,
    Folder,
    Ports,
    config_properties,
    environment,
    java_command,
    log4j2_xml,
)
from serve.worker_start import worker_python

_POLL_S = 0.05
_PING_TIMEOUT_S = 2.0
_TAIL_BYTES = 64 * 1024


class StartError(UnavailableError):
    """TorchServe did not start; the message carries its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a supervised TorchServe is started.

    Attributes:
        java_options: Options of the JVM, its memory among them.
        max_message_bytes: Largest packed batch and largest reply.
        start_timeout_s: How long it may take until it answers.
        ping_interval_s: How often a running one is asked whether it is there, and how long it may take to
            say so. It does so in milliseconds, however busy its workers are.
        pings_to_kill: Unanswered ones in a row after which it is ended, to be started again.
        python: What the workers are started with, as an interpreter: see `serve.worker_start`.
    """

    java_options: tuple[str, ...] = DEFAULT_JAVA_OPTIONS
    max_message_bytes: int = 64 * 1024 * 1024
    start_timeout_s: float = 60.0
    ping_interval_s: float = 5.0
    pings_to_kill: int = 3
    python: Path = field(default_factory=lambda: worker_python(Path(sys.executable)))


class TorchServeProcess:
    """A started TorchServe; `start` makes one."""

    def __init__(self, process: Process, folder: Folder, ports: Ports) -> None:
        """Take over a process that has just been started in a session of its own."""
        self._process = process
        self._folder = folder
        self._ports = ports

    @classmethod
    async def start(cls, launch: Launch, folder: Folder, ports: Ports) -> TorchServeProcess:
        """Write the configuration and start Java; does not wait until it answers.

        Raises:
            StartError: TorchServe is not installed.
            JavaError: There is no Java to run it.
        """
        command = await asyncio.to_thread(_prepare, launch, folder, ports)
        with folder.console.open("wb") as console:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())),
                *command,
                stdin=DEVNULL,
                stdout=console,
                stderr=console,
                cwd=folder.root,
                env=environment(os.environ, folder.temporary),
                start_new_session=True,  # so that Ctrl-C in the terminal reaches only the gateway
            )
        return cls(process, folder, ports)

    @property
    def pid(self) -> int:
        """Process id of Java; also the id of the process group that its workers are in."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait until Java ends; gives its exit status, negative for a signal."""
        return await self._process.wait()

    async def ready(self, timeout_s: float) -> Endpoints:
        """Wait until TorchServe answers Ping.

        Raises:
            StartError: It ended, or did not answer in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if self._process.returncode is not None:
                        status = self._process.returncode
                        raise StartError(f"TorchServe ended with status {status}: {self.last_words()}")
                    endpoints = self._endpoints()
                    if endpoints is not None and await _answers(endpoints, _PING_TIMEOUT_S):
                        return endpoints
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise StartError(
                f"TorchServe did not answer within start_timeout_s = {timeout_s:g}: {self.last_words()}"
            ) from None

    async def hangs(self, endpoints: Endpoints, launch: Launch) -> None:
        """Ping a running TorchServe; returns when it has left several in a row without an answer."""
        unanswered = 0
        while unanswered < launch.pings_to_kill:
            pause = launch.ping_interval_s
            answered, _ = await asyncio.gather(_answers(endpoints, pause), asyncio.sleep(pause))
            unanswered = 0 if answered else unanswered + 1

    async def stop(self, timeout_s: float) -> None:
        """Let TorchServe finish what it has for up to `timeout_s`, then kill it and its workers."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), timeout_s)
        await self.kill()

    async def kill(self) -> None:
        """End Java and every worker at once."""
        # The group outlives its leader while a worker is left.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()

    def last_words(self) -> str:
        """The end of what Java printed and logged, for an error message."""
        # Newer Javas begin with warnings about what TorchServe's libraries do.
        console = [line for line in tail(self._folder.console, 20) if not line.startswith("WARNING:")]
        lines = console[-5:] + tail(self._folder.log, 10)
        return "\n".join(lines) or "it said nothing"

    def _endpoints(self) -> Endpoints | None:
        """Read the tokens; None while TorchServe has not written them, or not to the end."""
        try:
            keys = json.loads(self._folder.keys.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return Endpoints(
            inference_grpc=f"{LOOPBACK}:{self._ports.inference_grpc}",
            management_grpc=f"{LOOPBACK}:{self._ports.management_grpc}",
            inference_http=f"http://{LOOPBACK}:{self._ports.inference_http}",
            inference_token=keys["inference"]["key"],
            management_token=keys["management"]["key"],
        )


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a text file, without those that are empty; none when there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]


def _prepare(launch: Launch, folder: Folder, ports: Ports) -> list[str]:
    """Lay out the folder afresh, the store excepted; gives the command to run."""
    java = find_java(os.environ)
    home = _torchserve_home()
    shutil.rmtree(folder.temporary, ignore_errors=True)
    folder.keys.unlink(missing_ok=True)
    folder.temporary.mkdir()
    folder.store.mkdir(exist_ok=True)
    folder.log.parent.mkdir(parents=True, exist_ok=True)
    folder.config.write_text(config_properties(folder, ports, launch.max_message_bytes))
    folder.metrics_config.write_text(METRICS_CONFIG)
    folder.log4j2.write_text(log4j2_xml(folder.log))
    return java_command(java, launch.python, home, folder, launch.java_options)


def _torchserve_home() -> Path:
    """The folder that holds the package `ts`, found without importing it."""
    spec = find_spec("ts")
    if spec is None or spec.origin is None:
        raise StartError("TorchServe is not installed: `pip install 'attnserve[worker]'`")
    return Path(spec.origin).parent.parent


async def _answers(endpoints: Endpoints, timeout_s: float) -> bool:
    metadata = (("authorization", f"Bearer {endpoints.inference_token}"),)
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(endpoints.inference_grpc, options) as channel:
        try:
            await InferenceAPIsServiceStub(channel).Ping(Empty(), timeout=timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError:
            return False
    return True
