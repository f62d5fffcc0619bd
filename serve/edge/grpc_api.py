"""The gRPC door: the protocol's service, grpc.health.v1 and reflection over one Service."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, NoReturn, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serve.core.access import Access, Role
from serve.core.call import Call
from serve.core.errors import NotFoundError
from serve.edge import oip_proto
from serve.edge.grpc_methods import InferenceApi, Rpc
from serve.edge.limits import EdgeLimits
from serve.edge.refusals import refusals
from serve.edge.status import Failure, failure
from serve.pb import open_inference_pb2 as pb
from serve.service import Service

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
PROCESS = "gateway"  # the name under which grpc.health.v1 tells that the process runs

Context = grpc.aio.ServicerContext[Any, Any]

_SERVING = {
    True: health_pb2.HealthCheckResponse.SERVING,
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
}


class GrpcEdge:
    """A gRPC server and what its health service tells.

    Attributes:
        port: Set by `listen`.
    """

    def __init__(self, server: grpc.aio.Server, service: Service) -> None:
        """Add the health service to a server that has the rest."""
        self.port = 0
        self._server = server
        self._service = service
        self._health = health.aio.HealthServicer()
        self._changed = asyncio.Event()
        self._draining = False
        self._publisher: asyncio.Task[None] | None = None
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)

    def listen(self, address: str) -> int:
        """Bind "host:port" without TLS and return the port, which for 0 is a free one.

        Raises:
            RuntimeError: It cannot be bound.
        """
        self.port = self._server.add_insecure_port(address)
        return self.port

    async def start(self) -> None:
        """Serve."""
        await self._publish()
        await self._server.start()
        self._publisher = asyncio.create_task(self._publish_changes(), name="grpc-health")

    async def stop(self, grace: float) -> None:
        """Take no new calls, and after `grace` seconds end those that still run."""
        if self._publisher is not None:
            self._publisher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._publisher
        await self._server.stop(grace)

    def refresh(self, _model: str = "") -> None:
        """Tell the health service soon what the service then says; many calls make one update."""
        self._changed.set()

    def drain(self) -> None:
        """Tell from now on that nothing is ready; calls are still answered."""
        self._draining = True
        self.refresh()

    async def _publish_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._publish()

    async def _publish(self) -> None:
        names = {entry.name for entry in self._service.repository_index()}
        ready = {"": self._service.ready(), **{name: self._is_ready(name) for name in names}}
        for name, serving in ready.items():
            await self._health.set(name, _SERVING[serving and not self._draining])
        await self._health.set(PROCESS, _SERVING[self._service.live()])

    def _is_ready(self, name: str) -> bool:
        try:
            return self._service.model_ready(name)
        except NotFoundError:  # it went while we asked
            return False


def build_grpc_server(service: Service, access: Access, limits: EdgeLimits) -> GrpcEdge:
    """Make the gRPC server; it is neither bound to a port nor started."""
    server = grpc.aio.server(options=_options(limits), maximum_concurrent_rpcs=limits.max_concurrent_calls)
    api = InferenceApi(service)
    handlers = {name: _unary_handler(rpc, access, service) for name, rpc in api.unary().items()}
    handlers["ModelStreamInfer"] = _stream_handler(api, access, service)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))
    reflection.enable_server_reflection((SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return GrpcEdge(server, service)


def _options(limits: EdgeLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", -1),  # what we send follows from what we let in
        ("grpc.max_metadata_size", limits.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", limits.max_metadata_bytes),
        ("grpc.max_concurrent_streams", limits.max_concurrent_streams),
        ("grpc.max_connection_age_ms", round(limits.max_connection_age_s * 1000)),
        ("grpc.keepalive_time_ms", 30_000),  # finds callers whose network vanished
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # ... and lets them look for us
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not share it
    ]


# The methods are registered without deserializers: where one fails, gRPC answers UNKNOWN with the
# name of a Python class, and a message that cannot be parsed is plainly the caller's INVALID_ARGUMENT.


def _unary_handler(rpc: Rpc, access: Access, service: Service) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(data: bytes, context: Context) -> bytes:
        try:
            with refusals(service, "grpc") if rpc.infers else contextlib.nullcontext():
                call = _call(context, access, rpc.needs)
                request = oip_proto.parse(rpc.request, data)
            answer = await rpc.answer(request, call)
        except Exception as err:  # noqa: BLE001  the last line of defence; failure() logs bugs
            await _abort(context, failure(err))
        return answer.SerializeToString()

    return grpc.unary_unary_rpc_method_handler(handle)


def _stream_handler(api: InferenceApi, access: Access, service: Service) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        try:
            with refusals(service, "grpc"):
                call = _call(context, access, Role.INFER)
        except Exception as err:  # noqa: BLE001  as above
            await _abort(context, failure(err))
        async for data in messages:
            yield (await _stream_answer(api, data, call, service)).SerializeToString()

    return grpc.stream_stream_rpc_method_handler(handle)


async def _stream_answer(
    api: InferenceApi, data: bytes, call: Call, service: Service
) -> pb.ModelStreamInferResponse:
    request_id = ""
    try:
        with refusals(service, "grpc"):
            request = oip_proto.parse(pb.ModelInferRequest, data)
        request_id = request.id
        return pb.ModelStreamInferResponse(infer_response=await api.model_infer(request, call))
    except Exception as err:  # noqa: BLE001  as above
        # The id lets the caller tell which of its messages failed.
        return pb.ModelStreamInferResponse(
            error_message=failure(err).message, infer_response=pb.ModelInferResponse(id=request_id)
        )


def _call(context: Context, access: Access, needs: Role | None) -> Call:
    principal = "anonymous"
    if needs is not None:
        metadata = dict(context.invocation_metadata() or ())
        authorization = metadata.get("authorization")
        principal = access.authorize(str(authorization) if authorization else None, needs)
    remaining = cast("float | None", context.time_remaining())  # None without one, whatever the stubs say
    deadline = None if remaining is None else time.monotonic() + remaining
    return Call(protocol="grpc", deadline=deadline, principal=principal)


async def _abort(context: Context, problem: Failure) -> NoReturn:
    metadata = () if problem.retry_after_s is None else (("retry-after", str(problem.retry_after_s)),)
    await context.abort(problem.status.grpc, problem.message, metadata)
