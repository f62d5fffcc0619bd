"""One request in the words of either door, and what either door answers."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from serve.pb import open_inference_pb2 as pb
from tests.conformance.gateway import MODEL, Gateway

HEADER = "Inference-Header-Content-Length"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a door answered.

    Attributes:
        code: The name of the gRPC status, or the number of the HTTP status.
        error: The text of a refusal; "" when there was none.
        body: The answer as values for JSON, data included, however it came.
        raw: Names of the outputs that came raw.
        headers: Of HTTP, in lower case; the trailing metadata of gRPC.
    """

    code: str | int
    error: str = ""
    body: Json = field(default_factory=dict)
    raw: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)

    def output(self, name: str) -> Json:
        """One output; it must be there."""
        (found,) = (output for output in self.body["outputs"] if output["name"] == name)
        return dict(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A body of a POST to /infer."""

    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def element(content: bytes) -> bytes:
    """An element of BYTES as raw data."""
    return struct.pack("<I", len(content)) + content


# --- gRPC ---------------------------------------------------------------------------------------------------


def tensor(name: str, datatype: str, shape: Sequence[int], **contents: Any) -> Any:  # noqa: ANN401  nested message
    """An input; `contents` are the fields of InferTensorContents."""
    made = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    if contents:
        made.contents.CopyFrom(pb.InferTensorContents(**contents))
    return made


def message(*inputs: Any, raw: Sequence[bytes] = (), **fields: Any) -> pb.ModelInferRequest:  # noqa: ANN401
    """A request for the model."""
    return pb.ModelInferRequest(inputs=inputs, raw_input_contents=raw, **{"model_name": MODEL, **fields})


def raw_image(content: bytes = b"png", **fields: Any) -> pb.ModelInferRequest:  # noqa: ANN401
    """A request with one raw image."""
    return message(tensor("image", "BYTES", [1]), raw=[element(content)], **fields)


async def ask_grpc(gateway: Gateway, request: pb.ModelInferRequest, timeout: float | None = None) -> Said:  # noqa: ASYNC109  gRPC's own deadline
    """Call ModelInfer."""
    call = gateway.stub.ModelInfer(request, timeout=timeout)
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        trailing = {str(key): str(value) for key, value in error.trailing_metadata() or ()}
        return Said(code=error.code().name, error=error.details() or "", headers=trailing)
    return read_message(answer)


def read_message(answer: pb.ModelInferResponse) -> Said:
    """Read an answer."""
    outputs = []
    raw = list(answer.raw_output_contents)
    for index, output in enumerate(answer.outputs):
        data = values(output.datatype, raw[index]) if raw else _typed(output)
        outputs.append(
            {"name": output.name, "datatype": output.datatype, "shape": list(output.shape), "data": data}
        )
    parameters = {
        key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in answer.parameters.items()
    }
    body: Json = {
        "model_name": answer.model_name,
        "model_version": answer.model_version,
        "id": answer.id,
        "parameters": parameters,
        "outputs": outputs,
    }
    names = frozenset(output.name for output in answer.outputs if raw)
    return Said(code="OK", body=body, raw=names)


def _typed(output: pb.ModelInferResponse.InferOutputTensor) -> list[Any]:
    ((_, data),) = output.contents.ListFields()
    return [value.decode() if isinstance(value, bytes) else value for value in data]


# --- REST ---------------------------------------------------------------------------------------------------


def given(name: str, datatype: str, shape: Sequence[int], data: object = None, **parameters: object) -> Json:
    """An input as JSON."""
    fields: Json = {"name": name, "datatype": datatype, "shape": list(shape)}
    fields |= {} if data is None else {"data": data}
    return fields | ({"parameters": parameters} if parameters else {})


def document(*inputs: Json, **fields: object) -> Body:
    """A body that is all JSON."""
    return Body(content=json.dumps({"inputs": inputs, **fields}).encode())


def binary(*inputs: Json, tail: bytes, header: str | None = None, **fields: object) -> Body:
    """A body with raw tensors after the JSON; `header` replaces the true length of the JSON."""
    text = json.dumps({"inputs": inputs, **fields}).encode()
    return Body(content=text + tail, headers={HEADER: str(len(text)) if header is None else header})


def json_image(content: str = "png", **fields: object) -> Body:
    """A body with one image as JSON."""
    return document(given("image", "BYTES", [1], [content]), **fields)


async def ask_rest(gateway: Gateway, body: Body, path: str = f"/v2/models/{MODEL}/infer") -> Said:
    """Post to /infer."""
    answer = await gateway.rest.post(path, content=body.content, headers=dict(body.headers))
    if answer.status_code != 200:
        return Said(code=answer.status_code, error=answer.json()["error"], headers=answer.headers)
    return read_body(answer.content, answer.headers)


def read_body(content: bytes, headers: Mapping[str, str]) -> Said:
    """Read an answer: JSON, and what raw tensors follow it."""
    size = int(headers.get(HEADER.lower(), len(content)))
    body = json.loads(content[:size])
    raw = set()
    for output in body["outputs"]:
        length = output.get("parameters", {}).get("binary_data_size")
        if length is not None:
            raw.add(output["name"])
            output["data"] = values(output["datatype"], content[size : size + length])
            size += length
    assert size == len(content), "bytes are left over after the last output"
    return Said(code=200, body=body, raw=frozenset(raw), headers=headers)


DTYPES = {"FP32": "<f4", "INT32": "<i4"}


def values(datatype: str, raw: bytes) -> list[Any]:
    """The elements of a raw tensor."""
    if datatype != "BYTES":
        return list(np.frombuffer(raw, DTYPES[datatype]).tolist())
    found: list[Any] = []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        found.append(raw[4 : 4 + length].decode())
        raw = raw[4 + length :]
    return found
