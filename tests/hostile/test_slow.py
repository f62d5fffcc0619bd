"""Callers who send slowly, not at all, or too many at a time: nobody waits for them, and nobody else pays."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from serve.edge.grpc_reading import SLOW_S, SMALL_S
from tests.hostile.gateway_process import (
    BODY_TIMEOUT_S,
    HEADER_TIMEOUT_S,
    MAX_CONNECTIONS,
    MAX_INFLIGHT_BYTES,
    MAX_REQUEST_BYTES,
)
from tests.hostile.raw_http import JSON, POST, Answer, ask, get, post, read_answer
from tests.hostile.target import MODEL_INFER, PATIENCE_S, Neighbour, Target

MARGIN_S = 3.0
LIVE = get(b"/v2/health/live")


async def closed_after(reader: asyncio.StreamReader) -> float:
    """Wait for the end of a connection; gives the seconds it took."""
    started = time.monotonic()
    async with asyncio.timeout(HEADER_TIMEOUT_S + BODY_TIMEOUT_S + MARGIN_S):
        try:
            while await reader.read(1 << 16):
                pass
        except ConnectionError:
            pass
    return time.monotonic() - started


BEGINNINGS = {"nothing": b"", "half a head": POST, "half of a second head": LIVE + POST}


async def test_heads_that_do_not_come(target: Target, beside: Neighbour) -> None:
    """The connection is closed after `header_timeout_s`, the first request or a later one."""

    async def wait_for_end(beginning: bytes) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
        writer.write(beginning)
        seconds = await closed_after(reader)
        writer.transport.abort()
        return seconds

    took = dict(zip(BEGINNINGS, await asyncio.gather(*map(wait_for_end, BEGINNINGS.values())), strict=True))
    allowed = HEADER_TIMEOUT_S + MARGIN_S
    assert {name: s for name, s in took.items() if not HEADER_TIMEOUT_S / 2 < s < allowed} == {}
    assert beside.answers


@pytest.mark.slow
async def test_a_head_byte_by_byte(target: Target, beside: Neighbour) -> None:
    """Sending a little now and then does not prolong it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)

    async def drip() -> None:
        for byte in POST * 20:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    assert await closed_after(reader) < HEADER_TIMEOUT_S + MARGIN_S
    dripping.cancel()
    writer.transport.abort()
    assert beside.answers


@pytest.mark.slow
async def test_a_body_byte_by_byte(target: Target, beside: Neighbour) -> None:
    """It gets 408 after `body_timeout_s`, however often a byte comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
    writer.write(POST + b"Content-Length: 1000\r\n\r\n")

    async def drip() -> None:
        for _ in range(1000):
            writer.write(b" ")
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(BODY_TIMEOUT_S + MARGIN_S):
        answer = await read_answer(reader)
    assert (answer.status, answer.error) == (408, f"the body did not arrive within {BODY_TIMEOUT_S:g} s")
    assert await closed_after(reader) < HEADER_TIMEOUT_S + MARGIN_S
    dripping.cancel()
    writer.transport.abort()
    assert beside.answers


@pytest.mark.slow
async def test_an_answer_that_is_not_taken(target: Target, beside: Neighbour) -> None:
    """Who does not read is cut off after `body_timeout_s`, and what was meant for him is dropped."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", target.http_port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1)
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()
    images = {"name": "image", "datatype": "BYTES", "shape": [100], "data": ["a"] * 100}
    writer.write(post(json.dumps({"inputs": [images]}).encode()) * 90)
    await asyncio.sleep(BODY_TIMEOUT_S + 1.0)
    writer.transport.resume_reading()
    answers = 0
    async with asyncio.timeout(MARGIN_S):
        try:
            while True:
                await read_answer(reader)
                answers += 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
    writer.transport.abort()
    assert answers < 90
    assert beside.answers


@pytest.mark.slow
async def test_requests_without_end(target: Target, beside: Neighbour) -> None:
    """Who asks and asks and never reads is refused before his requests take memory."""
    before = target.resident_bytes
    _, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(post(JSON) * 100)
                await writer.drain()
                await asyncio.sleep(0)
    writer.transport.abort()
    assert target.resident_bytes - before < MAX_INFLIGHT_BYTES
    assert beside.answers


async def test_too_many_connections(target: Target, beside: Neighbour) -> None:
    """Beyond `max_connections` they are refused at once with 503, or take the place of idle ones."""

    async def hold() -> Answer | None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
            held.append(writer)
            async with asyncio.timeout(0.5):
                return await read_answer(reader)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            return None

    held: list[asyncio.StreamWriter] = []
    try:
        answers = await asyncio.gather(*(hold() for _ in range(MAX_CONNECTIONS * 2)))
        refused = [answer for answer in answers if answer]
        # All that are too many; fewer on a machine so busy that some have idled long enough to be displaced.
        assert len(refused) >= MAX_CONNECTIONS // 4
        assert {(answer.status, answer.headers["retry-after"]) for answer in refused} == {(503, "1")}
        # Those that idle make room for one that asks.
        await asyncio.sleep(HEADER_TIMEOUT_S / 4)
        assert (await ask(target.http_port, LIVE)).status == 200
    finally:
        for writer in held:
            writer.transport.abort()
    assert beside.answers


