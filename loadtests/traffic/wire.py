"""Questions to the gateway over REST, in each form that is tested, and its answers.

Those over gRPC are in `loadtests.traffic.grpc_wire`: our stubs and tritonclient's cannot be in one process,
and what is here serves both.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from loadtests.traffic.questions import Answer, Floats, Question

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
OUTPUTS: Final = ("probabilities", "label")

# An array's dtype -> name, datatype and stored form of the tensor that it is sent as.
_ARRAYS: Final = {"uint8": ("pixels", "UINT8", "u1"), "float32": ("input", "FP32", "<f4")}


class AnswerError(Exception):
    """A reply is not what the protocol says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """What a question sends, in the protocol's terms; `raw` is its binary data."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes


def tensor_of(question: Question) -> Tensor:
    """The question's only input."""
    if question.array is None:
        blobs = [sample.encoded for sample in question.samples]
        return Tensor(name="image", datatype="BYTES", shape=(len(blobs),), raw=length_prefixed(blobs))
    name, datatype, stored = _ARRAYS[question.array.dtype.name]
    raw = question.array.astype(stored, copy=False).tobytes()
    return Tensor(name=name, datatype=datatype, shape=question.array.shape, raw=raw)


def length_prefixed(blobs: Sequence[bytes]) -> bytes:
    """A raw BYTES tensor: each element is its length (uint32, little-endian) and its bytes."""
    return b"".join(struct.pack("<I", len(blob)) + blob for blob in blobs)


def texts(raw: bytes) -> tuple[str, ...]:
    """The elements of a raw BYTES tensor of UTF-8.

    Raises:
        ValueError: It is none.
    """
    found: list[str] = []
    at = 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        found.append(raw[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return tuple(found)


def text_of(value: object) -> str:
    """A parameter's value, as JSON would write it but for the quotes around a text."""
    return value if isinstance(value, str) else json.dumps(value)


def rest_binary(question: Question) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a POST to /infer with binary tensor data in both directions."""
    tensor = tensor_of(question)
    fields = _fields(tensor) | {"parameters": {"binary_data_size": len(tensor.raw)}}
    header = json.dumps(_document(question, fields, {"binary_data_output": True})).encode()
    headers = {HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
    return header + tensor.raw, headers


def rest_json(question: Question) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a POST to /infer that is plain JSON, with encoded images in base64."""
    fields = _fields(tensor_of(question))
    if question.array is None:
        encoded = [base64.b64encode(sample.encoded).decode() for sample in question.samples]
        fields |= {"parameters": {"encoding": "base64"}, "data": encoded}
    else:
        fields |= {"data": question.array.ravel().tolist()}
    # Without blanks: a tensor is a million commas.
    body = json.dumps(_document(question, fields, {}), separators=(",", ":")).encode()
    return body, {"Content-Type": "application/json"}


def rest_answer(body: bytes, header_length: str | None) -> Answer:
    """Read the reply to a POST to /infer.

    Args:
        body: All of it.
        header_length: The reply's header `HEADER_LENGTH`; None when it has none, and all is JSON.

    Raises:
        AnswerError: It is not what the protocol says.
    """
    try:
        size = len(body) if header_length is None else int(header_length)
        document = json.loads(body[:size])
        outputs = {output["name"]: output for output in document["outputs"]}
        blobs = _blobs(document["outputs"], body[size:])
        return Answer(
            request_id=document.get("id", ""),
            model=document["model_name"],
            probabilities=_floats(outputs["probabilities"], blobs),
            labels=_labels(outputs["label"], blobs),
            parameters={name: text_of(value) for name, value in document.get("parameters", {}).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError, struct.error) as error:
        raise AnswerError(f"the reply is malformed: {error!r}") from error


def rest_refusal(body: bytes) -> str:
    """What the gateway says instead of an answer; all of the body where that is not its JSON."""
    try:
        return str(json.loads(body)["error"])
    except (KeyError, TypeError, ValueError):
        return body.decode(errors="replace")


def _fields(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _document(question: Question, tensor: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    outputs = [{"name": name} for name in OUTPUTS]
    document = {"id": question.request_id, "inputs": [tensor], "outputs": outputs}
    parameters = {**question.parameters, **more}
    return document | ({"parameters": parameters} if parameters else {})


def _blobs(outputs: Sequence[Mapping[str, Any]], tail: bytes) -> dict[str, bytes]:
    """The outputs that are binary, by name; they follow each other in the order of the JSON."""
    found: dict[str, bytes] = {}
    at = 0
    for output in outputs:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            found[output["name"]] = tail[at : at + size]
            at += size
    if at != len(tail):
        raise AnswerError(f"the outputs' binary data has {len(tail)} bytes, the JSON says {at}")
    return found


def _floats(output: Mapping[str, Any], blobs: Mapping[str, bytes]) -> Floats:
    blob = blobs.get(output["name"])
    flat = np.asarray(output["data"], np.float32) if blob is None else np.frombuffer(blob, "<f4")
    return flat.reshape(output["shape"])


def _labels(output: Mapping[str, Any], blobs: Mapping[str, bytes]) -> tuple[str, ...]:
    blob = blobs.get(output["name"])
    return tuple(output["data"]) if blob is None else texts(blob)
