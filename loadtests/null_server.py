"""A server that has the right reply at hand: what is left of a load test's cost is its generator's.

It answers as a gateway with one model would, on gRPC and REST, whatever the images show. `loadtests.stack`
starts and ends it like a gateway, for `loadtests.calibrate`.
"""

from __future__ import annotations

import asyncio
import json
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import numpy as np

from loadtests.both_doors import Receive, Send, serve_both
from loadtests.traffic.wire import HEADER_LENGTH, OUTPUTS, length_prefixed
from serve.pb import open_inference_pb2 as pb

MODEL: Final = "null"
LABELS: Final = tuple("0123456789")
_ROW: Final = np.array([0.91, *[0.01] * 9], np.float32)
_LABEL: Final = LABELS[0]
_METHOD: Final = ("inference.GRPCInferenceService", "ModelInfer")
_DOCUMENTS: Final[dict[str, Any]] = {
    "/v2/health/ready": {"ready": True},
    f"/v2/models/{MODEL}": {
        "name": MODEL,
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 3, 28, 28]}],
        "properties": {"labels": json.dumps(LABELS)},
    },
    f"/v2/models/{MODEL}/config": {"max_batch_size": 32},
}


def main() -> None:
    """Serve until SIGTERM; the addresses are written where a gateway would write them."""
    asyncio.run(serve_both(Path(os.environ["ATTNSERVE_RUN_DIR"]), _app, _handlers()))


def _handlers() -> grpc.GenericRpcHandler:
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_infer)
    return grpc.method_handlers_generic_handler(_METHOD[0], {_METHOD[1]: handler})


async def _infer(message: bytes, _context: object) -> bytes:
    request = pb.ModelInferRequest.FromString(message)
    reply = pb.ModelInferResponse()
    reply.CopyFrom(_grpc_reply(request.inputs[0].shape[0]))
    reply.id = request.id
    return reply.SerializeToString()


async def _app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """ASGI, without a framework."""
    if scope["method"] != "POST":
        found = _DOCUMENTS.get(scope["path"])
        await _respond(send, 200 if found else 404, json.dumps(found or {"error": "there is none"}).encode())
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    length = dict(scope["headers"]).get(HEADER_LENGTH.lower().encode())
    request = json.loads(body[: int(length)] if length else body)
    images = request["inputs"][0]["shape"][0]
    outputs, tail = _rest_reply(images, binary=length is not None)
    header = json.dumps({"model_name": MODEL, "id": request["id"], "outputs": outputs}).encode()
    headers = [(HEADER_LENGTH.lower().encode(), str(len(header)).encode())] if tail else []
    await _respond(send, 200, header + tail, headers)


async def _respond(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})


@cache
def _grpc_reply(images: int) -> pb.ModelInferResponse:
    values, labels = _values(images)
    reply = pb.ModelInferResponse(model_name=MODEL, raw_output_contents=[values.tobytes(), labels])
    for name, datatype, shape in zip(OUTPUTS, ("FP32", "BYTES"), (values.shape, (images,)), strict=True):
        reply.outputs.add(name=name, datatype=datatype, shape=shape)
    return reply


@cache
def _rest_reply(images: int, *, binary: bool) -> tuple[list[dict[str, Any]], bytes]:
    """The outputs, and the bytes behind them."""
    values, labels = _values(images)
    outputs: list[dict[str, Any]] = [
        {"name": OUTPUTS[0], "datatype": "FP32", "shape": list(values.shape)},
        {"name": OUTPUTS[1], "datatype": "BYTES", "shape": [images]},
    ]
    if binary:
        blobs = (values.tobytes(), labels)
        for output, blob in zip(outputs, blobs, strict=True):
            output["parameters"] = {"binary_data_size": len(blob)}
        return outputs, b"".join(blobs)
    outputs[0]["data"] = values.ravel().tolist()
    outputs[1]["data"] = [_LABEL] * images
    return outputs, b""


def _values(images: int) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float32]], bytes]:
    return np.tile(_ROW, (images, 1)), length_prefixed([_LABEL.encode()] * images)


if __name__ == "__main__":
    main()
