"""Byte strings as one tensor's data: each behind its length, four little-endian bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_LENGTH = struct.Struct("<I")


def joined(strings: Sequence[bytes]) -> bytes:
    """The data of a BYTES tensor."""
    return b"".join(_LENGTH.pack(len(string)) + string for string in strings)


def split(data: bytes) -> list[bytes]:
    """The byte strings in the data of a BYTES tensor, which must be whole."""
    strings: list[bytes] = []
    start = 0
    while start < len(data):
        start += _LENGTH.size
        end = start + _LENGTH.unpack_from(data, start - _LENGTH.size)[0]
        strings.append(data[start:end])
        start = end
    return strings
