"""The three ports: bound before anything else runs, answered, closed, let go."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from serve.certificates import Certificates
from serve.edge.grpc_api import GrpcEdge
from serve.edge.limits import EdgeLimits
from serve.edge.rest_connections import limited
from serve.metrics_port import MetricsPort
from serve.settings import Config


class SetupError(Exception):
    """A port, a file or the run folder cannot be used; the message names it and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the gateway listens, ports that were picked included; `grpc` is what a channel takes."""

    http: str
    grpc: str
    metrics: str

    @property
    def grpc_url(self) -> str:
        """For our own client, which wants a scheme; both doors have TLS, or neither has."""
        return f"{'grpcs' if self.http.startswith('https:') else 'grpc'}://{self.grpc}"


class Doors:
    """REST, gRPC and metrics: `open`, `close` the first two, `release` all.

    With certificates, the first two speak TLS and nothing else. The metrics port stays plain: what it tells
    is no secret, and Prometheus and a cluster's probes reach it without a certificate of their own.
    """

    def __init__(
        self,
        config: Config,
        grpc: GrpcEdge,
        app: FastAPI,
        limits: EdgeLimits,
        certificates: Certificates | None,
    ) -> None:
        """Bind nothing yet."""
        self._config = config
        self._grpc = grpc
        self._rest = _Uvicorn(_uvicorn_config(app, limits, certificates), limits.header_timeout_s)
        self._certificates = certificates
        self._serving: asyncio.Task[None] | None = None
        self._bound = contextlib.ExitStack()

    async def open(self, registry: CollectorRegistry) -> Addresses:
        """Bind all three ports, then answer on them.

        Raises:
            SetupError: One is busy; the others may be bound until `release`.
        """
        config, host = self._config, _shown(self._config.host)
        if config.processes > 1 and not config.share_ports:
            _check_free("http_port", config.host, config.http_port)
            _check_free("grpc_port", config.host, config.grpc_port)
        rest = self._bound.enter_context(_listen(config.host, config.http_port, shared=config.shares_ports))
        grpc_port = self._listen_grpc()
        metrics_port = self._answer_metrics(registry)
        await self._grpc.start()
        self._serving = asyncio.create_task(self._rest.serve(sockets=[rest]), name="rest")
        return Addresses(
            http=f"{'https' if self._certificates else 'http'}://{host}:{rest.getsockname()[1]}",
            grpc=f"{host}:{grpc_port}",
            metrics=f"http://{host}:{metrics_port}/metrics",
        )

    async def close(self, grace_s: float) -> None:
        """Take no more requests, and after `grace_s` seconds end those that are still being answered."""
        self._rest.should_exit = True
        if self._serving is not None:
            await asyncio.gather(self._serving, self._grpc.stop(grace_s))

    def release(self) -> None:
        """Let the ports go, that of the metrics too, which answers until then."""
        self._bound.close()

    def _listen_grpc(self) -> int:
        config = self._config
        credentials = self._certificates.grpc_credentials() if self._certificates else None
        try:
            return self._grpc.listen(f"{_bracketed(config.host)}:{config.grpc_port}", credentials)
        except RuntimeError:
            raise SetupError(_busy("grpc_port", config.host, config.grpc_port)) from None

    def _answer_metrics(self, registry: CollectorRegistry) -> int:
        config = self._config
        try:
            port = MetricsPort(config.host, config.metrics_port, registry)
        except OSError:
            raise SetupError(_busy("metrics_port", config.host, config.metrics_port)) from None
        self._bound.callback(port.close)
        return port.number


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to us: they drain both doors, not only this one. And bounds a TLS handshake."""

    def __init__(self, config: uvicorn.Config, handshake_timeout_s: float) -> None:
        super().__init__(config)
        self._handshake_timeout_s = handshake_timeout_s

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections; uvicorn by itself gives each a minute to say hello."""
        await super().startup(sockets=[])
        tls = self.config.ssl
        for sock in sockets or []:
            server = await asyncio.get_running_loop().create_server(
                self._connection,
                sock=sock,
                backlog=self.config.backlog,
                ssl=tls,
                ssl_handshake_timeout=self._handshake_timeout_s if tls else None,
            )
            self.servers.append(server)

    def _connection(self) -> asyncio.Protocol:
        make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _uvicorn_config(app: FastAPI, limits: EdgeLimits, certificates: Certificates | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=limited(limits),
        ws="none",
        log_config=None,
        log_level="error",  # what is below, any caller could have written with bytes that are no request
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,  # uvicorn takes whole seconds
        ssl_context_factory=(lambda *_: certificates.rest) if certificates else None,
    )


def _check_free(key: str, host: str, port: int) -> None:
    """Refuse to share a port with who has nothing to do with us: the kernel would deal out our callers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            raise SetupError(_busy(key, host, port)) from None


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # The kernel spreads connections over the processes that listen; otherwise a second one must fail.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
    # Inherited by its connections. asyncio sets it only where a socket says that it is TCP's; without it
    # the body of an answer waits for the caller's delayed ACK of the headers, 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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


def _shown(host: str) -> str:
    """The address to paste: every interface is reached through loopback, too."""
    return _bracketed({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host))  # noqa: S104  compared, not bound


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
