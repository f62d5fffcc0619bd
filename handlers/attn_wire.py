"""The packed request and reply between gateway and handler: a pure codec, version 1.

Request (read by attn_request)
------------------------------
One TorchServe request is one batch. TorchServe's own map of named bytes is the frame, so nothing is copied:

* key `attnserve`: a JSON object in UTF-8. `version` is 1, `outputs` any of `probabilities`, `logits`,
  `attention`, and `parts` a list of
    - `{"kind": "image", "count": n}`: n encoded images, one blob each
    - `{"kind": "pixels", "shape": [n, H, W, 3]}`: RGB, uint8, row-major, one blob
    - `{"kind": "input", "shape": [n, 3, H, W]}`: float32, little-endian, normalised, one blob
* keys `0`, `1`, ...: the blobs in the order in which the parts consume them. Items are numbered from 0 over
  all parts in order.
* `{"version": 1, "describe": true}` without blobs asks for the model's card.

Reply
-----
One blob, everything little-endian:

| bytes | meaning |
|---|---|
| 0-3 | `ATSR` |
| 4 | version, 1 |
| 5-7 | zero |
| 8-11 | uint32: length h of the header, a multiple of 8 |
| 12-15 | zero |
| 16 to 16+h | header: JSON, padded with spaces |
| from 16+h | the arrays in the header's order, row-major, each padded with zeros to a multiple of 8 bytes |

The header of an answer has `count`, `status` (gRPC code per item, 0 is OK), `messages` (item index as text to
message, failed items only), `outputs` (`name`, `dtype`, `shape` per array), `timings_us` (`decode`,
`inference`, `encode`) and `device`; the rows of failed items are NaN. A request that failed as a whole has
`{"count": 0, "error": {"code": 3, "message": "..."}}`, a described model `{"count": 0, "describe": {...}}`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Buffer: TypeAlias = bytes | bytearray
Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Item: TypeAlias = Buffer | Pixels | Floats

VERSION: Final = 1
OUTPUTS: Final = ("probabilities", "logits", "attention")

_MAGIC: Final = b"ATSR"
_PREFIX: Final = struct.Struct("<4sB3xI4x")
_ALIGNMENT: Final = 8


class WireError(ValueError):
    """A packed request breaks the layout: the sender's fault, answered and never retried."""

    code: Final = 3  # gRPC's INVALID_ARGUMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """Encoded images, one blob each."""

    blobs: tuple[Buffer, ...]

    def items(self) -> Iterator[Item]:
        """The blobs."""
        return iter(self.blobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelsPart:
    """Decoded images of one size: RGB uint8 [n,H,W,3]."""

    pixels: Pixels

    def items(self) -> Iterator[Item]:
        """The images, uint8 [H,W,3]."""
        return iter(self.pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPart:
    """Normalised inputs: float32 [n,3,H,W]."""

    tensors: Floats

    def items(self) -> Iterator[Item]:
        """The inputs, float32 [3,H,W]."""
        return iter(self.tensors)


Part: TypeAlias = ImagePart | PixelsPart | InputPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A batch to classify: its parts in order, and the names of the arrays to answer with."""

    outputs: tuple[str, ...]
    parts: tuple[Part, ...]

    def items(self) -> list[Item]:
        """All items of all parts, in the order of their numbers."""
        return [item for part in self.parts for item in part.items()]


@dataclass(frozen=True, slots=True)
class Describe:
    """The question for the model's card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer for N items.

    Attributes:
        status: gRPC code per item, 0 is OK.
        messages: Why an item failed, by its index.
        outputs: Arrays float32 [N,...] by name; the rows of failed items are NaN.
        timings_us: Microseconds by stage.
        device: Where the net ran, as torch writes it.
    """

    status: Sequence[int]
    messages: Mapping[int, str]
    outputs: Mapping[str, Floats]
    timings_us: Mapping[str, int]
    device: str


def encode_reply(reply: Reply) -> bytes:
    """Pack an answer."""
    arrays = {name: np.ascontiguousarray(array, dtype="<f4") for name, array in reply.outputs.items()}
    header = {
        "count": len(reply.status),
        "status": list(reply.status),
        "messages": {str(index): message for index, message in reply.messages.items()},
        "outputs": [
            {"name": name, "dtype": "FP32", "shape": list(array.shape)} for name, array in arrays.items()
        ],
        "timings_us": dict(reply.timings_us),
        "device": reply.device,
    }
    return _frame(header, list(arrays.values()))


def encode_error(code: int, message: str) -> bytes:
    """Pack the refusal of a whole request; `code` is gRPC's."""
    return _frame({"count": 0, "error": {"code": code, "message": message}}, ())


def encode_describe(card: Mapping[str, object]) -> bytes:
    """Pack a model's card."""
    return _frame({"count": 0, "describe": dict(card)}, ())


def _frame(header: Mapping[str, object], arrays: Sequence[Floats]) -> bytes:
    # "replace": a message may quote half a surrogate pair, which UTF-8 cannot carry.
    text = json.dumps(header, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode(
        "utf-8", "replace"
    )
    text += b" " * (-len(text) % _ALIGNMENT)
    chunks = [_PREFIX.pack(_MAGIC, VERSION, len(text)), text]
    for array in arrays:
        data = array.tobytes()
        chunks += [data, bytes(-len(data) % _ALIGNMENT)]
    return b"".join(chunks)
