"""Connections that have lasted long enough: the caller comes anew, and nothing is lost by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest

from serve.core.access import Access
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.edge.doors import as_service, grpc_door, http_door
from tests.edge.fakes import FakeService
from tests.relay import Relay

AGE_S = 0.3
# gRPC's core varies the age by a tenth, so that not all callers come back at once.
PAST_IT_S = 1.5 * AGE_S
REQUEST = b"GET /v2/health/live HTTP/1.1\r\nHost: gateway\r\n\r\n"


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Ask on a kept connection; gives the head of the answer, in small letters."""
    writer.write(REQUEST)
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).lower()
    body = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(body))
    return head


@pytest.mark.parametrize(("age_s", "ends"), [(AGE_S, True), (0.0, False)])
async def test_an_old_rest_connection_ends_with_an_answer(
    fake: FakeService, *, age_s: float, ends: bool
) -> None:
    """The first answer after that age says `Connection: close`, and that is the end; with 0 there is none."""
    limits = EdgeLimits(max_connection_age_s=age_s)
    app = build_rest_app(as_service(fake), Access(), limits)
    async with http_door(app, limits) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        young = await ask(reader, writer)
        await asyncio.sleep(PAST_IT_S)
        old = await ask(reader, writer)
        rest = await asyncio.wait_for(reader.read(), 10) if ends else await ask(reader, writer)
        writer.transport.abort()
    assert young.startswith(b"http/1.1 200")
    assert b"connection: close" not in young
    assert old.startswith(b"http/1.1 200")
    assert (b"connection: close" in old) is ends
    assert rest == b"" if ends else rest.startswith(b"http/1.1 200")


@pytest.mark.parametrize(("age_s", "connections"), [(AGE_S, 2), (0.0, 1)])
async def test_a_grpc_caller_comes_anew_and_its_stream_goes_on(
    fake: FakeService, *, age_s: float, connections: int
) -> None:
    """After that age a new call makes a new connection, while an open stream on the old one is answered."""
    ending = asyncio.Event()

    async def questions() -> AsyncIterator[pb.ModelInferRequest]:
        await ending.wait()
        yield pb.ModelInferRequest(model_name="none", id="late")

    async with (
        grpc_door(fake, limits=EdgeLimits(max_connection_age_s=age_s)) as edge,
        (relay := Relay(edge.port)).open() as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        stream = stub.ModelStreamInfer(questions())
        await stub.ServerLive(pb.ServerLiveRequest(), timeout=10)
        await asyncio.sleep(PAST_IT_S)
        await stub.ServerLive(pb.ServerLiveRequest(), timeout=10)
        ending.set()
        answers = [answer async for answer in stream]
    assert relay.connections == connections
    assert len(answers) == 1
