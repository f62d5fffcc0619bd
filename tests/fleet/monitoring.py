"""A real Prometheus that finds the gateways by their name, and what it says."""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from tests.e2e.processes import wait_until
from tests.fleet.lan import Host
from tests.fleet.pods import GATEWAYS, METRICS_PORT

START_TIMEOUT_S = 30.0
SCRAPE_S = 1.0
NAMESPACE = "attnserve"
_PORT = 9090
_CONFIG = {
    "global": {"scrape_interval": f"{SCRAPE_S:g}s", "scrape_timeout": f"{SCRAPE_S:g}s"},
    "scrape_configs": [
        {
            "job_name": "gateway",
            "dns_sd_configs": [
                {"names": [GATEWAYS], "type": "A", "port": METRICS_PORT, "refresh_interval": "1s"}
            ],
            # As the scrape configuration for Kubernetes sets it.
            "relabel_configs": [{"target_label": "namespace", "replacement": NAMESPACE}],
        }
    ],
}


class Prometheus:
    """One that runs on a host."""

    def __init__(self, host: Host, process: subprocess.Popen[bytes]) -> None:
        """It has been started."""
        self.process = process
        self._host = host

    def value(self, query: str) -> float | None:
        """The sum of an instant query's series, as an HPA adds up those of an external metric.

        Gives None where there is no answer, no series, or no number: then the adapter fails, too.
        """
        try:
            with self._host.entered():
                reply = self._get("query", query=query)
        except httpx.TransportError:
            return None
        assert reply.is_success, reply.text
        values = [float(one["value"][1]) for one in reply.json()["data"]["result"]]
        return sum(values) if values and all(map(math.isfinite, values)) else None

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with self._host.entered():
                return self._get("query", query="1").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End it for good."""
        self.process.terminate()
        self.process.wait(30)

    @staticmethod
    def _get(path: str, **parameters: str) -> httpx.Response:
        url = f"http://127.0.0.1:{_PORT}/api/v1/{path}"
        return httpx.get(url, params=parameters, timeout=10, trust_env=False)


@contextmanager
def prometheus(host: Host, resolving: Sequence[str]) -> Iterator[Prometheus]:
    """Start one, and wait until it answers."""
    with tempfile.TemporaryDirectory(prefix="prometheus-") as name:
        folder = Path(name)
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(_CONFIG))
        options = [f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}"]
        options += [f"--web.listen-address=127.0.0.1:{_PORT}"]
        with host.entered(), (folder / "log").open("wb") as log:
            process = subprocess.Popen([*resolving, "prometheus", *options], stdout=log, stderr=log)
        running = Prometheus(host, process)
        try:
            wait_until(
                lambda: process.poll() is not None or running.is_ready(), START_TIMEOUT_S, "Prometheus"
            )
            assert process.poll() is None, (folder / "log").read_text()
            yield running
        finally:
            process.kill()
            process.wait(10)
