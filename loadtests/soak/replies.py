"""What may come back for a question, and how an answer is read from the bytes of each way."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from serve.core.errors import Code
from serve.pb import open_inference_pb2 as pb

_NUMPY: Final = {"FP32": "<f4", "INT32": "<i4"}
_TYPED: Final = {"FP32": "fp32_contents", "INT32": "int_contents"}

Column: TypeAlias = NDArray[Any] | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outputs by name: numbers in their shape, or texts."""

    request_id: str
    model: str
    version: str
    outputs: Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gateway said no.

    Attributes:
        codes: What the status stands for; more than one where the protocol does not tell them apart.
        by_gateway: False when the gateway's own code did not see the request: gRPC's library refused it.
    """

    codes: frozenset[Code]
    text: str
    by_gateway: bool = True


@dataclass(frozen=True, slots=True)
class Expired:
    """Our own gRPC library stopped waiting at the deadline that the gateway had been told."""


@dataclass(frozen=True, slots=True)
class HungUp:
    """We left, as the question wanted it."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing came, although the deadline and some more have passed."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Something came that the protocol does not allow, or the connection ended."""

    text: str


Reply: TypeAlias = Answer | Refusal | Expired | HungUp | Silence | Broken


def of_proto(data: bytes) -> Answer | Broken:
    """Read a serialised ModelInferResponse."""
    try:
        return of_message(pb.ModelInferResponse.FromString(data))
    except DecodeError as error:
        return Broken(f"the answer is no ModelInferResponse: {error}")


def of_message(message: pb.ModelInferResponse) -> Answer | Broken:
    """Read a ModelInferResponse, raw or typed."""
    raw = list(message.raw_output_contents)
    try:
        outputs = {
            tensor.name: _raw(tensor, raw[index]) if raw else _typed(tensor)
            for index, tensor in enumerate(message.outputs)
        }
    except (IndexError, KeyError, ValueError, struct.error) as error:
        return Broken(f"the answer is malformed: {error!r}")
    return Answer(
        request_id=message.id, model=message.model_name, version=message.model_version, outputs=outputs
    )


def of_rest(body: bytes, header_length: str | None) -> Answer | Broken:
    """Read the body of a reply to a POST to /infer; `header_length` is None when all of it is JSON."""
    size = len(body) if header_length is None else int(header_length)
    try:
        document = json.loads(body[:size])
        outputs: dict[str, Column] = {}
        for output in document["outputs"]:
            blob_size = output.get("parameters", {}).get("binary_data_size", 0)
            blob, size = body[size : size + blob_size], size + blob_size
            outputs[output["name"]] = _rest_column(output, blob)
        if size != len(body):
            return Broken(f"the answer has {len(body)} bytes, its JSON says {size}")
        return Answer(
            request_id=document.get("id", ""),
            model=document["model_name"],
            version=document["model_version"],
            outputs=outputs,
        )
    except (KeyError, TypeError, ValueError, struct.error) as error:
        return Broken(f"the answer is malformed: {error!r}")


def _raw(tensor: pb.ModelInferResponse.InferOutputTensor, blob: bytes) -> Column:
    if tensor.datatype == "BYTES":
        return _texts(blob)
    return np.frombuffer(blob, _NUMPY[tensor.datatype]).reshape(tuple(tensor.shape))


def _typed(tensor: pb.ModelInferResponse.InferOutputTensor) -> Column:
    if tensor.datatype == "BYTES":
        return tuple(text.decode() for text in tensor.contents.bytes_contents)
    numbers = getattr(tensor.contents, _TYPED[tensor.datatype])
    return np.array(numbers, _NUMPY[tensor.datatype]).reshape(tuple(tensor.shape))


def _rest_column(output: Mapping[str, Any], blob: bytes) -> Column:
    datatype = output["datatype"]
    if "data" not in output:
        if datatype == "BYTES":
            return _texts(blob)
        return np.frombuffer(blob, _NUMPY[datatype]).reshape(output["shape"])
    if datatype == "BYTES":
        return tuple(output["data"])
    # What is not finite is null in JSON, and NaN again here.
    return np.array(output["data"], np.float64).reshape(output["shape"])


def _texts(blob: bytes) -> tuple[str, ...]:
    texts: list[str] = []
    at = 0
    while at < len(blob):
        (length,) = struct.unpack_from("<I", blob, at)
        texts.append(blob[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return tuple(texts)
