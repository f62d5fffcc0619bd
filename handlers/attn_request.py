"""Reads the packed request that attn_wire describes: bytes in, values or WireError out, nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from .attn_wire import (
    OUTPUTS,
    VERSION,
    Buffer,
    Describe,
    ImagePart,
    InputPart,
    Part,
    PixelsPart,
    Request,
    WireError,
)

HEADER_KEY: Final = "attnserve"
MAX_HEADER_BYTES: Final = 1 << 20
MAX_DIMENSION: Final = 1_000_000
_SHOWN_CHARACTERS: Final = 80


def is_packed(row: Mapping[str, object]) -> bool:
    """Whether a TorchServe request is a packed one, and not a stock client's."""
    return HEADER_KEY in row


def parse(row: Mapping[str, object]) -> Request | Describe:
    """Read a packed request. Arrays are views of the row's buffers, not copies.

    Args:
        row: One TorchServe request: key to bytes.

    Raises:
        WireError: The row breaks the layout; the message names field, value and rule.
    """
    header = _header(row)
    if "describe" in header:
        return _describe(header, row)
    _refuse_unknown(header, known=("version", "outputs", "parts"), where="header")
    outputs = _outputs(header)
    blobs = _Blobs(row)
    parts = tuple(_part(part, f"parts[{index}]", blobs) for index, part in enumerate(_parts(header)))
    blobs.refuse_rest()
    return Request(outputs=outputs, parts=parts)


def _header(row: Mapping[str, object]) -> dict[str, object]:
    raw = _buffer(row, HEADER_KEY)
    if len(raw) > MAX_HEADER_BYTES:
        raise WireError(
            f"{HEADER_KEY}: the header has {len(raw)} bytes; at most {MAX_HEADER_BYTES} are allowed"
        )
    try:
        header = json.loads(bytes(raw).decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"{HEADER_KEY}: not a JSON object in UTF-8: {_short(error)}") from error
    if not isinstance(header, dict):
        raise WireError(f"{HEADER_KEY}: must be a JSON object, got {_short(header)}")
    version = header.get("version")
    if type(version) is not int or version != VERSION:
        raise WireError(f"version: must be {VERSION}, got {_short(version)}")
    return header


def _refuse_constant(name: str) -> object:
    raise WireError(f"{HEADER_KEY}: {name} is no JSON number")


def _describe(header: Mapping[str, object], row: Mapping[str, object]) -> Describe:
    _refuse_unknown(header, known=("version", "describe"), where="a describe header")
    if header["describe"] is not True:
        raise WireError(f"describe: must be true, got {_short(header['describe'])}")
    if len(row) > 1:
        raise WireError(f"describe: takes no blobs, got {len(row) - 1}")
    return Describe()


def _outputs(header: Mapping[str, object]) -> tuple[str, ...]:
    names = header.get("outputs")
    if not isinstance(names, list) or not names:
        raise WireError(f"outputs: must be a list of at least one name, got {_short(names)}")
    for name in names:
        if name not in OUTPUTS:
            raise WireError(f"outputs: {_short(name)} is none of {', '.join(OUTPUTS)}")
    if len(set(names)) != len(names):
        raise WireError(f"outputs: each name may stand once, got {_short(names)}")
    return tuple(names)


def _parts(header: Mapping[str, object]) -> list[object]:
    parts = header.get("parts")
    if not isinstance(parts, list) or not parts:
        raise WireError(f"parts: must be a list of at least one part, got {_short(parts)}")
    return parts


class _Blobs:
    """The row's blobs, handed out in the order of their keys."""

    def __init__(self, row: Mapping[str, object]) -> None:
        self._row = row
        self._used = 0

    def take(self, where: str) -> Buffer:
        key = str(self._used)
        if key not in self._row:
            raise WireError(f"{where}: blob {key!r} is missing; {len(self._row) - 1} came with the header")
        self._used += 1
        return _buffer(self._row, key)

    def refuse_rest(self) -> None:
        expected = {HEADER_KEY, *map(str, range(self._used))}
        for key in self._row:
            if key not in expected:
                raise WireError(
                    f"key {_short(key)}: no part consumes it; the parts consume {self._used} blobs"
                )


def _part(part: object, where: str, blobs: _Blobs) -> Part:
    if not isinstance(part, dict):
        raise WireError(f"{where}: must be an object, got {_short(part)}")
    kind = part.get("kind")
    parse = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parse is None:
        raise WireError(f"{where}.kind: {_short(kind)} is none of {', '.join(_PARSERS)}")
    return parse(part, where, blobs)


def _image_part(part: Mapping[str, object], where: str, blobs: _Blobs) -> ImagePart:
    _refuse_unknown(part, known=("kind", "count"), where=where)
    count = _dimension(part.get("count"), f"{where}.count")
    return ImagePart(blobs=tuple(blobs.take(f"{where}.count {count}") for _ in range(count)))


def _pixels_part(part: Mapping[str, object], where: str, blobs: _Blobs) -> PixelsPart:
    shape = _shape(part, where)
    if shape[3] != len("RGB"):
        raise WireError(f"{where}.shape: must be [n,H,W,3], got {list(shape)}")
    blob = _sized(blobs.take(where), shape, np.dtype(np.uint8), where)
    return PixelsPart(pixels=np.frombuffer(blob, np.uint8).reshape(shape))


def _input_part(part: Mapping[str, object], where: str, blobs: _Blobs) -> InputPart:
    shape = _shape(part, where)
    if shape[1] != len("RGB"):
        raise WireError(f"{where}.shape: must be [n,3,H,W], got {list(shape)}")
    blob = _sized(blobs.take(where), shape, np.dtype("<f4"), where)
    return InputPart(tensors=np.frombuffer(blob, "<f4").reshape(shape))


_PARSERS: Final[dict[str, Callable[[Mapping[str, object], str, _Blobs], Part]]] = {
    "image": _image_part,
    "pixels": _pixels_part,
    "input": _input_part,
}


def _shape(part: Mapping[str, object], where: str) -> tuple[int, int, int, int]:
    _refuse_unknown(part, known=("kind", "shape"), where=where)
    shape = part.get("shape")
    if not isinstance(shape, list) or len(shape) != 4:  # noqa: PLR2004 # an image batch has four axes
        raise WireError(f"{where}.shape: must be a list of 4 integers, got {_short(shape)}")
    n, second, third, fourth = (_dimension(value, f"{where}.shape") for value in shape)
    return n, second, third, fourth


def _dimension(value: object, where: str) -> int:
    if type(value) is not int or not 1 <= value <= MAX_DIMENSION:
        raise WireError(f"{where}: must be an integer from 1 to {MAX_DIMENSION}, got {_short(value)}")
    return value


def _sized(blob: Buffer, shape: tuple[int, ...], dtype: np.dtype[np.generic], where: str) -> Buffer:
    expected = math.prod(shape) * dtype.itemsize
    if len(blob) != expected:
        raise WireError(
            f"{where}: shape {list(shape)} of {dtype.name} takes {expected} bytes, got {len(blob)}"
        )
    return blob


def _buffer(row: Mapping[str, object], key: str) -> Buffer:
    value = row.get(key)
    if not isinstance(value, Buffer):
        raise WireError(f"key {key!r}: must hold bytes, got {type(value).__name__}")
    return value


def _refuse_unknown(document: Mapping[str, object], *, known: Sequence[str], where: str) -> None:
    for key in document:
        if key not in known:
            raise WireError(f"{where}: unknown key {_short(key)}; known are {', '.join(known)}")


def _short(value: object) -> str:
    """A value for a message: whole when short, cut when long."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
