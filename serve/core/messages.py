"""The values that walk through the house: what was asked, what runs as a batch, what came back.

All are frozen. Numeric tensors are raw bytes, little-endian and row-major; BYTES tensors are tuples of
byte strings, one an element. Whoever makes one from what a stranger sent has checked that shapes and
lengths agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import prod

import numpy as np
from numpy.typing import NDArray

from serve.core.trace import Trace

Parameter = bool | int | float | str

# Bytes an element; Open Inference Protocol v2, "Tensor Data Types". BYTES has no fixed size.
DATATYPE_SIZES: Mapping[str, int] = {
    "BOOL": 1, "UINT8": 1, "INT8": 1,
    "UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2,
    "UINT32": 4, "INT32": 4, "FP32": 4,
    "UINT64": 8, "INT64": 8, "FP64": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A named tensor, as it came over the wire or as it goes back.

    Attributes:
        name: The input's or output's name.
        datatype: A key of `DATATYPE_SIZES`, or "BYTES".
        shape: Sizes of the dimensions, none negative.
        data: Raw little-endian bytes, or one byte string an element for BYTES.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | tuple[bytes, ...]

    @property
    def elements(self) -> int:
        """Number of elements that the shape announces."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedOutput:
    """An output that the caller named, with its parameters (classification, binary_data)."""

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """One inference call, in the protocol's terms; not yet checked against a model.

    Attributes:
        model: The name asked for.
        version: The version asked for; "" means the default one.
        request_id: Echoed in the response; may be empty.
        outputs: The outputs named, in order; empty means the default ones.
    """

    model: str
    version: str = ""
    request_id: str = ""
    inputs: tuple[Tensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferResponse:
    """The answer to an `InferRequest`, in the protocol's terms.

    Attributes:
        model: The model that served.
        version: The version that served, never empty.
    """

    model: str
    version: str
    request_id: str
    outputs: tuple[Tensor, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


# Regular expressions of what a model and a version may be called.
MODEL_NAME = r"[a-z0-9][a-z0-9_.-]{0,63}"
MODEL_VERSION = r"[1-9][0-9]{0,5}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model and one of its versions, both resolved."""

    name: str
    version: str

    def __str__(self) -> str:
        """Write it as people do: name:version."""
        return f"{self.name}:{self.version}"


class Kind(Enum):
    """How images are given; the value is the input's name and the wire's `kind`."""

    IMAGE = "image"
    PIXELS = "pixels"
    INPUT = "input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """The images of one request, or a run of them.

    Attributes:
        kind: How they are given.
        blobs: For IMAGE one encoded file an image; otherwise exactly one raw tensor.
        shape: () for IMAGE; [n,H,W,3] (UINT8) for PIXELS; [n,3,H,W] (FP32) for INPUT.
    """

    kind: Kind
    blobs: tuple[bytes, ...]
    shape: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.blobs) if self.kind is Kind.IMAGE else self.shape[0]

    @property
    def size_bytes(self) -> int:
        """Bytes of all images together."""
        return sum(len(blob) for blob in self.blobs)

    def cut(self, start: int, stop: int) -> Items:
        """Images start..stop-1 as `Items` of their own; the whole is returned as it is.

        Args:
            start: First image, from 0.
            stop: One after the last; start < stop <= count.
        """
        if (start, stop) == (0, self.count):
            return self
        if self.kind is Kind.IMAGE:
            return Items(kind=self.kind, blobs=self.blobs[start:stop])
        stride = len(self.blobs[0]) // self.count
        piece = self.blobs[0][start * stride : stop * stride]
        return Items(kind=self.kind, blobs=(piece,), shape=(stop - start, *self.shape[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one engine call carries: runs of images from several requests.

    Attributes:
        parts: At least one; the images are numbered 0.. over all parts in order.
        outputs: Of probabilities, logits, attention: what any of the requests wants.
        traces: Of those requests that are traced.
    """

    parts: tuple[Items, ...]
    outputs: frozenset[str]
    traces: tuple[Trace, ...] = ()

    @property
    def count(self) -> int:
        """Number of images over all parts."""
        return sum(part.count for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds that the handler spent on a batch, by stage."""

    decode_s: float
    inference_s: float
    encode_s: float

    @property
    def stages_s(self) -> dict[str, float]:
        """By the stages' names, in their order."""
        return {"decode": self.decode_s, "inference": self.inference_s, "encode": self.encode_s}

    @property
    def total_s(self) -> float:
        """All of them together."""
        return self.decode_s + self.inference_s + self.encode_s

    def plus(self, other: Timings) -> Timings:
        """The two together."""
        return Timings(
            decode_s=self.decode_s + other.decode_s,
            inference_s=self.inference_s + other.inference_s,
            encode_s=self.encode_s + other.encode_s,
        )


NOTHING_SPENT = Timings(decode_s=0.0, inference_s=0.0, encode_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReply:
    """What an engine answers for a batch of n images.

    Attributes:
        status: n gRPC codes; 0 is OK.
        messages: Public text of each failed image, by index.
        outputs: Name -> float32 [n, columns]; rows of failed images are NaN.
        troubled: Whether an attempt had failed, or taken far too long, before this answer came.
    """

    status: tuple[int, ...]
    messages: Mapping[int, str]
    outputs: Mapping[str, NDArray[np.float32]]
    timings: Timings
    troubled: bool = False

    @property
    def count(self) -> int:
        """Number of images answered."""
        return len(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the batcher gives back for one request of n images: its own rows of every `BatchReply`.

    Attributes:
        queue_s: Seconds from arrival to the release of the last image.
        timings: Summed over the batches that carried the request.
        troubled: Whether any of these batches was; told of one request only of those that shared it.
    """

    status: tuple[int, ...]
    messages: Mapping[int, str]
    outputs: Mapping[str, NDArray[np.float32]]
    queue_s: float
    timings: Timings
    troubled: bool = False
