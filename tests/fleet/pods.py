"""Pods: the gateway and the worker as their manifests start them, each on a host of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from deploy.images import worker_probe, worker_start
from tests.e2e.demo import ROOT
from tests.e2e.processes import ATTNSERVE, MARK, environment, marked
from tests.fleet.health import Health
from tests.fleet.lan import Host

MODEL = "digits_se"
WORKERS, GATEWAYS = "worker-se", "gateway-headless"
WORKER_PORT, GATEWAY_PORT, METRICS_PORT = 7070, 8001, 8002
END_TIMEOUT_S = 60.0
_BASE = ROOT / "deploy" / "base"
_BEHIND_THE_WIRE = 7069


class Pod(ABC):
    """Programs on a host, in a folder of their own; whatever they start can be found by their mark."""

    service: str
    port: int

    def __init__(self, host: Host) -> None:
        """Nothing runs yet."""
        self.host = host
        # A short path, since TorchServe makes unix sockets below it.
        self.folder = Path(tempfile.mkdtemp(prefix="fleet-", dir="/tmp"))
        self._mark = secrets.token_hex(8)
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def target(self) -> str:
        """Where its gRPC is; also an engine's name in the gateway's metrics."""
        return f"{self.host.address}:{self.port}"

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether its readiness probe passes now."""

    def runs(self) -> bool:
        """Whether its main program does."""
        return self._processes[0].poll() is None

    def log(self) -> str:
        """What it has written."""
        return (self.folder / "log").read_text(errors="replace")

    def freeze(self) -> None:
        """Let none of it run any more; what it is sent, it holds."""
        for one in marked(self._mark):
            one.suspend()

    def kill(self) -> None:
        """SIGKILL to all of it at once, as when its memory runs out or its node fails."""
        for one in marked(self._mark):
            one.kill()
        for process in self._processes:
            process.wait(10)

    def terminate(self) -> int:
        """SIGTERM, as the kubelet sends it, and wait for the end; gives the exit status."""
        main, *others = self._processes
        main.send_signal(signal.SIGTERM)
        status = main.wait(END_TIMEOUT_S)
        for other in others:
            other.terminate()
        return status

    def close(self) -> None:
        """Leave nothing of it."""
        self.kill()
        shutil.rmtree(self.folder)

    def _run(self, command: Sequence[str | Path], variables: Mapping[str, str]) -> None:
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        own = {MARK: self._mark, "TMPDIR": str(temporary)}
        with self.host.entered(), (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=temporary,
                env=environment() | own | dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)


class WorkerPod(Pod):
    """A TorchServe with the pod's configuration; only its paths are other ones."""

    service, port = WORKERS, WORKER_PORT

    def __init__(self, host: Host, store: Path, answer_s: float = 0.0) -> None:
        """Start it.

        Args:
            host: Where.
            store: What the init container has put in /models.
            answer_s: How long its answers are on their way; so its capacity does not depend on the machine.
        """
        super().__init__(host)
        self._started = False
        self._configure(store, _BEHIND_THE_WIRE if answer_s else WORKER_PORT)
        self._run(worker_start.command(self.folder, self.folder / "tmp"), {})
        if answer_s:
            listen = f"{host.address}:{WORKER_PORT}"
            wire = [sys.executable, "-m", "tests.relay", listen, str(_BEHIND_THE_WIRE), str(answer_s)]
            self._run(wire, {"PYTHONPATH": str(ROOT)})

    def is_ready(self) -> bool:
        """Whether the pod's probes pass, run inside it: the canary once, then that of readiness."""
        try:
            with self.host.entered():
                if not self._started:
                    worker_probe.PROBES["canary"]()
                    self._started = True
                worker_probe.PROBES["ready"]()
        except worker_probe.UnhealthyError:
            return False
        return True

    def _configure(self, store: Path, port: int) -> None:
        for name in ("config.properties", "log4j2.xml", "metrics.yaml"):
            text = (_BASE / "worker" / name).read_text()
            text = text.replace("=/models", f"={store}").replace("/etc/torchserve", str(self.folder))
            text = text.replace(f"port={WORKER_PORT}", f"port={port}")
            (self.folder / name).write_text(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a gateway's pod finds: the name server, the Secret with the tokens, whoever probes it."""

    resolving: Sequence[str]
    tokens: Path
    health: Health


class GatewayPod(Pod):
    """`attnserve serve` with the pod's configuration; only its paths are other ones."""

    service, port = GATEWAYS, GATEWAY_PORT

    def __init__(self, host: Host, around: Surroundings, variables: Mapping[str, str]) -> None:
        """Start it; the variables come on top of those of the pod."""
        super().__init__(host)
        self._health = around.health
        config = yaml.safe_load((_BASE / "gateway" / "gateway.yaml").read_text())
        config |= {"tokens_file": str(around.tokens), "run_dir": str(self.folder / "run")}
        (self.folder / "gateway.yaml").write_text(yaml.safe_dump(config))
        # As the overlays' engines.yaml.
        engines = [{"address": f"dns:///{WORKERS}:{WORKER_PORT}", "models": [MODEL]}]
        self._run(
            [*around.resolving, ATTNSERVE, "serve", "--config", self.folder / "gateway.yaml"],
            {"ATTNSERVE_ENGINES": yaml.safe_dump(engines, default_flow_style=True)} | dict(variables),
        )

    def is_ready(self) -> bool:
        """Whether grpc.health.v1 says SERVING for the name that the readiness probe asks for."""
        return self.runs() and self._health.serves(self.target, _readiness_service())


@cache
def _readiness_service() -> str:
    manifest = yaml.safe_load((_BASE / "gateway" / "gateway-deployment.yaml").read_text())
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return str(container["readinessProbe"]["grpc"].get("service", ""))


def fetch_models(archives: Path, store: Path) -> None:
    """Do what the worker's init container does."""
    store.mkdir()
    program = ROOT / "deploy" / "images" / "fetch_models.py"
    command: list[str | Path] = [sys.executable, program, "--from", archives, "--to", store, f"{MODEL}.mar"]
    subprocess.run(command, check=True, env=dict(os.environ), stdout=subprocess.DEVNULL)
