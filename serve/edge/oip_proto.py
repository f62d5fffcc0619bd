"""The inference call in protobuf: messages of `open_inference.proto` to and from the core's values. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from serve.core.errors import InvalidRequestError
from serve.core.messages import InferRequest, InferResponse, Parameter, RequestedOutput, Tensor
from serve.edge import tensors
from serve.edge.proto_bounds import check_bounds
from serve.edge.proto_raw import without_raw
from serve.edge.tensors import show
from serve.pb import open_inference_pb2 as pb

M = TypeVar("M", bound=Message)


class InferMessage(NamedTuple):
    """A parsed inference request.

    Attributes:
        message: Without its raw tensors, unless they are of the message itself.
        raw: `raw_input_contents`.
    """

    message: pb.ModelInferRequest
    raw: Sequence[bytes | memoryview]


# The field of InferTensorContents that holds a datatype's elements; FP16 and BF16 have none.
CONTENTS_FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}  # fmt: skip

_INT64_MAX = 2**63 - 1

_PARAMETERS: Mapping[type, Callable[[Any], pb.InferParameter]] = {
    bool: lambda value: pb.InferParameter(bool_param=value),
    int: lambda value: (
        pb.InferParameter(uint64_param=value) if value > _INT64_MAX else pb.InferParameter(int64_param=value)
    ),
    float: lambda value: pb.InferParameter(double_param=value),
    str: lambda value: pb.InferParameter(string_param=value),
}


def parse(kind: type[M], data: bytes, max_fields: int | None = None) -> M:
    """Parse a message; `max_fields` where it may have more of them than others.

    Raises:
        InvalidRequestError: The bytes are no such message.
        TooLargeError: It would become too large.
    """
    check_bounds(kind, data, max_fields)
    try:
        return kind.FromString(data)
    except DecodeError:
        raise InvalidRequestError(
            f"the {len(data)} bytes received are not a {kind.DESCRIPTOR.full_name} message"
        ) from None


def parse_infer(data: bytes) -> InferMessage:
    """Parse an inference request; its raw tensors stay where they are. Raises as `parse`."""
    split = without_raw(data)
    if split is not None:
        with contextlib.suppress(DecodeError):  # which is put into words for all of the bytes
            return InferMessage(pb.ModelInferRequest.FromString(split.head), split.raw)
    message = parse(pb.ModelInferRequest, data)
    return InferMessage(message, message.raw_input_contents)


def decode_infer(
    message: pb.ModelInferRequest, raw: Sequence[bytes | memoryview] | None = None
) -> tuple[InferRequest, bool]:
    """Read an inference request.

    Args:
        message: The request.
        raw: Its raw tensors; None: they are in the message.

    Returns:
        The request, and whether its tensors came raw; the response has to follow it in that.

    Raises:
        InvalidRequestError: It breaks a rule of the protocol.
        UnsupportedError: It points to shared memory.
    """
    raw = message.raw_input_contents if raw is None else raw
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequestError(
            f"raw_input_contents: {len(raw)} entries for {len(message.inputs)} inputs, "
            "must be one an input or none"
        )
    inputs = tuple(map(_raw_input, message.inputs, raw)) if raw else tuple(map(_typed_input, message.inputs))
    request = InferRequest(
        model=message.model_name,
        version=message.model_version,
        request_id=message.id,
        inputs=inputs,
        outputs=tuple(_requested_output(output) for output in message.outputs),
        parameters=decode_parameters(message.parameters),
    )
    return request, bool(raw)


def encode_infer(response: InferResponse, *, raw: bool) -> pb.ModelInferResponse:
    """Write an inference response; `raw` as the request was, and where a datatype knows no other way."""
    raw = raw or any(tensor.datatype in tensors.RAW_ONLY for tensor in response.outputs)
    message = pb.ModelInferResponse(
        model_name=response.model,
        model_version=response.version,
        id=response.request_id,
        parameters=_encode_parameters(response.parameters),
    )
    for tensor in response.outputs:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            message.raw_output_contents.append(tensors.to_raw(tensor))
        else:
            getattr(output.contents, CONTENTS_FIELDS[tensor.datatype]).extend(_elements(tensor))
    return message


def decode_parameters(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Parameter]:
    """Read a map of parameters.

    Raises:
        InvalidRequestError: One has no value.
    """
    return {key: _parameter(key, parameter) for key, parameter in parameters.items()}


def _parameter(key: str, parameter: pb.InferParameter) -> Parameter:
    field = parameter.WhichOneof("parameter_choice")
    if field is None:
        raise InvalidRequestError(f"parameter {show(key)} has no value")
    value: Parameter = getattr(parameter, field)
    return value


def _encode_parameters(parameters: Mapping[str, Parameter]) -> dict[str, pb.InferParameter]:
    return {key: _PARAMETERS[type(value)](value) for key, value in parameters.items()}


def _requested_output(output: pb.ModelInferRequest.InferRequestedOutputTensor) -> RequestedOutput:
    parameters = decode_parameters(output.parameters)
    tensors.refuse_shared_memory(output.name, parameters)
    return RequestedOutput(name=output.name, parameters=parameters)


def _raw_input(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | memoryview) -> Tensor:
    shape = _checked_shape(tensor)
    if tensor.HasField("contents"):
        raise InvalidRequestError(
            f"input {show(tensor.name)}: has contents, must not since raw_input_contents is used"
        )
    return tensors.from_raw(tensor.name, tensor.datatype, shape, raw)


def _typed_input(tensor: pb.ModelInferRequest.InferInputTensor) -> Tensor:
    shape = _checked_shape(tensor)
    expected = CONTENTS_FIELDS.get(tensor.datatype)
    if expected is None:
        raise InvalidRequestError(
            f"input {show(tensor.name)}: {tensor.datatype} can only be sent in raw_input_contents"
        )
    given = [field.name for field, _ in tensor.contents.ListFields()]
    if given not in ([], [expected]):
        raise InvalidRequestError(
            f"input {show(tensor.name)}: the data is in {', '.join(given)}, "
            f"{tensor.datatype} must be in {expected} alone"
        )
    values = getattr(tensor.contents, expected)
    data = (
        tuple(values)
        if tensor.datatype == "BYTES"
        else tensors.pack(tensor.name, tensor.datatype, values).tobytes()
    )
    decoded = Tensor(name=tensor.name, datatype=tensor.datatype, shape=shape, data=data)
    tensors.check_count(decoded, len(values))
    return decoded


def _checked_shape(tensor: pb.ModelInferRequest.InferInputTensor) -> tuple[int, ...]:
    tensors.refuse_shared_memory(tensor.name, decode_parameters(tensor.parameters))
    return tensors.checked_shape(tensor.name, tensor.datatype, tensor.shape)


def _elements(tensor: Tensor) -> list[Any]:
    return list(tensor.data) if isinstance(tensor.data, tuple) else tensors.unpack(tensor).tolist()
