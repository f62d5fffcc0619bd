"""A fleet: gateways and workers on hosts of their own, found by name, under load."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import yaml

from tests.e2e.demo import ROOT, Demo
from tests.e2e.processes import environment, wait_until
from tests.faults.load import Load
from tests.fleet.callers import Orders
from tests.fleet.endpoints import Endpoints
from tests.fleet.health import Health
from tests.fleet.lan import Host, Lan
from tests.fleet.names import Names
from tests.fleet.pods import (
    GATEWAY_PORT,
    GATEWAYS,
    METRICS_PORT,
    MODEL,
    GatewayPod,
    Pod,
    Surroundings,
    WorkerPod,
    fetch_models,
)
from tests.fleet.table import Row

START_TIMEOUT_S = 120.0
# Between a pod's way out of DNS and its SIGTERM. The manifests have 35 s for workers and 10 s for gateways,
# since a cluster's DNS may be 30 s late; this one's is 1 s at most.
PRE_STOP_S = 3.0
RATE, DEADLINE_S = 25.0, 5.0
_ATTEMPTS = r'attnserve_engine_attempts_total{{engine="{engine}",model="{model}",outcome="ok"}} (\S+)'


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Callers at work, who can be told to ask more often."""

    load: Load
    began: float

    def at(self, rate: float) -> None:
        """From now on ask so many times a second."""
        pipe = self.load.process.stdin
        assert pipe is not None
        pipe.write(f"{rate}\n".encode())
        pipe.flush()


class Fleet:
    """All of it; pods are added and taken away while it runs."""

    def __init__(self, demo: Demo, folder: Path, phase_s: float) -> None:
        """Start nothing yet.

        Args:
            demo: Archives and samples.
            folder: For small files.
            phase_s: How long the load goes on, in seconds, before something happens and after it.
        """
        self.phase_s = phase_s
        self.rows: list[Row] = []
        self._demo = demo
        self._folder = folder
        self._lan = Lan(folder)
        self._names = Names(folder)
        self._health = Health()
        self._token = secrets.token_urlsafe(16)
        self._life = ExitStack()
        self.endpoints = Endpoints(self._names)
        self.node: Host

    @contextmanager
    def open(self) -> Iterator[None]:
        """Have a node with a name server; everything ends with it."""
        fetch_models(self._demo.archives, self._folder / "store")
        digest = sha256(self._token.encode()).hexdigest()
        token = {"name": "caller", "role": "infer", "sha256": digest}
        (self._folder / "tokens.yaml").write_text(yaml.safe_dump([token]))
        with (
            self._lan.open() as self.node,
            self._names.serve(self.node),
            self._health.open(self.node),
            self.endpoints.run(),
            self._life,
        ):
            yield

    @property
    def resolving(self) -> Sequence[str]:
        """See `Lan`."""
        return self._lan.resolving

    def worker(self, answer_s: float = 0.0) -> WorkerPod:
        """Start one; it is not in DNS before it is admitted."""
        pod = WorkerPod(self._lan.plug(), self._folder / "store", answer_s)
        self._life.callback(pod.close)
        return pod

    def gateway(self, **variables: str) -> GatewayPod:
        """Start one with more variables; it is not in DNS before it is admitted."""
        around = Surroundings(
            resolving=self._lan.resolving, tokens=self._folder / "tokens.yaml", health=self._health
        )
        pod = GatewayPod(self._lan.plug(), around, variables)
        self._life.callback(pod.close)
        return pod

    def admit(self, *pods: Pod) -> None:
        """Let pods in as soon as they are ready, and wait until they are in DNS."""
        for pod in pods:
            self.endpoints.admit(pod)
        for pod in pods:
            wait_until(
                lambda pod=pod: self.endpoints.holds(pod) or not pod.runs(),  # type: ignore[misc] # a lambda
                START_TIMEOUT_S,
                f"{pod.service} {pod.target} is ready; it wrote:\n{pod.log()}",
            )
            assert pod.runs(), pod.log()

    def drain(self, pod: Pod, pre_stop_s: float = PRE_STOP_S) -> int:
        """Delete a pod as Kubernetes does: out of DNS, preStop, SIGTERM; gives the exit status."""
        self.endpoints.withdraw(pod)
        time.sleep(pre_stop_s)
        return pod.terminate()

    def attempts(self, gateway: Pod, worker: Pod) -> float:
        """Batches that a worker has answered, by a gateway's count; 0 if it does not know it."""
        with self.node.entered():
            url = f"http://{gateway.host.address}:{METRICS_PORT}/metrics"
            page = httpx.get(url, timeout=10, trust_env=False).text
        pattern = _ATTEMPTS.format(engine=re.escape(worker.target), model=MODEL)
        found = re.search(pattern, page)
        return float(found[1]) if found else 0.0

    @contextmanager
    def traffic(
        self, rate: float = RATE, deadline_s: float = DEADLINE_S, *, retries: bool = True
    ) -> Iterator[Traffic]:
        """Callers on a host of their own who have their baseline and have asked for a phase."""
        with tempfile.TemporaryDirectory(prefix="callers-") as name:
            folder = Path(name)
            orders = Orders(
                target=f"dns:///{GATEWAYS}:{GATEWAY_PORT}",
                token=self._token,
                model=MODEL,
                samples=str(self._demo.samples),
                ledger=str(folder / "ledger"),
                rate=rate,
                deadline_s=deadline_s,
                retries=retries,
            )
            (folder / "orders.json").write_text(json.dumps(asdict(orders)))
            command = [*self._lan.resolving, sys.executable, "-m", "tests.fleet.callers"]
            with self._lan.plug().entered():
                process = subprocess.Popen(
                    [*command, str(folder / "orders.json")],
                    cwd=ROOT,
                    env=environment(),
                    stdin=subprocess.PIPE,
                )
            with ending(process):
                load = Load(process=process, lines=folder / "ledger")
                wait_until(lambda: _busy(load), START_TIMEOUT_S, "the callers are at work")
                load.go_on(self.phase_s)
                yield Traffic(load=load, began=time.monotonic())


@contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill what is left of a process at the end."""
    with process:
        try:
            yield
        finally:
            process.kill()


def _busy(load: Load) -> bool:
    assert load.process.poll() is None, "the callers failed; see above"
    return load.lines.exists() and len(load.ledger().entries) > 0
