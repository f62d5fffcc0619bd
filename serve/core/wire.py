"""The gateway's side of the packed request and reply: one TorchServe request carries one batch.

Request: TorchServe's own map of named bytes. `attnserve` holds a JSON header, "0", "1", ... hold the
blobs in the order in which the header's parts use them::

    {"version": 1, "outputs": ["probabilities"], "parts": [{"kind": "image", "count": 2},
                                                           {"kind": "pixels", "shape": [1, 8, 8, 3]}]}

Reply: one blob, all numbers little-endian::

    0   "ATSR"                       4   version, 1          5   three zero bytes
    8   uint32, length h of the header, a multiple of 8     12   four zero bytes
    16  JSON header, padded with spaces                     16 + h   float32 arrays, each padded to 8 bytes

A reply comes from another process, which runs the archive's code: nothing in it is believed unchecked,
and whatever is wrong with it is a `WireError`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serve.core.errors import InternalError
from serve.core.messages import Batch, BatchReply, Items, Kind, Timings

WIRE_VERSION = 1
HEADER_KEY = "attnserve"
DESCRIBE_REQUEST: Mapping[str, bytes] = MappingProxyType(
    {HEADER_KEY: json.dumps({"version": WIRE_VERSION, "describe": True}).encode()}
)

_MAGIC = b"ATSR"
_PREFIX = struct.Struct("<4sB3sI4s")
_ALIGNMENT = 8
_FLOAT32 = np.dtype("<f4")
_HIGHEST_CODE = 16  # UNAUTHENTICATED, the last of gRPC's status codes


_T = TypeVar("_T")


class WireError(InternalError):
    """The reply breaks the format; the engine's fault."""


class RefusedBatchError(WireError):
    """The worker could make nothing of the whole request.

    Attributes:
        status: gRPC code that it gave.
    """

    def __init__(self, message: str, status: int) -> None:
        """Keep the worker's message and code."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a worker says of the archive that it runs.

    Attributes:
        signature: The archive's signature.json.
        contents_sha256: Digest of the archive's inner SHA256SUMS.
        device: "cpu", "cuda:0", ...
        handler: Version of the handler.
        recipe: Name of the form in which the net is served; "" from a handler that does not say.
        recipe_reasons: Why other forms are not, one sentence each.
        decoder: What reads JPEG files; "" as for `recipe`.
    """

    signature: Mapping[str, Any]
    contents_sha256: str
    device: str
    handler: str
    recipe: str = ""
    recipe_reasons: tuple[str, ...] = ()
    decoder: str = ""


def pack(batch: Batch) -> dict[str, bytes]:
    """The named bytes that carry a batch; blobs are passed on as they are, not copied."""
    header = {
        "version": WIRE_VERSION,
        "outputs": sorted(batch.outputs),
        "parts": [_part(part) for part in batch.parts],
    }
    packed = {HEADER_KEY: json.dumps(header, separators=(",", ":")).encode()}
    blobs = (blob for part in batch.parts for blob in part.blobs)
    packed.update((str(index), blob) for index, blob in enumerate(blobs))
    return packed


def unpack(reply: bytes) -> BatchReply | Description:
    """Read a packed reply; the arrays share memory with it and are read-only.

    Raises:
        RefusedBatchError: The worker refused the whole batch.
        WireError: The reply breaks the format; the message says where.
    """
    header, arrays = _split(reply)
    if "error" in header:
        error = _typed(header, "error", dict)
        raise RefusedBatchError(_typed(error, "message", str), _code(error.get("code"), "error.code"))
    if "describe" in header:
        return _description(_typed(header, "describe", dict))
    return _batch_reply(header, arrays)


def _part(part: Items) -> dict[str, Any]:
    if part.kind is Kind.IMAGE:
        return {"kind": part.kind.value, "count": part.count}
    return {"kind": part.kind.value, "shape": list(part.shape)}


