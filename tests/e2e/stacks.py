"""`attnserve serve` as a process of its own, on free ports, with a temporary directory of its own."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.processes import ATTNSERVE, MARK, POLL_S, environment, marked, workers

START_TIMEOUT_S = 90.0
DRAIN_TIMEOUT_S = 8.0
PORTS = dict.fromkeys(("ATTNSERVE_HTTP_PORT", "ATTNSERVE_GRPC_PORT", "ATTNSERVE_METRICS_PORT"), "0")

Series = Mapping[str, float]
StartStack = Callable[..., "Stack"]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A started gateway, and all that it started."""

    process: subprocess.Popen[bytes]
    folder: Path
    mark: str

    @property
    def run_dir(self) -> Path:
        """Where it writes its log, its addresses and the token of TorchServe's own port."""
        return self.folder / "run"

    @property
    def temporary(self) -> Path:
        """Its TMPDIR."""
        return self.folder / "tmp"

    @cached_property
    def addresses(self) -> dict[str, str]:
        """What it wrote down: http, grpc, metrics."""
        found: dict[str, str] = json.loads((self.run_dir / "addresses.json").read_text())
        return found

    @cached_property
    def rest(self) -> httpx.Client:
        """A client of its REST door."""
        return httpx.Client(base_url=self.addresses["http"], timeout=60, trust_env=False)

    @cached_property
    def channel(self) -> grpc.Channel:
        """A channel to its gRPC door."""
        # Without a pool of one's own, a channel would share the failures of earlier ones to the same port.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        return grpc.insecure_channel(self.addresses["grpc"], options=options)

    def log(self) -> str:
        """All that it wrote to standard output and standard error."""
        return (self.folder / "log").read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of its log with that event."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def series(self) -> Series:
        """Every sample of the metrics page, by name and labels as the page writes them, sorted."""
        text = httpx.get(self.addresses["metrics"], timeout=10, trust_env=False).text
        return {
            series_name(sample.name, **sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def is_ready(self) -> bool:
        """Whether it says that all models can answer."""
        try:
            return self.rest.get("/v2/health/ready").is_success
        except httpx.TransportError:
            return False

    def wait_ready(self, seconds: float = START_TIMEOUT_S) -> None:
        """Wait until it is ready; ends early when the process does."""
        end = time.monotonic() + seconds
        while not (self._listens() and self.is_ready()):
            if self._ended() or time.monotonic() > end:
                pytest.fail(f"not ready, status {self.process.poll()}:\n{self.log()}", pytrace=False)
            time.sleep(POLL_S)

    def health(self, service: str) -> int:
        """What grpc.health.v1 says of a service: a HealthCheckResponse.ServingStatus."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)  # its stubs are made at run time
        status: int = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status
        return status

    def java(self) -> psutil.Process:
        """The TorchServe that it supervises."""
        (java,) = (process for process in marked(self.mark) if process.name() == "java")
        return java

    def workers(self) -> list[psutil.Process]:
        """TorchServe's worker processes."""
        return workers(self.mark)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and wait for as long as it may take; gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(DRAIN_TIMEOUT_S + 1)

    def assert_nothing_left(self) -> None:
        """No process and no temporary file outlives it."""
        assert [process.cmdline() for process in marked(self.mark)] == []
        assert list(self.temporary.iterdir()) == []

    def _listens(self) -> bool:
        return (self.run_dir / "addresses.json").exists() and bool(
            (self.run_dir / "addresses.json").read_text()
        )

    def _ended(self) -> bool:
        return self.process.poll() is not None


@contextmanager
def started(settings: Mapping[str, str], *options: str, under: Sequence[str] = ()) -> Iterator[Stack]:
    """Start a gateway; whatever is left of it at the end is killed.

    Args:
        settings: Variables ATTNSERVE_* and others; ports, run_dir and TMPDIR are set unless named here.
        options: Of `attnserve serve`.
        under: A command that ends by becoming the one that it is given, such as `nice`.
    """
    # A short path, since TorchServe makes unix sockets below it.
    folder = Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp"))
    mark = secrets.token_hex(8)
    (folder / "tmp").mkdir()
    own = {"ATTNSERVE_RUN_DIR": str(folder / "run"), "TMPDIR": str(folder / "tmp"), MARK: mark}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*under, ATTNSERVE, "serve", *options],
            env=environment(**PORTS, **own) | dict(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    stack = Stack(process=process, folder=folder, mark=mark)
    try:
        yield stack
    finally:
        for kept in ("rest", "channel"):
            if kept in vars(stack):
                getattr(stack, kept).close()
        for left in marked(mark):
            left.kill()
        process.wait(10)
        shutil.rmtree(folder)


def series_name(name: str, **labels: str) -> str:
    """How `Stack.series` names a series."""
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


def matching(series: Series, pattern: str) -> dict[str, float]:
    """The series whose whole name fits a regular expression."""
    return {name: value for name, value in series.items() if re.fullmatch(pattern, name)}
