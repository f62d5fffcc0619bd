"""From a question to the bytes of each way."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from loadtests.soak.flaws import TOO_LARGE, UNREADABLE
from loadtests.soak.questions import Question
from loadtests.traffic.wire import HEADER_LENGTH, length_prefixed
from serve.core.messages import InferRequest, Kind, Parameter, RequestedOutput, Tensor
from serve.pb import open_inference_pb2 as pb

MAX_REQUEST_BYTES: Final = 8 << 20  # what the gateway under test is told to let in
_DATATYPES: Final = {Kind.IMAGE: "BYTES", Kind.PIXELS: "UINT8", Kind.INPUT: "FP32"}
_NUMPY: Final = {"UINT8": "u1", "FP32": "<f4"}
_TYPED: Final = {"UINT8": "uint_contents", "FP32": "fp32_contents"}
_NOISE: Final = b"\xff\xfe{this is no message of any kind"


@dataclass(frozen=True, slots=True)
class Post:
    """A REST request.

    Attributes:
        announced: The value of Content-Length, where it is not the size of the body.
    """

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    announced: int | None = None


def request_of(question: Question) -> InferRequest:
    """The question in the protocol's terms, spoiled if it is to be."""
    kind = question.items[0].kind
    payloads = tuple(item.payload for item in question.items)
    tensor = Tensor(
        name=kind.value,
        datatype=_DATATYPES[kind],
        shape=(len(payloads), *question.items[0].shape),
        data=payloads if kind is Kind.IMAGE else b"".join(payloads),
    )
    request = InferRequest(
        model=question.model.name,
        version=question.version,
        request_id=question.request_id,
        inputs=(tensor,),
        outputs=tuple(RequestedOutput(name=name) for name in question.outputs),
        parameters=_parameters(question),
    )
    return question.flaw.spoil(request) if question.flaw else request


def grpc_message(question: Question) -> bytes:
    """A ModelInferRequest, serialised."""
    if question.flaw is UNREADABLE:
        return _NOISE
    if question.flaw is TOO_LARGE:
        return bytes(MAX_REQUEST_BYTES + 1)
    return _proto(request_of(question), typed=question.typed).SerializeToString()


def binary_post(question: Question) -> Post:
    """A POST with the tensors as binary data, in both directions."""
    request = request_of(question)
    (tensor,) = request.inputs
    blob = length_prefixed(tensor.data) if isinstance(tensor.data, tuple) else tensor.data
    fields = _fields(tensor) | {"parameters": {"binary_data_size": len(blob)}}
    header = json.dumps(_document(request, fields, {"binary_data_output": True})).encode()
    headers = {HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
    return _spoiled(Post(_path(request), header + blob, headers), question)


def json_post(question: Question) -> Post:
    """A POST that is plain JSON, with files in base64."""
    request = request_of(question)
    (tensor,) = request.inputs
    if isinstance(tensor.data, tuple):
        encoded = [base64.b64encode(blob).decode() for blob in tensor.data]
        fields = _fields(tensor) | {"parameters": {"encoding": "base64"}, "data": encoded}
    else:
        fields = _fields(tensor) | {"data": _numbers(tensor.datatype, tensor.data)}
    body = json.dumps(_document(request, fields, {})).encode()
    return _spoiled(Post(_path(request), body, {"Content-Type": "application/json"}), question)


def _parameters(question: Question) -> dict[str, Parameter]:
    wishes: dict[str, Parameter] = {}
    if question.partial:
        wishes["partial"] = True
    if question.priority:
        wishes["priority"] = question.priority
    if question.by_parameter:
        wishes["timeout"] = round(1e6 * question.deadline_s)
    return wishes


def _proto(request: InferRequest, *, typed: bool) -> pb.ModelInferRequest:
    (tensor,) = request.inputs
    message = pb.ModelInferRequest(
        model_name=request.model, model_version=request.version, id=request.request_id
    )
    for key, value in request.parameters.items():
        _PARAMETERS[type(value)](message.parameters[key], value)
    given = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    for output in request.outputs:
        message.outputs.add(name=output.name)
    if not typed:
        blob = length_prefixed(tensor.data) if isinstance(tensor.data, tuple) else tensor.data
        message.raw_input_contents.append(blob)
    elif isinstance(tensor.data, tuple):
        given.contents.bytes_contents.extend(tensor.data)
    elif tensor.datatype in _TYPED:
        numbers = _numbers(tensor.datatype, tensor.data)
        getattr(given.contents, _TYPED[tensor.datatype]).extend(numbers)
    return message


def _set_bool(parameter: pb.InferParameter, value: Any) -> None:  # noqa: ANN401  by the table below
    parameter.bool_param = value


def _set_int(parameter: pb.InferParameter, value: Any) -> None:  # noqa: ANN401  by the table below
    parameter.int64_param = value


def _set_text(parameter: pb.InferParameter, value: Any) -> None:  # noqa: ANN401  by the table below
    parameter.string_param = value


_PARAMETERS: Final[Mapping[type, Callable[[pb.InferParameter, Any], None]]] = {
    bool: _set_bool,
    int: _set_int,
    str: _set_text,
}


def _document(
    request: InferRequest, tensor: Mapping[str, Any], more: Mapping[str, Parameter]
) -> dict[str, Any]:
    document: dict[str, Any] = {"id": request.request_id, "inputs": [tensor]}
    if parameters := {**request.parameters, **more}:
        document["parameters"] = parameters
    if request.outputs:
        document["outputs"] = [{"name": output.name} for output in request.outputs]
    return document


def _fields(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _numbers(datatype: str, data: bytes) -> list[Any]:
    found: list[Any] = np.frombuffer(data, _NUMPY.get(datatype, "u1")).tolist()
    return found


def _path(request: InferRequest) -> str:
    version = f"/versions/{request.version}" if request.version else ""
    return f"/v2/models/{quote(request.model, safe='')}{version}/infer"


def _spoiled(post: Post, question: Question) -> Post:
    if question.flaw is UNREADABLE:
        return Post(post.path, _NOISE, {"Content-Type": "application/json"})
    if question.flaw is TOO_LARGE:
        # The announcement alone must be enough for the refusal.
        return Post(post.path, b"", post.headers, announced=MAX_REQUEST_BYTES + 1)
    return post
