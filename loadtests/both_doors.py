"""A server without a gateway in it, on both doors: for what is measured against, or measured without, one.

`loadtests.stack` starts and ends its programs like a gateway.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
import uvicorn

_LOOPBACK: Final = "127.0.0.1"

Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
App: TypeAlias = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


async def serve_both(folder: Path, app: App, handlers: grpc.GenericRpcHandler) -> None:
    """Answer on both doors of loopback until SIGTERM.

    Args:
        folder: Gets addresses.json, which says where, as a gateway's does.
        app: Answers over HTTP.
        handlers: Answer over gRPC.
    """
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    door = socket.create_server((_LOOPBACK, 0))
    # As the gateway does: head and body are two writes, and Nagle's algorithm would hold back the second.
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    rest = _Rest(uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False))
    answering = asyncio.create_task(rest.serve([door]))
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port(f"{_LOOPBACK}:0")
    await server.start()
    http = f"http://{_LOOPBACK}:{door.getsockname()[1]}"
    addresses = {"http": http, "grpc": f"{_LOOPBACK}:{port}", "metrics": f"{http}/metrics"}
    (folder / "addresses.json").write_text(json.dumps(addresses), encoding="utf-8")
    await ends.wait()
    await server.stop(None)
    rest.should_exit = True
    await answering


class _Rest(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Leave SIGTERM alone."""
