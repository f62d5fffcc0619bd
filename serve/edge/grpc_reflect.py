"""Reflection: tools ask a gRPC server what it offers. grpcio brings v1alpha; v1 has the same messages."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serve.edge.grpc_foreign import ForeignServices

V1 = "grpc.reflection.v1.ServerReflection"


def add_reflection(server: ForeignServices, services: Sequence[str]) -> None:
    """Tell of these services, under the name that tools try first (v1) and the older one.

    v1 itself is not told of: its descriptor does not exist in Python, and a tool that then asks for it fails.
    """
    info = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer((*services, reflection.SERVICE_NAME)).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (reflection.SERVICE_NAME, V1):
        server.add_registered_method_handlers(name, {"ServerReflectionInfo": info})
