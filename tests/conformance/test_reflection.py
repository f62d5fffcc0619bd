"""A client that knows nothing but the address: it learns services and messages by reflection, then calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from serve.edge.grpc_reflect import V1
from tests.conformance.gateway import MODEL, Gateway, label_of
from tests.conformance.wire import element

pytestmark = pytest.mark.asyncio(loop_scope="module")

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"


class Stranger:
    """Has no generated code: everything comes over the channel. Blocks, so it runs in a thread."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = DescriptorPool(self.database)

    def methods(self, service: str) -> dict[str, MethodDescriptor]:
        """The methods of a service."""
        return dict(self.pool.FindServiceByName(service).methods_by_name)

    def call(self, service: str, name: str, /, **fields: object) -> Any:  # noqa: ANN401  made at run time
        """Call a method that takes and gives one message."""
        method = self.methods(service)[name]
        ask: Any = self.channel.unary_unary(
            f"/{service}/{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return ask(GetMessageClass(method.input_type)(**fields), timeout=20)


async def test_everything_can_be_called_from_reflection_alone(shared: Gateway) -> None:
    """The services are listed, each can be described, and health and inference answer."""

    def explore() -> None:
        stranger = Stranger(f"127.0.0.1:{shared.edge.port}")
        with stranger.channel:
            services = set(stranger.database.get_services())
            assert {INFERENCE, HEALTH} <= services
            assert all(stranger.methods(service) for service in services)
            assert stranger.call(HEALTH, "Check", service=MODEL).status == 1
            answer = stranger.call(
                INFERENCE,
                "ModelInfer",
                model_name=MODEL,
                inputs=[{"name": "image", "datatype": "BYTES", "shape": [1]}],
                outputs=[{"name": "label"}],
                raw_input_contents=[element(b"png")],
            )
            assert list(answer.raw_output_contents) == [element(label_of(b"png").encode())]

    await asyncio.to_thread(explore)


@pytest.mark.parametrize("service", ["grpc.reflection.v1alpha.ServerReflection", V1])
async def test_reflection_answers_under_both_names(shared: Gateway, service: str) -> None:
    """Newer tools ask v1 first; the messages are the same."""

    async def ask() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=INFERENCE)
        yield reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Thing")

    call: Any = shared.channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    listed, described, unknown = [answer async for answer in call(ask())]
    assert INFERENCE in [found.name for found in listed.list_services_response.service]
    assert len(described.file_descriptor_response.file_descriptor_proto) == 1
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
