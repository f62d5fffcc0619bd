"""Tensors as both wires carry them: shapes, raw bytes, numbers; and the rules that hold for all of these.

The rules are the protocol's ("Tensor Data", "Binary Tensor Data Extension"): raw numbers are
little-endian, row-major and unpadded; a raw element of BYTES is its length (uint32) and its bytes.
"""

from __future__ import annotations

import reprlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.core.errors import InvalidRequestError, UnsupportedError
from serve.core.messages import DATATYPE_SIZES, Parameter, Tensor

# BF16 is missing: numpy has no such type, and no wire writes it as numbers.
DTYPES: Mapping[str, np.dtype[Any]] = {
    datatype: np.dtype(code)
    for datatype, code in {
        "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
        "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
        "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
    }.items()
}  # fmt: skip
RAW_ONLY = frozenset({"FP16", "BF16"})

MAX_RANK = 32
MAX_ELEMENTS = 2**63 - 1
# Each element of BYTES costs a Python object, so 64 MiB of empty ones must not pass.
MAX_BYTES_ELEMENTS = 1 << 16

_LENGTH = struct.Struct("<I")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 80
_short.maxlist = _short.maxtuple = 8


def show(value: object) -> str:
    """Write a caller's value for a message; what is long is shortened in the middle."""
    return _short.repr(value)


def checked_shape(name: str, datatype: str, dims: Iterable[int]) -> tuple[int, ...]:
    """Check datatype and shape of the tensor `name`.

    Args:
        name: The tensor's name, for the message.
        datatype: What the caller says it is.
        dims: Sizes of the dimensions, any integers.

    Raises:
        InvalidRequestError: An unknown datatype, a negative size, too many dimensions or elements.
    """
    shape = tuple(dims)
    if datatype not in DATATYPE_SIZES and datatype != "BYTES":
        raise InvalidRequestError(
            f"input {show(name)}: datatype is {show(datatype)}, "
            f"must be one of {', '.join(DATATYPE_SIZES)}, BYTES"
        )
    if len(shape) > MAX_RANK:
        raise InvalidRequestError(
            f"input {show(name)}: {len(shape)} dimensions, at most {MAX_RANK} are allowed"
        )
    if any(size < 0 for size in shape):
        raise InvalidRequestError(f"input {show(name)}: shape is {_dims(shape)}, no size may be negative")
    most = MAX_BYTES_ELEMENTS if datatype == "BYTES" else MAX_ELEMENTS
    elements = 1
    for size in shape:
        elements *= size
        if elements > most:
            raise InvalidRequestError(
                f"input {show(name)}: shape is {_dims(shape)}, {datatype} may have at most {most} elements"
            )
    return shape


def check_count(tensor: Tensor, count: int) -> None:
    """Check that `count` elements were given for the shape of `tensor`.

    Raises:
        InvalidRequestError: They are more or fewer than the shape says.
    """
    if count != tensor.elements:
        raise InvalidRequestError(
            f"input {show(tensor.name)}: {count} elements were given, "
            f"shape {_dims(tensor.shape)} needs {tensor.elements}"
        )


def refuse_shared_memory(name: str, parameters: Mapping[str, Parameter]) -> None:
    """Refuse a tensor whose data the caller left in shared memory.

    Raises:
        UnsupportedError: It did.
    """
    for key in parameters:
        if key.startswith("shared_memory_"):
            raise UnsupportedError(f"tensor {show(name)}: {show(key)} is not offered, send the data itself")


def from_raw(name: str, datatype: str, shape: tuple[int, ...], raw: bytes | memoryview) -> Tensor:
    """Build an input from raw bytes, which are copied once; datatype and shape have been checked.

    Raises:
        InvalidRequestError: The length does not fit the shape, or the content the datatype.
    """
    if datatype == "BYTES":
        return Tensor(name=name, datatype=datatype, shape=shape, data=_split(name, shape, raw))
    expected = prod(shape) * DATATYPE_SIZES[datatype]
    if len(raw) != expected:
        raise InvalidRequestError(
            f"input {show(name)}: {len(raw)} raw bytes were given, "
            f"{datatype} of shape {_dims(shape)} needs {expected}"
        )
    data = bytes(raw)
    if datatype == "BOOL" and data.translate(None, b"\x00\x01"):
        raise InvalidRequestError(f"input {show(name)}: a raw BOOL must be 0 or 1")
    return Tensor(name=name, datatype=datatype, shape=shape, data=data)


def to_raw(tensor: Tensor) -> bytes:
    """Write a tensor's data as raw bytes; the inverse of `from_raw`."""
    if isinstance(tensor.data, bytes):
        return tensor.data
    return b"".join(_LENGTH.pack(len(element)) + element for element in tensor.data)


def pack(name: str, datatype: str, values: Sequence[float]) -> NDArray[Any]:
    """Make an array of numbers that came one by one; those of FP32 that overflow turn infinite.

    Args:
        name: The tensor's name, for the message.
        datatype: A key of `DTYPES`.
        values: Integers for an integer datatype, booleans for BOOL, else any numbers.

    Returns:
        1-dimensional, little-endian.

    Raises:
        InvalidRequestError: An integer is out of the datatype's range.
    """
    dtype = DTYPES[datatype]
    if dtype.kind in "iu" and values:
        limits = np.iinfo(dtype)
        if min(values) < limits.min or max(values) > limits.max:
            index = next(i for i, value in enumerate(values) if not limits.min <= value <= limits.max)
            raise InvalidRequestError(
                f"input {show(name)}: element {index} is {show(values[index])}, "
                f"{datatype} holds {limits.min} to {limits.max}"
            )
    with np.errstate(over="ignore"):
        return np.array(values, dtype=dtype)


def unpack(tensor: Tensor) -> NDArray[Any]:
    """View a numeric tensor's data as a 1-dimensional array; its datatype is a key of `DTYPES`."""
    return np.frombuffer(tensor.data, DTYPES[tensor.datatype])  # type: ignore[arg-type]


def data_type(datatype: str) -> str:
    """Name a datatype as the model configuration does: TYPE_FP32; BYTES is TYPE_STRING there."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


def _split(name: str, shape: tuple[int, ...], raw: bytes | memoryview) -> tuple[bytes, ...]:
    wanted = prod(shape)
    elements: list[bytes] = []
    offset = 0
    while len(elements) < wanted:
        start = offset + _LENGTH.size
        if start > len(raw):
            raise InvalidRequestError(
                f"input {show(name)}: the raw bytes end before element {len(elements)} "
                f"of the {wanted} that shape {_dims(shape)} needs"
            )
        (length,) = _LENGTH.unpack_from(raw, offset)
        offset = start + length
        if offset > len(raw):
            raise InvalidRequestError(
                f"input {show(name)}: element {len(elements)} says that it has {length} bytes, "
                f"{len(raw) - start} are left"
            )
        elements.append(bytes(raw[start:offset]))
    if offset != len(raw):
        raise InvalidRequestError(
            f"input {show(name)}: {len(raw) - offset} raw bytes are left over "
            f"after the {wanted} elements of shape {_dims(shape)}"
        )
    return tuple(elements)


def _dims(shape: Sequence[int]) -> str:
    return show(list(shape))
