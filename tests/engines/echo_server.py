"""A gRPC server in TorchServe's place that answers with the caller's own address; run as `... HOST:PORT`.

`Predictions` sleeps for as many seconds as the input `sleep` says.
"""

from __future__ import annotations

import asyncio
import sys

import grpc.aio

from serve.pb import torchserve_inference_pb2_grpc as stubs
from serve.pb.torchserve_inference_pb2 import PredictionResponse, PredictionsRequest


class Echo(stubs.InferenceAPIsServiceServicer):
    """Tells on which connection a call came."""

    async def Predictions(  # noqa: N802  the protocol's name
        self, request: PredictionsRequest, context: grpc.aio.ServicerContext[PredictionsRequest, object]
    ) -> PredictionResponse:
        """Sleep, then answer."""
        await asyncio.sleep(float(request.input.get("sleep", b"0")))
        return PredictionResponse(prediction=context.peer().encode())


async def start(address: str) -> tuple[grpc.aio.Server, int]:
    """Serve; gives the port, too."""
    server = grpc.aio.server()
    stubs.add_InferenceAPIsServiceServicer_to_server(Echo(), server)
    port = server.add_insecure_port(address)
    await server.start()
    return server, port


async def main(address: str) -> None:
    """Serve until killed."""
    server, port = await start(address)
    print(port, flush=True)  # noqa: T201  for whoever started it
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
