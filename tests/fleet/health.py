"""grpc.health.v1 asked from inside a host: gRPC's own threads would else make their sockets outside.

`python -m tests.fleet.health` reads lines, HOST:PORT SERVICE, and answers each with 1 or 0.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.e2e.demo import ROOT
from tests.e2e.processes import environment
from tests.fleet.lan import Host

_TIMEOUT_S = 2.0  # as the gateway's readiness probe


class Health:
    """Asks servers whether they serve."""

    def __init__(self) -> None:
        """Ask nobody yet."""
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    @contextmanager
    def open(self, host: Host) -> Iterator[None]:
        """Ask from a host while the context lasts."""
        command, pipe = [sys.executable, "-m", "tests.fleet.health"], subprocess.PIPE
        with host.entered():
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment(), stdin=pipe, stdout=pipe, text=True, bufsize=1
            )
        try:
            yield
        finally:
            with self._process:
                self._process.kill()

    def serves(self, target: str, service: str) -> bool:
        """Whether that server says SERVING for that name; the empty one stands for all of it."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with self._one_at_a_time:
            process.stdin.write(f"{target} {service}\n")
            return process.stdout.readline() == "1\n"


def main() -> None:
    """Answer until standard input ends."""
    stubs: dict[str, Any] = {}
    for line in sys.stdin:
        target, _, service = line.removesuffix("\n").partition(" ")
        if target not in stubs:
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 500)]
            stubs[target] = health_pb2_grpc.HealthStub(grpc.insecure_channel(target, options=options))
        sys.stdout.write(f"{int(_serves(stubs[target], service))}\n")
        sys.stdout.flush()


def _serves(stub: Any, service: str) -> bool:  # noqa: ANN401  made at run time
    try:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=_TIMEOUT_S)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    main()
