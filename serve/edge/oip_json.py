"""The inference call over REST: JSON, and JSON followed by raw tensors ("binary_tensor_data"). Pure.

Ours beside the protocol: an input of BYTES with the parameter ``encoding: base64`` has its elements in
base64, so that a client that only speaks JSON can send images.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve.core.errors import InvalidRequestError
from serve.core.messages import InferRequest, InferResponse, Kind, Parameter, RequestedOutput, Tensor
from serve.edge import strict_json as js
from serve.edge import tensors
from serve.edge.tensors import show

HEADER_LENGTH = "Inference-Header-Content-Length"

# Exactly these types: to Python True is an int, to JSON it is not.
_ELEMENT_TYPES: Mapping[str, tuple[frozenset[type], str]] = {
    "b": (frozenset({bool}), "booleans"),
    "i": (frozenset({int}), "integers"),
    "u": (frozenset({int}), "integers"),
    "f": (frozenset({int, float}), "numbers"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InferBody:
    """The body of a POST to /infer and what its headers say about it.

    Attributes:
        content: Decompressed.
        header_length: The header `HEADER_LENGTH` as it came; None when it did not.
        wants_json: Whether `Accept` asks for JSON by name. It decides when the body is a bare image,
            which has no other place for such a wish.
    """

    content: bytes
    header_length: str | None = None
    wants_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedReply:
    """The body of the answer; `header_length` is None when all of it is JSON."""

    content: bytes
    header_length: int | None = None


def decode_infer(body: InferBody, *, model: str, version: str) -> InferRequest:
    """Read an inference request; model and version are the path's.

    Raises:
        InvalidRequestError: It breaks a rule of the protocol or of JSON.
        UnsupportedError: It points to shared memory.
    """
    size = _header_length(body)
    if size == 0:
        return _bare_image(body, model=model, version=version)
    document = js.loads_object(body.content[:size])
    tail = _Tail(body.content, size)
    inputs = tuple(_input(fields, tail) for fields in js.get_objects(document, "inputs"))
    tail.check_used_up()
    parameters = js.get_parameters(document, "")
    _flag(parameters, "binary_data_output", "")
    return InferRequest(
        model=model,
        version=version,
        request_id=js.get_text(document, "id", "", default=""),
        inputs=inputs,
        outputs=tuple(map(_requested_output, js.get_objects(document, "outputs"))),
        parameters=parameters,
    )


def encode_infer(response: InferResponse, request: InferRequest) -> EncodedReply:
    """Write the answer to `request`, which says what of it is binary."""
    blobs: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for tensor in response.outputs:
        fields = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if _is_binary(tensor.name, request):
            blobs.append(tensors.to_raw(tensor))
            outputs.append(fields | {"parameters": {"binary_data_size": len(blobs[-1])}})
        else:
            outputs.append(fields | _data(tensor))
    document: dict[str, Any] = {"model_name": response.model, "model_version": response.version}
    if response.request_id:
        document["id"] = response.request_id
    if response.parameters:
        document["parameters"] = {key: _finite(value) for key, value in response.parameters.items()}
    document["outputs"] = outputs
    header = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    if not blobs:
        return EncodedReply(content=header)
    return EncodedReply(content=b"".join((header, *blobs)), header_length=len(header))


class _Tail:
    """The raw tensors after the JSON, taken from the front."""

    def __init__(self, content: bytes, start: int) -> None:
        self._content = content
        self._offset = start

    def take(self, name: str, size: int) -> bytes:
        left = len(self._content) - self._offset
        if not 0 <= size <= left:
            raise InvalidRequestError(
                f"input {show(name)}: binary_data_size is {show(size)}, {left} bytes of the body are left"
            )
        self._offset += size
        return self._content[self._offset - size : self._offset]

    def check_used_up(self) -> None:
        left = len(self._content) - self._offset
        if left:
            raise InvalidRequestError(f"body: {left} bytes are left over after the inputs' binary data")


def _header_length(body: InferBody) -> int:
    size = len(body.content)
    if body.header_length is None:
        return size
    # int() would also take signs, blanks, underscores and other scripts' digits.
    if re.fullmatch("[0-9]{1,18}", body.header_length) is None or int(body.header_length) > size:
        raise InvalidRequestError(
            f"{HEADER_LENGTH}: is {show(body.header_length)}, must be an integer from 0 to {size}, "
            "the size of the body"
        )
    return int(body.header_length)


def _bare_image(body: InferBody, *, model: str, version: str) -> InferRequest:
    if not body.content:
        raise InvalidRequestError("body: is empty, must be an image or JSON")
    image = Tensor(name=Kind.IMAGE.value, datatype="BYTES", shape=(1,), data=(body.content,))
    return InferRequest(
        model=model,
        version=version,
        inputs=(image,),
        parameters={"binary_data_output": not body.wants_json},
    )


def _input(fields: Mapping[str, Any], tail: _Tail) -> Tensor:
    name = js.get_text(fields, "name", "input ")
    where = f"input {show(name)}: "
    parameters = js.get_parameters(fields, where)
    tensors.refuse_shared_memory(name, parameters)
    dims = js.get_list(fields, "shape", where)
    if not all(type(size) is int for size in dims):
        raise InvalidRequestError(f"{where}shape is {show(dims)}, must be a list of integers")
    datatype = js.get_text(fields, "datatype", where)
    shape = tensors.checked_shape(name, datatype, dims)
    size = parameters.get("binary_data_size")
    if size is None:
        values = _flat(where, js.get_list(fields, "data", where), shape)
        return _from_json(Tensor(name=name, datatype=datatype, shape=shape, data=b""), values, parameters)
    if type(size) is not int:
        raise InvalidRequestError(f"{where}binary_data_size is {show(size)}, must be an integer")
    if fields.get("data") is not None:
        raise InvalidRequestError(f"{where}has data, must not since binary_data_size is given")
    return tensors.from_raw(name, datatype, shape, tail.take(name, size))


def _flat(where: str, data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Undo nesting level by level, so that depth is bounded by the shape."""
    if not data or not isinstance(data[0], list):
        return data
    level: list[Any] = [data]
    for size in shape:
        if not all(isinstance(row, list) and len(row) == size for row in level):
            raise InvalidRequestError(f"{where}data is nested otherwise than shape {show(list(shape))} says")
        level = [item for row in level for item in row]
    return level


