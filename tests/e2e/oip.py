"""One inference request in neutral words, and the ways in which the protocol can carry it."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import numpy as np
from numpy.typing import NDArray

from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.e2e.stacks import Stack

Parameter = bool | int | str
Data = NDArray[Any] | Sequence[bytes]
DTYPES: Mapping[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "INT32": np.dtype("<i4"),
    "UINT8": np.dtype("u1"),
}
_TYPED = {
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "UINT8": "uint_contents",
    "INT32": "int_contents",
}
_PARAMETER = {bool: "bool_param", int: "int64_param", str: "string_param"}
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A tensor to send; for BYTES the elements, else an array."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An inference request; `outputs` maps each name to its parameters."""

    model: str
    inputs: tuple[Input, ...]
    version: str = ""
    request_id: str = ""
    outputs: Mapping[str, Mapping[str, Parameter]] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An inference response; BYTES come as lists of bytes."""

    model: str
    version: str
    request_id: str
    outputs: Mapping[str, Any]
    parameters: Mapping[str, Any]

    @property
    def labels(self) -> list[str]:
        """The output `label` as text."""
        return [label.decode() for label in self.outputs["label"]]


class RefusedError(Exception):
    """The request failed: gRPC's code by name, or HTTP's number, and the message."""

    def __init__(self, status: str | int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


Way = Callable[[Stack, Question], Answer]


def images(*files: bytes) -> Input:
    """Encoded images."""
    return Input(name="image", datatype="BYTES", shape=(len(files),), data=files)


def ask(model: str, *files: bytes, **more: Any) -> Question:  # noqa: ANN401  fields of Question
    """Ask a model what encoded images show."""
    return Question(model=model, inputs=(images(*files),), **more)


def grpc_raw(stack: Stack, question: Question) -> Answer:
    """Over gRPC with raw_input_contents."""
    message = _message(question)
    message.raw_input_contents.extend(_raw(one) for one in question.inputs)
    return call_grpc(stack, message)


def grpc_typed(stack: Stack, question: Question) -> Answer:
    """Over gRPC with typed contents."""
    message = _message(question)
    for tensor, one in zip(message.inputs, question.inputs, strict=True):
        values = one.data.ravel().tolist() if isinstance(one.data, np.ndarray) else one.data
        getattr(tensor.contents, _TYPED[one.datatype]).extend(values)
    return call_grpc(stack, message)


def rest_json(stack: Stack, question: Question) -> Answer:
    """Over REST, all of it JSON, images in base64."""
    document = _document(question)
    for fields, one in zip(document["inputs"], question.inputs, strict=True):
        if isinstance(one.data, np.ndarray):
            fields["data"] = one.data.tolist()
        else:
            fields["data"] = [base64.b64encode(element).decode() for element in one.data]
            fields["parameters"] = {"encoding": "base64"}
    return post(stack, question, json.dumps(document).encode(), {"Content-Type": "application/json"})


def rest_binary(stack: Stack, question: Question) -> Answer:
    """Over REST with binary tensor data both ways."""
    document = _document(question)
    blobs = [_raw(one) for one in question.inputs]
    for fields, blob in zip(document["inputs"], blobs, strict=True):
        fields["parameters"] = {"binary_data_size": len(blob)}
    document["parameters"] = {**document.get("parameters", {}), "binary_data_output": True}
    header = json.dumps(document).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    return post(stack, question, b"".join((header, *blobs)), headers)


WAYS: dict[str, Way] = {
    "gRPC, raw": grpc_raw,
    "gRPC, typed": grpc_typed,
    "REST, JSON": rest_json,
    "REST, binary": rest_binary,
}


def call_grpc(stack: Stack, message: pb.ModelInferRequest) -> Answer:
    """Send a message as it is.

    Raises:
        RefusedError: The gateway's answer is an error.
    """
    stub = pb_grpc.GRPCInferenceServiceStub(stack.channel)
    try:
        response: pb.ModelInferResponse = stub.ModelInfer(message, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        raise RefusedError(error.code().name, error.details() or "") from None
    raws: Sequence[bytes | None] = response.raw_output_contents or [None] * len(response.outputs)
    return Answer(
        model=response.model_name,
        version=response.model_version,
        request_id=response.id,
        outputs={o.name: _of_message(o, raw) for o, raw in zip(response.outputs, raws, strict=True)},
        parameters={
            key: getattr(value, value.WhichOneof("parameter_choice") or "")
            for key, value in response.parameters.items()
        },
    )


def call_bytes(stack: Stack, data: bytes) -> bytes:
    """Call ModelInfer with bytes that need not be a message; raises grpc.RpcError."""
    method = "/inference.GRPCInferenceService/ModelInfer"
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = stack.channel.unary_unary(
        method, request_serializer=bytes, response_deserializer=bytes
    )
    return call(data, timeout=TIMEOUT_S)


def infer_path(model: str, version: str = "") -> str:
    """The path of an inference call."""
    return f"/v2/models/{model}{f'/versions/{version}' if version else ''}/infer"


def post(stack: Stack, question: Question, body: bytes, headers: Mapping[str, str]) -> Answer:
    """POST a body to the inference path of the question's model; raises as `read_rest`."""
    path = infer_path(question.model, question.version)
    return read_rest(stack.rest.post(path, content=body, headers=dict(headers)))


