"""Bytes on the gRPC port that are no gRPC, or HTTP/2 used as a weapon."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping

import grpc
import pytest

from tests.hostile import h2
from tests.hostile.gateway_process import BODY_TIMEOUT_S, HEADER_TIMEOUT_S, MAX_CONNECTIONS, MAX_REQUEST_BYTES
from tests.hostile.target import MODEL_INFER, PATIENCE_S, Neighbour, Target
from tests.hostile.test_http_wire import HELLO

PATH = MODEL_INFER.encode()
FLOOD = 20_000

# Whatever is sent here, the server ends the connection by itself: at once, or when its patience is over.
ENDED: Mapping[str, bytes] = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": HELLO,
    "zeros": bytes(1000),
    "every byte": bytes(range(256)),
    "nothing": b"",
    "half a preface": h2.PREFACE[:10],
    "a preface alone": h2.PREFACE,
    "no settings": h2.PREFACE + h2.frame(h2.PING, 0, 0, bytes(8)),
    "a frame of 16 MB": h2.hello() + b"\xff\xff\xff\0\0\0\0\0\1",
    "a ping of 7 bytes": h2.hello() + h2.frame(h2.PING, 0, 0, bytes(7)),
    "settings of 5 bytes": h2.hello() + h2.frame(h2.SETTINGS, 0, 0, bytes(5)),
    "headers that are no HPACK": h2.hello() + h2.frame(h2.HEADERS, h2.END_HEADERS, 1, b"\xff" * 50),
    "a continuation of nothing": h2.hello() + h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1),
    "pings without end": h2.hello() + h2.frame(h2.PING, 0, 0, bytes(8)) * FLOOD,
}


async def test_connections_that_are_ended(target: Target, beside: Neighbour) -> None:
    """No such connection is kept."""

    async def is_ended(sent: bytes) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.grpc_port)
        writer.write(sent)
        try:
            async with asyncio.timeout(HEADER_TIMEOUT_S + PATIENCE_S):
                async for kind, *_ in h2.frames(reader):
                    if kind == h2.GOAWAY:
                        break
        except TimeoutError:
            return False
        finally:
            writer.transport.abort()
        return True

    ended = await asyncio.gather(*map(is_ended, ENDED.values()))
    assert [name for name, end in zip(ENDED, ended, strict=True) if not end] == []
    assert beside.answers


@pytest.fixture
async def raw(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An HTTP/2 connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.grpc_port)
    writer.write(h2.hello())
    return reader, writer


Raw = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# What ends a stream, and not only when the connection goes.
LIES: Mapping[str, bytes] = {
    "half a message": h2.message(1, b"abc", length=100, end=False),
    "half a prefix": h2.frame(h2.DATA, 0, 1, b"\0\0"),
    "a message without its end": h2.message(1, b"abc", length=100),
    "a length over the limit": h2.message(1, b"abc", length=MAX_REQUEST_BYTES + 1, end=False),
    "a length of 4 GB": h2.message(1, b"abc", length=0xFFFFFFFF, end=False),
    "more than the length": h2.message(1, b"abc" * 10, length=3),
    "compressed by nobody": h2.message(1, b"abc", compressed=1),
    "compressed in a third way": h2.message(1, b"abc", compressed=2),
    "no message": h2.frame(h2.DATA, h2.END_STREAM, 1),
    "two messages": h2.message(1, b"", end=False) + h2.message(1, b""),
}


@pytest.mark.parametrize("sent", LIES.values(), ids=LIES)
async def test_lies_about_lengths(raw: Raw, beside: Neighbour, sent: bytes) -> None:
    """Each such call is ended, after `body_timeout_s` at the latest."""
    reader, writer = raw
    writer.write(h2.call(1, PATH) + sent)
    async with asyncio.timeout(BODY_TIMEOUT_S + PATIENCE_S):
        async for kind, flags, stream, _ in h2.frames(reader):
            if stream == 1 and (kind == h2.RST_STREAM or (kind == h2.HEADERS and flags & h2.END_STREAM)):
                break
        else:
            pytest.fail("the connection ended before the call")
    writer.transport.abort()
    assert beside.answers


async def test_rapid_resets(target: Target, beside: Neighbour) -> None:
    """Calls that are begun and cancelled by the thousand (CVE-2023-44487) cost next to nothing."""
    before = target.resident_bytes
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", target.grpc_port)
        writer.write(h2.hello())
        reset = struct.pack(">I", h2.CANCEL)
        try:
            for number in range(1, 4000, 2):
                writer.write(h2.call(number, PATH) + h2.frame(h2.RST_STREAM, 0, number, reset))
                if number % 200 == 1:
                    await writer.drain()
        except ConnectionError:
            pass  # it may well hang up
        writer.transport.abort()
    assert target.resident_bytes - before < 50 << 20
    assert beside.answers


async def test_headers_without_end(target: Target, beside: Neighbour) -> None:
    """Continuation after continuation is cut off before it takes memory."""
    before = target.resident_bytes
    reader, writer = await asyncio.open_connection("127.0.0.1", target.grpc_port)
    writer.write(h2.hello() + h2.frame(h2.HEADERS, 0, 1, h2.header_block((b":method", b"POST"))))
    more = h2.frame(h2.CONTINUATION, 0, 1, h2.header_block((b"x-a", b"b" * 10_000)))
    async with asyncio.timeout(HEADER_TIMEOUT_S + 3 * PATIENCE_S):
        try:
            for _ in range(5000):
                writer.write(more)
                await writer.drain()
        except ConnectionError:
            pass
        writer.write(h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1))
        async for kind, _flags, stream, _payload in h2.frames(reader):
            if kind == h2.GOAWAY or stream == 1:
                break
    writer.transport.abort()
    assert target.resident_bytes - before < 50 << 20
    assert beside.answers


async def test_metadata_over_the_limit(target: Target) -> None:
    """The call is refused, by number and not by silence."""
    async with grpc.aio.insecure_channel(target.addresses["grpc"]) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(MODEL_INFER)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"", metadata=(("x-a", "b" * 100_000),), timeout=PATIENCE_S)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_too_many_connections(target: Target, beside: Neighbour) -> None:
    """Connections beyond the limit are closed; those that were there go on."""
    opened = [
        await asyncio.open_connection("127.0.0.1", target.grpc_port) for _ in range(MAX_CONNECTIONS + 20)
    ]
    for _, writer in opened:
        writer.write(h2.hello())

    async def is_closed(reader: asyncio.StreamReader) -> bool:
        try:
            async with asyncio.timeout(HEADER_TIMEOUT_S / 2):
                async for _ in h2.frames(reader):
                    pass
        except TimeoutError:
            return False
        return True

    closed = await asyncio.gather(*(is_closed(reader) for reader, _ in opened))
    for _, writer in opened:
        writer.transport.abort()
    assert sum(closed) >= 20
    assert beside.answers