async def test_too_many_bytes_at_a_time(target: Target) -> None:
    """Bodies over `max_inflight_bytes` together: some are refused with 429, and all room is free again."""
    size = MAX_REQUEST_BYTES - 1000
    head = POST + b"Content-Length: %d\r\n\r\n" % size
    senders = MAX_INFLIGHT_BYTES // size + 3
    held: list[asyncio.StreamWriter] = []

    async def almost_send() -> Answer | None:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
        held.append(writer)
        writer.write(head + bytes(size - 1))
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S * 0.75):
                return await read_answer(reader)
        except TimeoutError:
            return None

    answers = await asyncio.gather(*(almost_send() for _ in range(senders)))
    refused = [answer for answer in answers if answer]
    assert 3 <= len(refused) < senders
    assert {(answer.status, answer.headers["retry-after"]) for answer in refused} == {(429, "1")}
    for writer in held:
        writer.transport.abort()
    await asyncio.sleep(0.2)
    image = post(bytes(size), b"Inference-Header-Content-Length: 0")
    assert (await ask(target.http_port, image)).status == 200


@pytest.mark.slow
async def test_what_bombs_take_is_given_back(target: Target, beside: Neighbour) -> None:
    """Decompression bombs leave as much room as there was, and hardly any memory."""
    bomb = post(gzip.compress(bytes(MAX_REQUEST_BYTES + 1)), b"Content-Encoding: gzip")
    before = target.resident_bytes
    for _ in range(6):
        answers = await asyncio.gather(*(ask(target.http_port, bomb, within_s=30) for _ in range(5)))
        assert {answer.status for answer in answers} <= {413, 429}
    assert target.resident_bytes - before < 3 * MAX_INFLIGHT_BYTES
    assert (await ask(target.http_port, post(JSON))).status == 200
    assert beside.answers


SERVER_LIVE = "/inference.GRPCInferenceService/ServerLive"
STALLED = {
    MODEL_INFER: BODY_TIMEOUT_S,
    SERVER_LIVE: SMALL_S,
    "/inference.GRPCInferenceService/RepositoryModelLoad": SMALL_S,
    "/grpc.health.v1.Health/Check": SMALL_S,
    "/grpc.health.v1.Health/Watch": SMALL_S,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": SMALL_S,
}


async def test_messages_that_do_not_come(target: Target, beside: Neighbour) -> None:
    """A gRPC call without its message ends DEADLINE_EXCEEDED, with the reason; only inference takes long."""

    async def never() -> AsyncIterator[bytes]:
        await asyncio.sleep(BODY_TIMEOUT_S + 2 * MARGIN_S)
        yield b""

    async def stall(channel: grpc.aio.Channel, method: str) -> grpc.aio.AioRpcError | None:
        call: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(method)
        try:
            await call(never())
        except grpc.aio.AioRpcError as error:
            return error
        return None

    started = time.monotonic()
    async with grpc.aio.insecure_channel(target.addresses["grpc"]) as channel:
        errors = await asyncio.gather(*(stall(channel, method) for method in STALLED))
        for error, timeout_s in zip(errors, STALLED.values(), strict=True):
            assert error is not None
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert error.details() == f"the message did not arrive within {timeout_s:g} s"
    assert BODY_TIMEOUT_S / 2 < time.monotonic() - started < BODY_TIMEOUT_S + MARGIN_S
    assert beside.answers


async def test_probes_that_stall_take_no_room(target: Target) -> None:
    """However many of them have not sent their message, an inference whose message takes long is answered."""
    stalled = 2 * MAX_INFLIGHT_BYTES // MAX_REQUEST_BYTES

    async def late() -> AsyncIterator[bytes]:
        await asyncio.sleep(SLOW_S + 0.5)
        yield b""

    async with (
        grpc.aio.insecure_channel(target.addresses["grpc"]) as probes,
        grpc.aio.insecure_channel(target.addresses["grpc"]) as channel,
    ):
        live: Any = probes.stream_unary(SERVER_LIVE)
        calls = [live() for _ in range(stalled)]
        await asyncio.gather(*(call.wait_for_connection() for call in calls))
        infer: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(MODEL_INFER)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await infer(late(), timeout=PATIENCE_S)
        assert refused.value.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED, refused.value.details()
        for call in calls:
            call.cancel()


async def test_no_message_at_all(target: Target) -> None:
    """A call that ends before it has said anything is refused."""

    async def nothing() -> AsyncIterator[bytes]:
        for _ in ():
            yield b""

    async with grpc.aio.insecure_channel(target.addresses["grpc"]) as channel:
        call: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(MODEL_INFER)
        with pytest.raises(grpc.aio.AioRpcError, match="no message") as refused:
            await call(nothing(), timeout=PATIENCE_S)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_many_messages_that_do_not_come(target: Target, beside: Neighbour) -> None:
    """Half of the room is for slow messages; the calls beyond are refused, and quick ones still find room."""

    async def never() -> AsyncIterator[bytes]:
        await asyncio.sleep(BODY_TIMEOUT_S + 2 * MARGIN_S)
        yield b""

    async def stall(channel: grpc.aio.Channel) -> grpc.StatusCode:
        call: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(MODEL_INFER)
        try:
            await call(never())
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async with grpc.aio.insecure_channel(target.addresses["grpc"]) as channel:
        codes = await asyncio.gather(*(stall(channel) for _ in range(50)))
    slow = MAX_INFLIGHT_BYTES // 2 // MAX_REQUEST_BYTES
    late = codes.count(grpc.StatusCode.DEADLINE_EXCEEDED)
    assert 1 <= late <= slow  # the neighbour has a few bytes of the room
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 50 - late
    assert beside.answers
