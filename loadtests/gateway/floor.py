"""The floor under every gateway in Python: gRPC and HTTP servers that look at none of the bytes they take.

The libraries are the gateway's, and so is the event loop; each answer is as long as the gateway's would be.
`loadtests.stack` starts and ends this program like a gateway.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
import uvicorn
import uvloop

_LOOPBACK: Final = "127.0.0.1"
_SERVICE: Final = "inference.GRPCInferenceService"

Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]


def main() -> None:
    """Serve until SIGTERM; the only argument is how many bytes an answer has."""
    answer = bytes(int(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(Path(os.environ["ATTNSERVE_RUN_DIR"]), answer))


async def _serve(folder: Path, answer: bytes) -> None:
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    door = socket.create_server((_LOOPBACK, 0))
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    rest = _Rest(uvicorn.Config(_app(answer), log_level="warning", lifespan="off", access_log=False))
    answering = asyncio.create_task(rest.serve([door]))
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_handlers(answer),))
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


def _handlers(answer: bytes) -> grpc.GenericRpcHandler:
    async def infer(_message: bytes, _context: object) -> bytes:
        return answer

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(infer)
    return grpc.method_handlers_generic_handler(_SERVICE, {"ModelInfer": handler})


def _app(answer: bytes) -> Callable[[dict[str, Any], Receive, Send], Awaitable[None]]:
    headers = [(b"content-length", str(len(answer)).encode())]

    async def app(_scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI, without a framework."""
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


if __name__ == "__main__":
    main()
