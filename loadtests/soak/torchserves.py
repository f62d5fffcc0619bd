"""Real engines to break: two TorchServes, each with the demo's models, on ports that outlive their deaths."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx
import psutil

from loadtests.soak.faults import Fault, FaultKind
from loadtests.stack import StackError
from serve import die_with_parent
from serve.java import find_java

START_TIMEOUT_S: Final = 120.0
FAULTS: Final = (
    FaultKind(name="kill-worker", seconds=(0.0, 0.0), recovery_s=5.0),
    FaultKind(name="freeze-worker", seconds=(2.0, 6.0), recovery_s=5.0),
    FaultKind(name="kill-java", seconds=(0.0, 0.0), recovery_s=5.0),
    FaultKind(name="freeze-java", seconds=(2.0, 6.0), recovery_s=5.0),
)
_POLL_S: Final = 0.2
_WORKER: Final = "model_service_worker"
_PORTS: Final = ("inference", "management", "metrics", "inference_grpc", "management_grpc")
_CONFIG: Final = """\
inference_address=http://127.0.0.1:{inference}
management_address=http://127.0.0.1:{management}
metrics_address=http://127.0.0.1:{metrics}
grpc_inference_address=127.0.0.1
grpc_inference_port={inference_grpc}
grpc_management_address=127.0.0.1
grpc_management_port={management_grpc}
model_store={store}
load_models={models}
enable_model_api=true
disable_token_authorization=true
disable_system_metrics=true
"""


class TorchServe:
    """One of them."""

    def __init__(self, folder: Path, store: Path, models: Sequence[str]) -> None:
        """Lay out its folder; nothing runs before `start`.

        Args:
            folder: For its files and logs; a short path, since it makes unix sockets there.
            store: Where the archives are.
            models: Names of the archives to load.
        """
        folder.mkdir()
        self._folder = folder
        self._models = models
        self._ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self._java: subprocess.Popen[bytes] | None = None
        archives = ",".join(f"{name}={name}.mar" for name in models)
        config = _CONFIG.format(store=store.absolute(), models=archives, **self._ports)
        (folder / "config.properties").write_text(config)

    @property
    def address(self) -> str:
        """host:port for the gateway."""
        return f"127.0.0.1:{self._ports['inference_grpc']}"

    def start(self) -> None:
        """Start Java; it dies with us."""
        with (self._folder / "console.log").open("ab") as console:
            self._java = subprocess.Popen(  # noqa: S603  our own
                [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid()), *self._command()],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Wait until a worker of every model has loaded it.

        Raises:
            StackError: That took too long, or Java has ended.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S), httpx.AsyncClient(trust_env=False) as client:
                while self.java.poll() is None:
                    if await self._is_ready(client):
                        return
                    await asyncio.sleep(_POLL_S)
        raise StackError(f"TorchServe is not ready; its log is {self._folder / 'console.log'}")

    def stop(self) -> None:
        """Kill it and its workers, if there are any."""
        if self._java is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._java.pid, signal.SIGKILL)
            self._java.wait()

    @property
    def java(self) -> subprocess.Popen[bytes]:
        """Java's process."""
        if self._java is None:
            raise StackError("TorchServe was not started")
        return self._java

    def workers(self) -> list[psutil.Process]:
        """Its worker processes, by age."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.java.pid).children(recursive=True)
            return sorted((one for one in children if _is_worker(one)), key=lambda one: one.pid)
        return []

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        try:
            return all([await self._has_worker(client, model) for model in self._models])
        except httpx.HTTPError:
            return False

    async def _has_worker(self, client: httpx.AsyncClient, model: str) -> bool:
        url = f"http://127.0.0.1:{self._ports['management']}/models/{model}"
        response = await client.get(url)
        return response.is_success and any(
            worker["status"] == "READY" for worker in response.json()[0]["workers"]
        )

    def _command(self) -> list[str]:
        spec = find_spec("ts")
        if spec is None or spec.origin is None:
            raise StackError("TorchServe is not installed: `pip install 'attnserve[worker]'`")
        home = Path(spec.origin).parent.parent
        return [
            str(find_java(os.environ)),
            *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx1g"),
            *(f"-Dmodel_server_home={home}", f"-Djava.io.tmpdir={self._folder}"),
            *("-cp", f"{home}/ts/frontend/*", "org.pytorch.serve.ModelServer"),
            *("--python", sys.executable, "-f", str(self._folder / "config.properties"), "-ncs"),
        ]


class RealEngines:
    """Implements `Engines`: signals break the processes, and what has died is started again."""

    def __init__(self, servers: Sequence[TorchServe]) -> None:
        self.servers = servers
        self._begin: Mapping[str, Callable[[Fault], None]] = {
            "kill-worker": lambda fault: self._signal_worker(fault, signal.SIGKILL),
            "freeze-worker": lambda fault: self._signal_worker(fault, signal.SIGSTOP),
            "kill-java": lambda fault: self._signal_java(fault, signal.SIGKILL),
            "freeze-java": lambda fault: self._signal_java(fault, signal.SIGSTOP),
        }

    @property
    def count(self) -> int:
        """See `Engines`."""
        return len(self.servers)

    async def begin(self, fault: Fault) -> None:
        """See `Engines`."""
        self._begin[fault.kind.name](fault)

    async def end(self, fault: Fault) -> None:
        """See `Engines`; TorchServe starts a dead worker by itself."""
        server = self.servers[fault.engine]
        for worker in server.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.resume()
        if fault.kind.name == "kill-java":
            server.stop()
            server.start()
        else:
            server.java.send_signal(signal.SIGCONT)
        await server.ready()

    def _signal_worker(self, fault: Fault, number: signal.Signals) -> None:
        workers = self.servers[fault.engine].workers()
        if workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                workers[fault.times % len(workers)].send_signal(number)

    def _signal_java(self, fault: Fault, number: signal.Signals) -> None:
        self.servers[fault.engine].java.send_signal(number)


@asynccontextmanager
async def real_engines(
    folder: Path, store: Path, models: Sequence[str], count: int
) -> AsyncIterator[RealEngines]:
    """Start some, wait until they are ready, and end them.

    Raises:
        StackError: One does not start.
    """
    async with AsyncExitStack() as stack:
        servers = [TorchServe(folder / f"ts{number}", store, models) for number in range(count)]
        for server in servers:
            stack.callback(server.stop)
            server.start()
            # One after the other: importing torch in eight workers at once takes longer than the time limits.
            await server.ready()
        yield RealEngines(servers)


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any(_WORKER in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
