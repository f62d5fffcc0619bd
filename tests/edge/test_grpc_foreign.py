"""Calls that may stay, and such as are open to all, take no more than their part of the door."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from serve.edge.grpc_reading import SMALL_BYTES
from serve.edge.limits import EdgeLimits
from serve.pb import open_inference_pb2 as pb
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.edge.doors import grpc_door
from tests.edge.fakes import FakeService

EVERYTHING = health_pb2.HealthCheckRequest()


async def test_watches_leave_room_for_other_calls(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need no token and may stay for ever; one that ends makes room for another."""
    monkeypatch.setattr("serve.edge.grpc_foreign.MAX_STREAMS", 2)
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    watches = [watch(EVERYTHING) for _ in range(2)]
    for one in watches:
        await one.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watch(EVERYTHING).read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await GRPCInferenceServiceStub(channel).ServerReady(pb.ServerReadyRequest())).ready
    watches[0].cancel()
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await watch(EVERYTHING).read()
                break


async def test_streams_leave_room_for_other_calls(fake: FakeService) -> None:
    """They may be idle for as long as they like; one that ends makes room for another."""
    async with (
        grpc_door(fake, limits=EdgeLimits(max_streams=1)) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        idle = stub.ModelStreamInfer()
        await idle.write(pb.ModelInferRequest(model_name="nobody"))
        await idle.read()
        with pytest.raises(grpc.aio.AioRpcError, match="1 streams are open") as caught:
            await stub.ModelStreamInfer().read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
        await idle.done_writing()
        assert await idle.read() is grpc.aio.EOF
        another = stub.ModelStreamInfer()
        await another.write(pb.ModelInferRequest(model_name="nobody"))
        assert "nobody" in (await another.read()).error_message
        another.cancel()


@pytest.mark.parametrize(
    "method",
    [
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/RepositoryModelLoad",
        "/grpc.health.v1.Health/Check",
    ],
)
async def test_small_methods_take_small_messages(fake: FakeService, method: str) -> None:
    """What needs no image has no use for a large message; a large one is refused, whatever it says."""
    async with (
        grpc_door(fake) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel,
    ):
        call: Any = channel.unary_unary(method)
        with pytest.raises(grpc.aio.AioRpcError, match=f"at most {SMALL_BYTES}") as caught:
            await call(bytes(SMALL_BYTES + 1))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
