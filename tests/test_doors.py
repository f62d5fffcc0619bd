"""The three ports of a gateway, without the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from prometheus_client import CollectorRegistry

from serve.certificates import Certificates
from serve.core.access import Access
from serve.doors import Addresses, Doors, SetupError
from serve.edge.grpc_api import build_grpc_server
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from serve.settings import Config
from tests.edge.doors import as_service
from tests.edge.fakes import FakeService
from tests.pki import Authority

PORTS = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
LIMITS = EdgeLimits(header_timeout_s=0.3)
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@asynccontextmanager
async def doors(certificates: Certificates | None = None, **settings: int) -> AsyncIterator[Addresses]:
    """Open ones over a service without models."""
    service = as_service(FakeService())
    grpc = build_grpc_server(service, Access(), LIMITS)
    rest = build_rest_app(service, Access(), LIMITS)
    made = Doors(Config.model_validate(PORTS | settings), grpc, rest, LIMITS, certificates)
    try:
        yield await made.open(CollectorRegistry())
        await made.close(0)
    finally:
        made.release()


def port_of(address: str) -> int:
    """The number after the host."""
    return int(address.removesuffix("/metrics").rpartition(":")[2])


@pytest.mark.parametrize("loop", LOOPS)
def test_a_caller_who_never_begins_the_handshake_is_hung_up_on(loop: str) -> None:
    """It holds a connection no longer than one who never sends a header; others are served meanwhile."""
    authority, certificates = Authority(), Certificates()
    pair = authority.server()
    certificates.replace((pair.certificate, pair.key))
    context = ssl.create_default_context(cadata=authority.pem.decode())

    async def call() -> bytes:
        async with doors(certificates) as addresses:
            port = port_of(addresses.http)
            silent, unheard = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await reader.readline()
            async with asyncio.timeout(20):
                with contextlib.suppress(ConnectionError):
                    assert await silent.read() == b""
            for one in (unheard, writer):
                one.close()
            return answer

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        assert runner.run(call()) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("key", PORTS)
async def test_a_busy_port_is_named_with_its_setting(key: str) -> None:
    """And the ports that were bound before it are let go."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = other.getsockname()[1]
        with pytest.raises(SetupError, match=f"{key}: 127.0.0.1:{busy} .* set ATTNSERVE_{key.upper()}"):
            async with doors(**{key: busy}):
                pass
    async with doors(**{key: busy}) as addresses:
        named = dict(zip(PORTS, (addresses.http, addresses.grpc, addresses.metrics), strict=True))
        assert port_of(named[key]) == busy


async def test_the_metrics_port_keeps_few_who_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds a thread and an open file; one more takes the place of the oldest, and scrapes go on."""
    monkeypatch.setattr("serve.metrics_port.MOST_CONNECTIONS", 3)
    async with doors() as addresses:
        port = port_of(addresses.metrics)
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        async with asyncio.timeout(20):
            for reader, _ in silent[:2]:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert (await reader.readline()).endswith(b" 200 OK\r\n")
        for _, one in (*silent, (reader, writer)):
            one.close()


async def test_the_metrics_port_waits_a_while_for_who_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where nobody else comes."""
    monkeypatch.setattr("serve.metrics_port._Scrape.timeout", 0.1)
    async with doors() as addresses:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(addresses.metrics))
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_addresses_say_whether_it_is_tls() -> None:
    """For browsers and for our own client; metrics are plain either way."""
    async with doors() as plain:
        assert plain.http.startswith("http://127.0.0.1:")
        assert plain.grpc_url == f"grpc://{plain.grpc}"
        assert plain.metrics.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("key", ["http_port", "grpc_port"])
def test_the_first_of_several_processes_shares_its_ports_with_nobody_else(key: str) -> None:
    """Who listens there already, and would let others in, is another server: its callers are not ours."""

    async def run() -> None:
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            stranger.bind(("127.0.0.1", 0))
            stranger.listen()
            async with doors(processes=2, **{key: stranger.getsockname()[1]}):
                pass

    with pytest.raises(SetupError, match=key):
        asyncio.run(run())
