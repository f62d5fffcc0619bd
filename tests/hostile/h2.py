"""HTTP/2 frames made by hand (RFC 9113), for what no client library would send."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
CANCEL = 8


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def hello() -> bytes:
    """What a client begins with."""
    return PREFACE + frame(SETTINGS, 0, 0)


def header_block(*fields: tuple[bytes, bytes]) -> bytes:
    """Literal fields without indexing and without Huffman's code (RFC 7541, 6.2.2); up to 16 kB each."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def call(stream: int, path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """The headers of a gRPC call."""
    fields = (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"),
        (b"te", b"trailers"), (b"content-type", b"application/grpc"), *more,
    )  # fmt: skip
    return frame(HEADERS, END_HEADERS, stream, header_block(*fields))


def message(
    stream: int, data: bytes, *, length: int | None = None, compressed: int = 0, end: bool = True
) -> bytes:
    """A gRPC message in one DATA frame; its prefix may lie."""
    prefix = struct.pack(">BI", compressed, len(data) if length is None else length)
    return frame(DATA, END_STREAM if end else 0, stream, prefix + data)


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of each frame until the connection ends."""
    while True:
        try:
            head = await reader.readexactly(9)
            length = int.from_bytes(head[:3], "big")
            yield head[3], head[4], int.from_bytes(head[5:], "big"), await reader.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError):
            return


def _string(text: bytes) -> bytes:
    most = 0x7F  # what seven bits hold; a longer length goes on (RFC 7541, 5.1)
    if len(text) < most:
        return bytes([len(text)]) + text
    left, digits = len(text) - most, bytearray([most])
    while left >= 128:
        digits.append(left % 128 + 128)
        left //= 128
    return bytes([*digits, left]) + text
