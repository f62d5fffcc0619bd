"""A fake service and a client at each door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import grpc
import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry

from serve.core.access import Access
from serve.core.live import Place
from serve.edge.limits import EdgeLimits
from serve.edge.page_parts import PageParts
from serve.edge.rest_api import build_rest_app
from serve.live import Live
from serve.metrics import Metrics
from tests.edge.doors import as_service, grpc_door
from tests.edge.fake_desk import FakeDesk
from tests.edge.fakes import FakeService


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """Log tracebacks as plain text: the default draws every variable, which takes seconds."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
async def fake() -> FakeService:
    """Give the service that the clients of the same test talk to."""
    return FakeService()


@pytest.fixture
async def desk() -> FakeDesk:
    """Give the desk that the clients of the same test ask about experiments."""
    return FakeDesk()


@pytest.fixture
async def rest(fake: FakeService, desk: FakeDesk) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the REST door, without a socket."""
    page = PageParts(live=Live(Metrics(CollectorRegistry()), None, Place()))
    limits = EdgeLimits(max_message_bytes=100_000)
    app = build_rest_app(as_service(fake), Access(), limits, desk, None, page)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.fixture
async def channel(fake: FakeService, desk: FakeDesk) -> AsyncIterator[grpc.aio.Channel]:
    """Give a channel to the gRPC door."""
    async with (
        grpc_door(fake, limits=EdgeLimits(max_message_bytes=100_000), desk=desk) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as opened,
    ):
        yield opened
