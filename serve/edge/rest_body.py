"""Reading a REST request's body, bounded in size (also decompressed), in time, and over all callers."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.core.errors import CallerGoneError, InvalidRequestError, TooLargeError, UnsupportedError
from serve.core.room import Room, Share
from serve.edge.limits import EdgeLimits
from serve.edge.tensors import show

# zlib's window bits: 16 more means the gzip format. HTTP's "deflate" is the zlib format (RFC 9110, 8.4.1.2).
_WINDOW_BITS: Mapping[str, int] = {
    "gzip": zlib.MAX_WBITS + 16,
    "x-gzip": zlib.MAX_WBITS + 16,
    "deflate": zlib.MAX_WBITS,
}
# Decompressed step by step: room is taken before memory is. What a step leaves of a slice is copied.
_SLICE_BYTES = 1 << 16
_STEP_BYTES = 1 << 20


class RoomForBodies:
    """ASGI middleware: what a request's body takes of the room is given back when the request ends."""

    def __init__(self, app: ASGIApp, room: Room) -> None:
        self._app = app
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, with an empty share as `request.state.share`."""
        with self._room.share() as share:
            scope.setdefault("state", {})["share"] = share
            await self._app(scope, receive, send)


async def read_body(request: Request, limits: EdgeLimits) -> bytes:
    """Read the body and undo its Content-Encoding.

    Raises:
        TooLargeError: More than `max_message_bytes`, as sent or decompressed.
        OverloadedError: The bodies of all requests together leave no room for it.
        InvalidRequestError: It is not what its Content-Encoding says.
        UnsupportedError: Any other Content-Encoding.
        CallerGoneError: The caller left while sending.
        HTTPException: 408, it did not arrive within `body_timeout_s`. Only HTTP has a number for that:
            the core's deadline is about our time, this one about the caller's.
    """
    most, share = limits.max_message_bytes, request.state.share
    announced = request.headers.get("content-length", "")
    if announced.isdecimal():
        _check_size(int(announced), most)
        share.check(int(announced))
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            body = await _receive(request, most, share)
    except TimeoutError:
        message = f"the body did not arrive within {limits.body_timeout_s:g} s"
        raise HTTPException(408, message, {"Connection": "close"}) from None
    except ClientDisconnect:
        raise CallerGoneError("the caller left while sending the body") from None
    encoding = request.headers.get("content-encoding", "identity").lower()
    return body if encoding == "identity" else await _decompressed(body, encoding, most, share)


async def _receive(request: Request, most: int, share: Share) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        _check_size(size, most)
        share.take(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def _decompressed(body: bytes, encoding: str, most: int, share: Share) -> bytes:
    if encoding not in _WINDOW_BITS:
        raise UnsupportedError(f"Content-Encoding is {show(encoding)}, must be gzip, deflate or identity")
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    chunks: list[bytes] = []
    size = 0
    try:
        for chunk in _inflated(inflater, body):
            size += len(chunk)
            _check_size(size, most)
            share.take(len(chunk))
            chunks.append(chunk)
            await asyncio.sleep(0)  # a large body must not hold up the other callers
    except zlib.error:
        raise InvalidRequestError(f"body: is not {encoding}, as Content-Encoding says") from None
    if not inflater.eof or inflater.unused_data:
        raise InvalidRequestError(f"body: must be one whole {encoding} stream")
    return b"".join(chunks)


def _inflated(inflater: zlib._Decompress, body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), _SLICE_BYTES):
        left, chunk = body[start : start + _SLICE_BYTES], b""
        # A full step may have left something inside the inflater although it took all that it was given.
        while left or len(chunk) == _STEP_BYTES:
            chunk = inflater.decompress(left, _STEP_BYTES)
            left = inflater.unconsumed_tail
            yield chunk


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise TooLargeError(f"body: is larger than {most} bytes, the most that is allowed")
