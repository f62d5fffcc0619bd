"""The wiring: every object of a gateway is made here, by hand, and started and drained in order.

Start: ports first (a busy one is said before anything else runs), then both doors and the metrics, then
the engines; requests that come before a model is ready hear so. End: new requests are refused, those in
flight are answered, then doors, engines and TorchServe go, all within `drain_timeout_s`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from wsgiref.simple_server import WSGIServer

import structlog
import uvicorn
from fastapi import FastAPI
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from serve.batcher import Batcher, Surroundings
from serve.core.access import Access, Token
from serve.core.batching import Limits
from serve.edge.grpc_api import build_grpc_server
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from serve.engines.pool import EnginePool, PoolOptions
from serve.fleet import Fleet, build_fleet
from serve.loading import House
from serve.metrics import Metrics
from serve.repository import Repository
from serve.service import Parts, Service, ServiceOptions
from serve.settings import Config
from serve.usage import UsageBook

log = structlog.get_logger(__name__)

# Kept of drain_timeout_s for closing the doors and ending TorchServe after the last answer.
CLOSING_SHARE = 0.4
# For the last words of calls that were cut off, and for removing files and threads at the very end.
DOORS_GRACE_S = 0.5
ENDING_S = 1.0


class SetupError(Exception):
    """A port or the run folder cannot be used; the message names it and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the gateway listens, ports that were picked included."""

    http: str
    grpc: str
    metrics: str


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to us: they drain both doors, not only this one."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


class Gateway:
    """One gateway process: `start`, then `close`, which drains."""

    def __init__(self, config: Config) -> None:
        """Make every object; nothing runs and no port is bound yet."""
        self.config = config
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        metrics, usage = Metrics(self.registry), UsageBook()
        pool = EnginePool(metrics, _pool_options(config), time.monotonic)
        repository = Repository(metrics)
        around = Surroundings(pool, metrics, usage, time.monotonic)
        batcher = Batcher(_batching_limits(config), around)
        self.fleet: Fleet = build_fleet(config, House(repository, pool, batcher), metrics)
        parts = Parts(repository, batcher, self.fleet.loader, metrics, usage)
        self.service = Service(parts, _service_options(config))
        access, limits = _access(config), _edge_limits(config)
        self.grpc = build_grpc_server(self.service, access, limits)
        self.rest = _Uvicorn(_uvicorn_config(build_rest_app(self.service, access, limits)))
        self.addresses = Addresses(http="", grpc="", metrics="")
        repository.on_change = self.grpc.refresh
        self._exit = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Bind the ports, open the doors, start the engines and load the models.

        Raises:
            SetupError: A port is busy, or the run folder cannot be written; no engine has been started.
            ServeError: TorchServe cannot be started.
        """
        rest_socket, metrics_port, grpc_port = self._bind()
        host = _shown(self.config.host)
        self.addresses = Addresses(
            http=f"http://{host}:{rest_socket.getsockname()[1]}",
            grpc=f"{host}:{grpc_port}",
            metrics=f"http://{host}:{metrics_port}/metrics",
        )
        await self.grpc.start()
        rest = asyncio.create_task(self.rest.serve(sockets=[rest_socket]), name="rest")
        self._exit.push_async_callback(self._drain, rest)
        self._publish_addresses()
        log.info("listening", **asdict(self.addresses))
        await self.fleet.start()

    async def run(self) -> None:
        """Watch the engines; does not end by itself."""
        await self.fleet.run()

    async def close(self) -> None:
        """Answer what is in flight, then end everything that was started, in the reverse order."""
        await self._exit.aclose()

    def _bind(self) -> tuple[socket.socket, int, int]:
        config = self.config
        rest_socket = _listen(config.host, config.http_port)
        self._exit.callback(rest_socket.close)
        try:
            grpc_port = self.grpc.listen(f"{_bracketed(config.host)}:{config.grpc_port}")
        except RuntimeError:
            raise SetupError(_busy("grpc_port", config.host, config.grpc_port)) from None
        try:
            server, thread = start_http_server(config.metrics_port, config.host, self.registry)
        except OSError:
            raise SetupError(_busy("metrics_port", config.host, config.metrics_port)) from None
        self._exit.callback(_end_metrics, server, thread)
        return rest_socket, server.server_port, grpc_port

    async def _drain(self, rest: asyncio.Task[None]) -> None:
        ends = time.monotonic() + self.config.drain_timeout_s
        log.info("draining", inflight=self.service.inflight, drain_timeout_s=self.config.drain_timeout_s)
        self.grpc.drain()
        await self.service.drain(self.config.drain_timeout_s * (1 - CLOSING_SHARE))
        # Whoever is still here has heard why; the doors need a moment to send it.
        self.rest.should_exit = True
        left = ends - time.monotonic() - ENDING_S
        await asyncio.gather(rest, self.grpc.stop(DOORS_GRACE_S), self.fleet.stop(max(DOORS_GRACE_S, left)))
        log.info("drained")

    def _publish_addresses(self) -> None:
        """For scripts that let the ports be picked."""
        file = self.config.run_dir / "addresses.json"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(asdict(self.addresses)) + "\n", encoding="utf-8")
        except OSError as error:
            raise SetupError(f"run_dir: {file.parent} cannot be written: {error.strerror}") from None
        self._exit.callback(file.unlink, missing_ok=True)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(1024)
    except OSError:
        sock.close()
        raise SetupError(_busy("http_port", host, port)) from None
    return sock


def _busy(key: str, host: str, port: int) -> str:
    variable = f"ATTNSERVE_{key.upper()}"
    taken = f"{key}: {host}:{port} cannot be bound, perhaps another server has it"
    return f"{taken}; set {variable} (0 picks a free one)"


def _end_metrics(server: WSGIServer, thread: threading.Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()


def _shown(host: str) -> str:
    """The address to paste: every interface is reached through loopback, too."""
    return _bracketed({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host))  # noqa: S104  compared, not bound


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _uvicorn_config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,  # uvicorn takes whole seconds
    )


def _pool_options(config: Config) -> PoolOptions:
    given = config.attempts
    return PoolOptions(
        workers=given.workers, attempts=given.attempts, attempt_timeout_s=given.attempt_timeout_s
    )


def _batching_limits(config: Config) -> Limits:
    given = config.batching
    return Limits(
        max_batch=given.max_batch_images,
        max_queue_images=given.max_queue_images,
        max_queue_delay_s=given.max_queue_delay_ms / 1e3,
        prefetch=given.prefetch_batches,
    )


def _service_options(config: Config) -> ServiceOptions:
    return ServiceOptions(
        version=version("attnserve"),
        request_timeout_s=config.request_timeout_s,
        max_request_images=config.max_request_images,
        max_queue_delay_s=config.batching.max_queue_delay_ms / 1e3,
    )


def _edge_limits(config: Config) -> EdgeLimits:
    return EdgeLimits(max_message_bytes=config.max_request_bytes, body_timeout_s=config.body_timeout_s)


def _access(config: Config) -> Access:
    tokens = (Token(name=token.name, role=token.level, sha256=token.sha256) for token in config.tokens)
    return Access(tokens=tuple(tokens))
