"""The worker's configuration starts a real TorchServe, as its pod would, which serves and drains."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest

from deploy.checking.paths import DEPLOY
from deploy.images import fetch_models, worker_probe, worker_start
from serve.archive import read_sums
from serve.pb.torchserve_inference_pb2 import PredictionsRequest
from serve.pb.torchserve_inference_pb2_grpc import InferenceAPIsServiceStub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

WORKER = DEPLOY / "base" / "worker"
START_S = 90.0
END_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A running TorchServe and where it answers."""

    process: subprocess.Popen[bytes]
    inference: str
    management: str
    grpc_port: int

    def probe(self, name: str) -> None:
        """Runs one of the pod's probes.

        Raises:
            UnhealthyError: The probe fails.
        """
        worker_probe.PROBES[name](self.inference, self.management)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def configured(folder: Path, store: Path, ports: dict[str, int]) -> None:
    """Writes the pod's configuration with our paths and ports, and with nothing beyond loopback."""
    for name in ("config.properties", "log4j2.xml", "metrics.yaml"):
        text = (WORKER / name).read_text(encoding="utf-8")
        for theirs, ours in ports.items():
            assert theirs in text or name != "config.properties", f"{theirs} is not in {name}"
            text = text.replace(theirs, f"{theirs[0]}{ours}")
        text = text.replace("=0.0.0.0", "=127.0.0.1")
        text = text.replace("=/models", f"={store}").replace("/etc/torchserve", str(folder))
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was filled as the init container does: with one of a source's two archives."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("store")
    build = ["build", "--arch", "digits_se", "--untrained", "--output", str(source)]
    subprocess.run([Path(sys.executable).with_name("attnserve"), *build], check=True, capture_output=True)
    shutil.copy(source / "digits_se.mar", source / "nobody_wants_this.mar")
    with (source / "SHA256SUMS").open("a", encoding="utf-8") as sums:
        sums.write(f"{read_sums(source)['digits_se.mar']}  nobody_wants_this.mar\n")
    assert fetch_models.main(["--from", str(source), "--to", str(folder), "digits_se.mar"]) == 0
    return folder


@pytest.fixture
def worker(tmp_path: Path, store: Path) -> Iterator[Worker]:
    """A TorchServe whose models are loaded; killed if a test leaves it running."""
    rest, management, metrics, inference_grpc, management_grpc = free_ports(5)
    config, temporary = tmp_path / "config", tmp_path / "tmp"
    config.mkdir()
    temporary.mkdir()
    ports = {":8080": rest, ":8081": management, ":8082": metrics}
    configured(config, store, ports | {"=7070": inference_grpc, "=7071": management_grpc})
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            worker_start.command(config, temporary),
            cwd=temporary,
            env=os.environ | {"TMPDIR": str(temporary)},
            stdout=log,
            stderr=log,
        )
    running = Worker(
        process=process,
        inference=f"http://127.0.0.1:{rest}",
        management=f"http://127.0.0.1:{management}",
        grpc_port=inference_grpc,
    )
    try:
        wait_until_started(running, tmp_path / "log")
        yield running
    finally:
        process.kill()
        process.wait()


def wait_until_started(worker: Worker, log: Path) -> None:
    """Repeats the start-up probe until it passes, as the kubelet does."""
    deadline = time.monotonic() + START_S
    while not starts(worker):
        assert worker.process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.5)


def starts(worker: Worker) -> bool:
    """Whether the start-up probe passes now."""
    try:
        worker.probe("canary")
    except worker_probe.UnhealthyError:
        return False
    return True


def test_it_serves_and_drains(worker: Worker) -> None:
    """All probes pass, gRPC answers without a token, and SIGTERM ends it by itself.

    The model is the one that was fetched, and its process was set up as its signature asks.
    """
    for name in worker_probe.PROBES:
        worker.probe(name)
    with grpc.insecure_channel(f"127.0.0.1:{worker.grpc_port}") as channel:
        request = PredictionsRequest(
            model_name="digits_se", input={"attnserve": b'{"version": 1, "describe": true}'}
        )
        reply = InferenceAPIsServiceStub(channel).Predictions(request, timeout=10)
    assert reply.prediction.startswith(b"ATSR")

    with urllib.request.urlopen(f"{worker.management}/models") as answer:  # noqa: S310 - our own
        assert [model["modelName"] for model in json.load(answer)["models"]] == ["digits_se"]
    started = psutil.Process(worker.process.pid).children(recursive=True)
    assert [process.environ().get("OMP_NUM_THREADS") for process in started] == ["1"]

    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(timeout=END_S) == 128 + signal.SIGTERM
