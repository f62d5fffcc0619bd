"""The floor under every gateway in Python: gRPC and HTTP servers that look at none of the bytes they take.

The libraries are the gateway's, and so is the event loop; each answer is as long as the gateway's would be.
`loadtests.stack` starts and ends this program like a gateway.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import uvloop

from loadtests.both_doors import App, Receive, Send, serve_both

_SERVICE: Final = "inference.GRPCInferenceService"


def main() -> None:
    """Serve until SIGTERM; the only argument is how many bytes an answer has."""
    answer = bytes(int(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_both(Path(os.environ["ATTNSERVE_RUN_DIR"]), _app(answer), _handlers(answer)))


def _handlers(answer: bytes) -> grpc.GenericRpcHandler:
    async def infer(_message: bytes, _context: object) -> bytes:
        return answer

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(infer)
    return grpc.method_handlers_generic_handler(_SERVICE, {"ModelInfer": handler})


def _app(answer: bytes) -> App:
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
