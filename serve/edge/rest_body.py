"""Reading a REST request's body, bounded in size (also once it is decompressed) and in time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from serve.core.errors import CallerGoneError, InvalidRequestError, TooLargeError, UnsupportedError
from serve.edge.limits import EdgeLimits
from serve.edge.tensors import show

# zlib's window bits: 16 more means the gzip format. HTTP's "deflate" is the zlib format (RFC 9110, 8.4.1.2).
_WINDOW_BITS: Mapping[str, int] = {
    "gzip": zlib.MAX_WBITS + 16,
    "x-gzip": zlib.MAX_WBITS + 16,
    "deflate": zlib.MAX_WBITS,
}


async def read_body(request: Request, limits: EdgeLimits) -> bytes:
    """Read the body and undo its Content-Encoding.

    Raises:
        TooLargeError: More than `max_message_bytes`, as sent or decompressed.
        InvalidRequestError: It is not what its Content-Encoding says.
        UnsupportedError: Any other Content-Encoding.
        CallerGoneError: The caller left while sending.
        HTTPException: 408, it did not arrive within `body_timeout_s`. Only HTTP has a number for that:
            the core's deadline is about our time, this one about the caller's.
    """
    most = limits.max_message_bytes
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            body = await _receive(request, most)
    except TimeoutError:
        message = f"the body did not arrive within {limits.body_timeout_s:g} s"
        raise HTTPException(408, message, {"Connection": "close"}) from None
    except ClientDisconnect:
        raise CallerGoneError("the caller left while sending the body") from None
    return _decompressed(body, request.headers.get("content-encoding", "identity").lower(), most)


async def _receive(request: Request, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
    return b"".join(chunks)


def _decompressed(body: bytes, encoding: str, most: int) -> bytes:
    if encoding == "identity":
        return body
    if encoding not in _WINDOW_BITS:
        raise UnsupportedError(f"Content-Encoding is {show(encoding)}, must be gzip, deflate or identity")
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        content = inflater.decompress(body, most + 1)
    except zlib.error:
        raise InvalidRequestError(f"body: is not {encoding}, as Content-Encoding says") from None
    if len(content) > most:
        raise _too_large(most)
    if not inflater.eof or inflater.unused_data:
        raise InvalidRequestError(f"body: must be one whole {encoding} stream")
    return content


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"body: is larger than {most} bytes, the most that is allowed")