def _split(reply: bytes) -> tuple[dict[str, Any], memoryview]:
    """Check the prefix; gives the parsed header and the bytes of the arrays."""
    if len(reply) < _PREFIX.size:
        raise WireError(f"reply: has {len(reply)} bytes, the prefix alone has {_PREFIX.size}")
    magic, version, zeros, length, more_zeros = _PREFIX.unpack_from(reply)
    if magic != _MAGIC or any(zeros) or any(more_zeros):
        raise WireError(f"reply: begins with {reply[:16]!r}, which is no packed reply")
    if version != WIRE_VERSION:
        raise WireError(f"reply: is of version {version}, this gateway reads {WIRE_VERSION}")
    end = _PREFIX.size + length
    if length % _ALIGNMENT or end > len(reply):
        raise WireError(f"reply: header length {length} is no multiple of {_ALIGNMENT}, or over the end")
    try:
        header = _parse(reply[_PREFIX.size : end].decode())
    except (ValueError, RecursionError) as error:
        raise WireError(f"reply: header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise WireError("reply: header is no JSON object")
    return header, memoryview(reply)[end:]


def _parse(text: str) -> object:
    parsed = json.loads(text)
    if "\\u" in text:
        # JSON can spell half a surrogate pair, which no UTF-8 answer of ours could carry on.
        json.dumps(parsed, ensure_ascii=False).encode()
    return parsed


def _description(entry: Mapping[str, Any]) -> Description:
    return Description(
        signature=_typed(entry, "signature", dict),
        contents_sha256=_typed(entry, "contents_sha256", str),
        device=_typed(entry, "device", str),
        handler=_typed(entry, "handler", str),
        recipe=_typed(entry, "recipe", str) if "recipe" in entry else "",
        recipe_reasons=_texts(entry, "recipe_reasons") if "recipe_reasons" in entry else (),
        decoder=_typed(entry, "decoder", str) if "decoder" in entry else "",
    )


def _batch_reply(header: Mapping[str, Any], arrays: memoryview) -> BatchReply:
    count = _size(header.get("count"), "count")
    status = tuple(_code(code, "status") for code in _typed(header, "status", list))
    if len(status) != count:
        raise WireError(f"reply: status has {len(status)} entries, count is {count}")
    return BatchReply(
        status=status,
        messages=_messages(_typed(header, "messages", dict), status),
        outputs=_outputs(_typed(header, "outputs", list), count, arrays),
        timings=_timings(_typed(header, "timings_us", dict)),
    )


def _messages(entries: Mapping[str, Any], status: tuple[int, ...]) -> dict[int, str]:
    failed = {str(index): index for index, code in enumerate(status) if code}
    for key, text in entries.items():
        if key not in failed or not isinstance(text, str):
            raise WireError(f"reply: messages has {key!r}, which is no failed image, or no text for it")
    return {failed[key]: text for key, text in entries.items()}


def _outputs(entries: list[Any], count: int, arrays: memoryview) -> dict[str, NDArray[np.float32]]:
    outputs: dict[str, NDArray[np.float32]] = {}
    offset = 0
    for entry in entries:
        name, columns = _output_entry(entry, count)
        if name in outputs:
            raise WireError(f"reply: output {name!r} is there twice")
        size = count * columns * _FLOAT32.itemsize
        if offset + size > len(arrays) or columns > len(arrays):
            raise WireError(f"reply: output {name!r} [{count}, {columns}] runs over the end")
        outputs[name] = np.ndarray((count, columns), _FLOAT32, buffer=arrays, offset=offset)
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    if offset != len(arrays):
        raise WireError(f"reply: has {len(arrays)} bytes of arrays, the header announces {offset}")
    return outputs


def _output_entry(entry: object, count: int) -> tuple[str, int]:
    """Name and columns of an output; its rows are known."""
    if not isinstance(entry, dict):
        raise WireError("reply: an entry of outputs is no JSON object")
    name = _typed(entry, "name", str)
    if entry.get("dtype") != "FP32":
        raise WireError(f"reply: output {name!r} has dtype {entry.get('dtype')!r}, must be FP32")
    shape = [_size(side, f"shape of {name!r}") for side in _typed(entry, "shape", list)]
    if len(shape) != 2 or shape[0] != count:  # noqa: PLR2004 - rows and columns
        raise WireError(f"reply: output {name!r} has shape {shape}, must be [{count}, columns]")
    return name, shape[1]


def _timings(entry: Mapping[str, Any]) -> Timings:
    decode, inference, encode = (_seconds(entry, key) for key in ("decode", "inference", "encode"))
    return Timings(decode_s=decode, inference_s=inference, encode_s=encode)


def _seconds(entry: Mapping[str, Any], key: str) -> float:
    value = entry.get(key)
    # `bool` is an `int` in Python, and an integer may be too large for a float.
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise WireError(f"reply: timings_us.{key} is {value!r}, must be a number from 0 on")
    try:
        return value / 1e6
    except OverflowError as error:
        raise WireError(f"reply: timings_us.{key} is too large") from error


def _typed(entry: Mapping[str, Any], key: str, kind: type[_T]) -> _T:
    value = entry.get(key)
    if not isinstance(value, kind):
        raise WireError(f"reply: {key} is a {type(value).__name__}, must be a {kind.__name__}")
    return value


def _texts(entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
    texts = _typed(entry, key, list)
    if not all(isinstance(text, str) for text in texts):
        raise WireError(f"reply: {key} must be a list of strings")
    return tuple(texts)


def _size(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WireError(f"reply: {what} is {value!r}, must be an integer from 0 on")
    return value


def _code(value: object, what: str) -> int:
    code = _size(value, what)
    if code > _HIGHEST_CODE:
        raise WireError(f"reply: {what} is {code}, gRPC's codes end at {_HIGHEST_CODE}")
    return code
