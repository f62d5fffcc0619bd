"""gRPC's own services on our door: they are open to all, and take no more than their part of it."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest
from grpc_health.v1 import health_pb2

from serve.pb import open_inference_pb2 as pb
from serve.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub

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
