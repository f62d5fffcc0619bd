"""Questions to the gateway and its answers, in each form of the Open Inference Protocol that is tested."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loadtests.corpus import Sample
from serve.pb import open_inference_pb2 as pb

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
OUTPUTS: Final = ("probabilities", "label")

Floats: TypeAlias = NDArray[np.float32]


class AnswerError(Exception):
    """A reply is not what the protocol says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One inference request.

    Attributes:
        request_id: Comes back in the answer; shows whether two answers were exchanged.
        model: Name of the model.
        samples: The images, at least one.
    """

    request_id: str
    model: str
    samples: tuple[Sample, ...]

    @property
    def corrupt(self) -> int | None:
        """Index of the first image that must be refused; None when all are good."""
        return next((index for index, sample in enumerate(self.samples) if not sample.label), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for N images.

    Attributes:
        request_id: Of the question.
        model: That answered.
        probabilities: float32 [N,K].
        labels: N of them.
    """

    request_id: str
    model: str
    probabilities: Floats
    labels: tuple[str, ...]


def length_prefixed(blobs: Sequence[bytes]) -> bytes:
    """A raw BYTES tensor: each element is its length (uint32, little-endian) and its bytes."""
    return b"".join(struct.pack("<I", len(blob)) + blob for blob in blobs)


def grpc_request(question: Question) -> pb.ModelInferRequest:
    """The question for ModelInfer."""
    blobs = [sample.encoded for sample in question.samples]
    request = pb.ModelInferRequest(
        model_name=question.model, id=question.request_id, raw_input_contents=[length_prefixed(blobs)]
    )
    request.inputs.add(name="image", datatype="BYTES", shape=[len(blobs)])
    for name in OUTPUTS:
        request.outputs.add(name=name)
    return request


def grpc_answer(response: pb.ModelInferResponse) -> Answer:
    """Read ModelInfer's reply.

    Raises:
        AnswerError: It is not what the protocol says.
    """
    raw = {
        tensor.name: blob
        for tensor, blob in zip(response.outputs, response.raw_output_contents, strict=False)
    }
    shapes = {tensor.name: tuple(tensor.shape) for tensor in response.outputs}
    try:
        return Answer(
            request_id=response.id,
            model=response.model_name,
            probabilities=np.frombuffer(raw["probabilities"], "<f4").reshape(shapes["probabilities"]),
            labels=_texts(raw["label"]),
        )
    except (KeyError, ValueError, struct.error) as error:
        raise AnswerError(f"the reply is malformed: {error!r}") from error


def rest_binary(question: Question) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a POST to /infer with binary tensor data in both directions."""
    blob = length_prefixed([sample.encoded for sample in question.samples])
    tensor = _image_tensor(question) | {"parameters": {"binary_data_size": len(blob)}}
    document = _document(question, tensor) | {"parameters": {"binary_data_output": True}}
    header = json.dumps(document).encode()
    headers = {HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
    return header + blob, headers


def rest_json(question: Question) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a POST to /infer that is plain JSON, with the images in base64."""
    tensor = _image_tensor(question) | {
        "parameters": {"encoding": "base64"},
        "data": [base64.b64encode(sample.encoded).decode() for sample in question.samples],
    }
    return json.dumps(_document(question, tensor)).encode(), {"Content-Type": "application/json"}


def rest_answer(body: bytes, header_length: str | None) -> Answer:
    """Read the reply to a POST to /infer.

    Args:
        body: All of it.
        header_length: The reply's header `HEADER_LENGTH`; None when it has none, and all is JSON.

    Raises:
        AnswerError: It is not what the protocol says.
    """
    size = len(body) if header_length is None else int(header_length)
    try:
        document = json.loads(body[:size])
        outputs = {output["name"]: output for output in document["outputs"]}
        blobs = _blobs(document["outputs"], body[size:])
        return Answer(
            request_id=document.get("id", ""),
            model=document["model_name"],
            probabilities=_floats(outputs["probabilities"], blobs),
            labels=_labels(outputs["label"], blobs),
        )
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise AnswerError(f"the reply is malformed: {error!r}") from error


def _image_tensor(question: Question) -> dict[str, Any]:
    return {"name": "image", "datatype": "BYTES", "shape": [len(question.samples)]}


def _document(question: Question, tensor: Mapping[str, Any]) -> dict[str, Any]:
    outputs = [{"name": name} for name in OUTPUTS]
    return {"id": question.request_id, "inputs": [tensor], "outputs": outputs}


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
    return tuple(output["data"]) if blob is None else _texts(blob)


def _texts(blob: bytes) -> tuple[str, ...]:
    texts: list[str] = []
    at = 0
    while at < len(blob):
        (length,) = struct.unpack_from("<I", blob, at)
        texts.append(blob[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return tuple(texts)
