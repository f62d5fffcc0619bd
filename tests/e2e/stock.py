"""A stock TorchServe 0.12: plain configuration, no tokens, nothing of ours but the archives that it loads."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx
import psutil

from serve.java import find_java
from tests.e2e.processes import MARK, environment, free_ports, marked, wait_until, workers

START_TIMEOUT_S = 90.0

_CONFIG = """\
inference_address=http://{host}:{inference}
management_address=http://{host}:{management}
metrics_address=http://{host}:{metrics}
grpc_inference_address={host}
grpc_inference_port={inference_grpc}
grpc_management_address={host}
grpc_management_port={management_grpc}
model_store={store}
load_models={models}
enable_model_api=true
disable_token_authorization=true
disable_system_metrics=true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one listens; the same place again lets it come back to where it was."""

    host: str
    inference: int
    management: int
    metrics: int
    inference_grpc: int
    management_grpc: int

    @classmethod
    def free(cls, host: str = "127.0.0.1") -> Place:
        """Ports that nobody listens on now."""
        names = ("inference", "management", "metrics", "inference_grpc", "management_grpc")
        return cls(host=host, **dict(zip(names, free_ports(len(names)), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StockTorchServe:
    """A running one; `target` is where a gateway finds it."""

    process: subprocess.Popen[bytes]
    inference: str
    management: str
    target: str
    log: Path
    mark: str

    def is_ready(self, models: tuple[str, ...]) -> bool:
        """Whether it listens and a worker of each model has loaded it; /ping says yes before that."""
        try:
            listed = httpx.get(f"{self.management}/models", timeout=10, trust_env=False)
            return listed.is_success and all(self._has_worker(name) for name in models)
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End Java at once; its workers end with it, since their connection breaks."""
        psutil.Process(self.process.pid).kill()
        self.process.wait(10)

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        return workers(self.mark)

    def _has_worker(self, model: str) -> bool:
        response = httpx.get(f"{self.management}/models/{model}", timeout=10, trust_env=False)
        return response.is_success and any(
            worker["status"] == "READY" for worker in response.json()[0]["workers"]
        )


@contextmanager
def stock_torchserve(store: Path, *models: str, place: Place | None = None) -> Iterator[StockTorchServe]:
    """Start one that loads archives of a store, and wait until it has; on loopback, unless told where."""
    place = place or Place.free()
    # A short path, since TorchServe makes unix sockets below it.
    folder = Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp"))
    mark = secrets.token_hex(8)
    archives = ",".join(f"{name}={name}.mar" for name in models)
    (folder / "config.properties").write_text(_CONFIG.format(store=store, models=archives, **asdict(place)))
    log = folder / "console.log"
    with log.open("wb") as console:
        process = subprocess.Popen(
            _command(folder), cwd=folder, env=environment(**{MARK: mark}), stdout=console, stderr=console
        )
    server = StockTorchServe(
        process=process,
        inference=f"http://{place.host}:{place.inference}",
        management=f"http://{place.host}:{place.management}",
        target=f"{place.host}:{place.inference_grpc}",
        log=log,
        mark=mark,
    )
    try:
        wait_until(
            lambda: process.poll() is not None or server.is_ready(models), START_TIMEOUT_S, "stock TorchServe"
        )
        assert process.poll() is None, log.read_text(errors="replace")
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        for left in marked(mark):
            left.kill()
        process.wait(10)
        shutil.rmtree(folder)


def _command(folder: Path) -> list[str | Path]:
    spec = find_spec("ts")
    assert spec is not None
    assert spec.origin is not None
    home = Path(spec.origin).parent.parent
    return [
        find_java(os.environ),
        "-XX:TieredStopAtLevel=1",
        f"-Dmodel_server_home={home}",
        f"-Djava.io.tmpdir={folder}",
        "-cp",
        f"{home}/ts/frontend/*",
        "org.pytorch.serve.ModelServer",
        "--python",
        sys.executable,
        "-f",
        folder / "config.properties",
        "-ncs",
    ]
