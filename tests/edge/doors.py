"""Both doors on free ports of the loopback, over any service."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import uvicorn
from starlette.types import ASGIApp, Message

from serve.core.access import Access
from serve.edge.desk import Desk
from serve.edge.grpc_api import GrpcEdge, build_grpc_server
from serve.edge.limits import EdgeLimits
from serve.edge.rest_connections import limited
from serve.service import Service
from tests.edge.fakes import FakeService


def as_service(fake: FakeService) -> Service:
    """Let a fake stand where the doors expect the real service."""
    return cast("Service", fake)


@asynccontextmanager
async def grpc_door(
    fake: FakeService,
    access: Access | None = None,
    limits: EdgeLimits | None = None,
    desk: Desk | None = None,
) -> AsyncIterator[GrpcEdge]:
    """Serve gRPC while the context lasts; `port` tells where."""
    edge = build_grpc_server(as_service(fake), access or Access(), limits or EdgeLimits(), desk)
    edge.listen("127.0.0.1:0")
    await edge.start()
    try:
        yield edge
    finally:
        await edge.stop(0)


@asynccontextmanager
async def http_door(app: ASGIApp, limits: EdgeLimits | None = None) -> AsyncIterator[int]:
    """Serve an ASGI application as the gateway does, while the context lasts; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the gateway's own
    connections = limited(limits or EdgeLimits())
    config = uvicorn.Config(
        app,
        http=connections,
        ws="none",
        log_config=None,
        log_level="error",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def status_of_post(app: ASGIApp, path: str, *parts: Message) -> int:
    """Post message by message; gives the status, which a real caller that left never sees."""
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"", "headers": [], "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    left = iter(parts)
    sent: list[Message] = []

    async def receive() -> Message:
        return next(left)

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])