def read_rest(response: httpx.Response) -> Answer:
    """Read an inference response over REST, binary outputs included.

    Raises:
        RefusedError: It is an error.
    """
    if response.status_code != 200:
        raise RefusedError(response.status_code, response.json()["error"])
    size = int(response.headers.get("Inference-Header-Content-Length", len(response.content)))
    document, tail = json.loads(response.content[:size]), response.content[size:]
    outputs = {}
    for output in document["outputs"]:
        if "data" in output:
            outputs[output["name"]] = _of_json(output)
        else:
            length = output["parameters"]["binary_data_size"]
            outputs[output["name"]] = _of_raw(output["datatype"], output["shape"], tail[:length])
            tail = tail[length:]
    assert tail == b"", "bytes are left over after the outputs"
    return Answer(
        model=document["model_name"],
        version=document["model_version"],
        request_id=document.get("id", ""),
        outputs=outputs,
        parameters=document.get("parameters", {}),
    )


def _message(question: Question) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(
        model_name=question.model, model_version=question.version, id=question.request_id
    )
    for one in question.inputs:
        message.inputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
    for name, parameters in question.outputs.items():
        _fill(message.outputs.add(name=name).parameters, parameters)
    _fill(message.parameters, question.parameters)
    return message


def _fill(target: Any, parameters: Mapping[str, Parameter]) -> None:  # noqa: ANN401  protobuf's map
    for key, value in parameters.items():
        setattr(target[key], _PARAMETER[type(value)], value)


def _document(question: Question) -> dict[str, Any]:
    document: dict[str, Any] = {
        "inputs": [
            {"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in question.inputs
        ],
        "outputs": [
            {"name": name, "parameters": dict(parameters)} for name, parameters in question.outputs.items()
        ],
        "parameters": dict(question.parameters),
    }
    if question.request_id:
        document["id"] = question.request_id
    return document


def _raw(one: Input) -> bytes:
    if isinstance(one.data, np.ndarray):
        return one.data.tobytes()
    return b"".join(struct.pack("<I", len(element)) + element for element in one.data)


def _of_message(output: pb.ModelInferResponse.InferOutputTensor, raw: bytes | None) -> Any:  # noqa: ANN401  by datatype
    if raw is not None:
        return _of_raw(output.datatype, output.shape, raw)
    values = getattr(output.contents, _TYPED[output.datatype])
    if output.datatype == "BYTES":
        return list(values)
    return np.array(values, DTYPES[output.datatype]).reshape(output.shape)


def _of_json(output: Mapping[str, Any]) -> Any:  # noqa: ANN401  by datatype
    if output["datatype"] == "BYTES":
        return [text.encode() for text in output["data"]]
    values = [np.nan if value is None else value for value in output["data"]]
    return np.array(values, DTYPES[output["datatype"]]).reshape(output["shape"])


def _of_raw(datatype: str, shape: Sequence[int], raw: bytes) -> Any:  # noqa: ANN401  by datatype
    if datatype != "BYTES":
        return np.frombuffer(raw, DTYPES[datatype]).reshape(shape)
    elements: list[bytes] = []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        elements.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    return elements