def _from_json(empty: Tensor, values: list[Any], parameters: Mapping[str, Parameter]) -> Tensor:
    """Fill a tensor that has everything but its data."""
    tensors.check_count(empty, len(values))
    name, datatype = empty.name, empty.datatype
    data: bytes | tuple[bytes, ...]
    if datatype == "BYTES":
        data = _byte_strings(name, values, parameters.get("encoding", "utf-8"))
    elif datatype in tensors.RAW_ONLY:
        raise InvalidRequestError(f"input {show(name)}: {datatype} can only be sent as binary data")
    else:
        data = _numbers(name, datatype, values)
    return Tensor(name=name, datatype=datatype, shape=empty.shape, data=data)


def _numbers(name: str, datatype: str, values: list[Any]) -> bytes:
    allowed, kind = _ELEMENT_TYPES[tensors.DTYPES[datatype].kind]
    if not allowed.issuperset(map(type, values)):
        index = next(i for i, value in enumerate(values) if type(value) not in allowed)
        raise InvalidRequestError(
            f"input {show(name)}: element {index} is {show(values[index])}, {datatype} takes {kind}"
        )
    try:
        array = tensors.pack(name, datatype, values)
    except OverflowError:  # an integer beyond the range of double precision
        array = np.array([np.inf])
    if not np.isfinite(array).all():
        raise InvalidRequestError(f"input {show(name)}: a number is too large for {datatype}")
    return array.tobytes()


def _byte_strings(name: str, values: list[Any], encoding: Parameter) -> tuple[bytes, ...]:
    if encoding not in ("utf-8", "base64"):
        raise InvalidRequestError(
            f"input {show(name)}: encoding is {show(encoding)}, must be 'utf-8' or 'base64'"
        )
    return tuple(_byte_string(f"input {show(name)}: element {i}", v, encoding) for i, v in enumerate(values))


def _byte_string(what: str, value: object, encoding: Parameter) -> bytes:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{what} is {show(value)}, BYTES takes strings")
    if encoding == "utf-8":
        return js.checked_text(value, what).encode()
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise InvalidRequestError(f"{what} is {show(value)}, not base64") from None


def _requested_output(fields: Mapping[str, Any]) -> RequestedOutput:
    name = js.get_text(fields, "name", "output ")
    where = f"output {show(name)}: "
    parameters = js.get_parameters(fields, where)
    tensors.refuse_shared_memory(name, parameters)
    _flag(parameters, "binary_data", where)
    return RequestedOutput(name=name, parameters=parameters)


def _flag(parameters: Mapping[str, Parameter], key: str, where: str) -> None:
    if not isinstance(parameters.get(key, False), bool):
        raise InvalidRequestError(f"{where}{key} is {show(parameters[key])}, must be a boolean")


def _is_binary(name: str, request: InferRequest) -> bool:
    default = request.parameters.get("binary_data_output", False)
    wishes = (output.parameters.get("binary_data") for output in request.outputs if output.name == name)
    wish = next(wishes, None)
    return bool(default if wish is None else wish)


def _data(tensor: Tensor) -> dict[str, Any]:
    """Write the data as JSON: strings, or numbers with null for those that JSON has not."""
    if isinstance(tensor.data, tuple):
        return _strings(tensor.data)
    array = tensors.unpack(tensor)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return {"data": array.tolist()}
    return {"data": [_finite(value) for value in array.tolist()]}


def _strings(elements: Iterable[bytes]) -> dict[str, Any]:
    try:
        return {"data": [element.decode() for element in elements]}
    except UnicodeDecodeError:
        encoded = [base64.b64encode(element).decode() for element in elements]
        return {"parameters": {"encoding": "base64"}, "data": encoded}


def _finite(value: Parameter) -> Parameter | None:
    return value if not isinstance(value, float) or math.isfinite(value) else None
