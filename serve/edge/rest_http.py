"""What HTTP asks of every route: HEAD beside GET, answers whole, and compressed for those who accept it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_BYTES = 1024  # below that, compression makes an answer longer or saves less than a packet
_OFF_LOOP_BYTES = 1 << 16  # zlib lets other threads run; longer answers must not hold up other callers
_LEVEL = 1  # probabilities hardly shrink further, and the levels above take several times as long

# zlib's window bits: 16 more means the gzip format. HTTP's "deflate" is the zlib format (RFC 9110, 8.4.1.2).
# The first is taken where the caller likes both as well.
_WINDOW_BITS: Mapping[str, int] = {"gzip": zlib.MAX_WBITS + 16, "deflate": zlib.MAX_WBITS}
# What is compressed by its own format, and would only grow.
_PACKED = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})


class HeadAnswers:
    """ASGI middleware: HEAD is answered as GET would be, without the body (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, without_body)
        else:
            await self._app(scope, receive, send)


class WholeAnswers:
    """ASGI middleware: nothing is answered in parts; who asks for one gets the whole (RFC 9110, 14.2).

    Of a page's files Starlette would give parts, and say in plain text what is wrong with a range.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "accept-ranges" in headers:
                    headers["accept-ranges"] = "none"
            await send(message)

        if scope["type"] == "http":
            headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, told)


class CompressedAnswers:
    """ASGI middleware: answers of some length are compressed with gzip or deflate for those who accept it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        if scope["type"] == "http" and _compressible(scope["path"]):
            send = _Compressor(send, accepted_coding(Headers(scope=scope).get("accept-encoding", ""))).send
        await self._app(scope, receive, send)


def _compressible(path: str) -> bool:
    """Of the protocol only inference, as Triton does: its asyncio client for HTTP cannot undo more.

    That client lets aiohttp accept both codings in its name, always, and reads all other answers as they are.
    """
    return not path.startswith("/v2") or path.endswith("/infer")


def accepted_coding(accept: str) -> str | None:
    """The coding of ours that an Accept-Encoding likes best; None for no compression (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = _weight(parameter)
    everything_else = weights.get("*", 0.0)
    best = max(_WINDOW_BITS, key=lambda coding: weights.get(coding, everything_else))
    return best if weights.get(best, everything_else) > 0 else None


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0  # whatever it means, the plain answer is not wrong


class _Compressor:
    """Holds an answer back until it is complete, then sends it compressed, or as it was.

    An answer that does not say how long it is has no end yet: it goes out as it is made.
    """

    def __init__(self, send: Send, coding: str | None) -> None:
        self._send = send
        self._coding = coding
        self._start: Message = {}
        self._chunks: list[bytes] = []
        self._streamed = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            self._streamed = "content-length" not in Headers(raw=message["headers"])
            if not self._streamed:
                return
        if self._streamed or message["type"] not in ("http.response.start", "http.response.body"):
            await self._send(message)
            return
        self._chunks.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = await self._coded(b"".join(self._chunks))
        await self._send(self._start)
        await self._send({**message, "body": body})

    async def _coded(self, body: bytes) -> bytes:
        headers = MutableHeaders(scope=self._start)
        if "accept-encoding" not in headers.get("vary", "").lower():
            headers.add_vary_header("Accept-Encoding")
        partial = "content-range" in headers
        packed = "content-encoding" in headers or headers.get("content-type") in _PACKED
        if self._coding is None or len(body) < MIN_BYTES or partial or packed:
            return body
        if len(body) < _OFF_LOOP_BYTES:
            body = _compress(body, self._coding)
        else:
            body = await asyncio.to_thread(_compress, body, self._coding)
        headers["Content-Encoding"] = self._coding
        headers["Content-Length"] = str(len(body))
        return body


def _compress(body: bytes, coding: str) -> bytes:
    compressor = zlib.compressobj(_LEVEL, wbits=_WINDOW_BITS[coding])
    return compressor.compress(body) + compressor.flush()
