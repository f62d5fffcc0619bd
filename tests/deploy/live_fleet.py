"""A real Prometheus that scrapes a real gateway with its TorchServe, and what two exporters would show.

Grafana asks Prometheus exactly what `Asked` asks, so that a panel has what its queries have here.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from tests.prometheus import running_prometheus

HERE = Path(__file__).parent
RULES = HERE.parent.parent / "deploy" / "monitoring" / "rules"
NAMESPACE = "attnserve"
INTERVAL = "1s"
PATIENCE_S = 60.0
# It always fires, so that what shows alerts has one to show.
WATCHDOG = {"alert": "AttnserveWatchdog", "expr": "vector(1)", "labels": {"severity": "none"}}

Series = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A running Prometheus."""

    url: str

    def values(self, promql: str, since: float | None = None) -> list[tuple[Series, list[float]]]:
        """What a query finds: now, or each second since then; without what is not a number."""
        now = time.time()
        if since is None:
            found = self.get("query", query=promql, time=now)["result"]
        else:
            found = self.get("query_range", query=promql, start=since, end=now, step=1)["result"]
        return [(one["metric"], [value for value in _numbers(one) if not math.isnan(value)]) for one in found]

    def get(self, path: str, **parameters: object) -> Any:  # noqa: ANN401  by path
        """Ask its API."""
        query = {name: str(value) for name, value in parameters.items()}
        reply = httpx.get(f"{self.url}/api/v1/{path}", params=query, trust_env=False, timeout=30)
        assert reply.is_success, reply.text
        return reply.json()["data"]

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait, but not for ever."""
        ends = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < ends, f"not within {PATIENCE_S:g} s: {what}"
            time.sleep(0.2)


def _numbers(one: Mapping[str, Any]) -> Iterator[float]:
    pairs = one["values"] if "values" in one else [one["value"]]
    yield from (float(text) for _, text in pairs)


@contextmanager
def exporters(pages: Iterable[Path]) -> Iterator[str]:
    """Shows files, each as a page of its name without suffix; gives host:port."""
    texts = {f"/{path.stem}": path.read_bytes() for path in pages}

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = texts[self.path]
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def prometheus(folder: Path, gateway: str, shown: str, pages: Iterable[str]) -> Iterator[Asked]:
    """One that scrapes that gateway and those pages, with our rules, which it evaluates every second.

    Args:
        folder: For its files.
        gateway: URL of the metrics page; Prometheus gives its series the namespace, as on Kubernetes.
        shown: host:port of the exporters, whose labels are honoured.
        pages: Their names.
    """
    (folder / "rules.yml").write_text(json.dumps({"groups": list(_groups())}))
    with running_prometheus(folder, _scrapes(gateway, shown, pages)) as url:
        yield Asked(url=url)


def _groups() -> Iterator[dict[str, Any]]:
    yield {"name": "watchdog", "rules": [WATCHDOG]}
    for path in sorted(RULES.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["groups"]:
            yield {"name": group["name"], "rules": group["rules"]}  # without its interval: nobody waits


def _scrapes(gateway: str, shown: str, pages: Iterable[str]) -> dict[str, Any]:
    ours = {"targets": [urlsplit(gateway).netloc], "labels": {"namespace": NAMESPACE}}
    jobs = [
        {"job_name": "gateway", "static_configs": [ours]},
        *(
            {
                "job_name": page,
                "honor_labels": True,
                "metrics_path": f"/{page}",
                "static_configs": [{"targets": [shown]}],
            }
            for page in pages
        ),
    ]
    intervals = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
    return {"global": intervals, "rule_files": ["rules.yml"], "scrape_configs": jobs}
