"""The gRPC door: the protocol's service, grpc.health.v1 and reflection over one Service."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serve.audit import Act
from serve.core.access import Access, Role
from serve.core.call import Call
from serve.core.errors import NotFoundError
from serve.core.room import Share
from serve.core.trace import Trace, Tracer
from serve.edge import oip_proto
from serve.edge.desk import Desk
from serve.edge.experiments_grpc import SERVICE_NAME as EXPERIMENTS
from serve.edge.experiments_grpc import ExperimentsGrpc
from serve.edge.grpc_callers import call_of
from serve.edge.grpc_foreign import ForeignServices
from serve.edge.grpc_methods import InferenceApi, RowsRpc, Rpc
from serve.edge.grpc_reading import Context, abort, read_bulk_message, read_message, read_small_message
from serve.edge.grpc_reflect import add_reflection
from serve.edge.grpc_stream import STREAM, Caller, Streams
from serve.edge.grpc_traces import begin_trace, end_call
from serve.edge.limits import EdgeLimits
from serve.edge.proto_bounds import MAX_BULK_FIELDS
from serve.edge.refusals import denials, refusals
from serve.edge.status import failure
from serve.pb import open_inference_pb2 as pb
from serve.service import Service

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
PROCESS = "gateway"  # the name under which grpc.health.v1 tells that the process runs
# ... and that at least one model can answer: with many models a missing one is no reason to send none of the
# others here. No model has a name with a slash.
ANY_MODEL = "gateway/any-model"

_NEVER_MS = 2**31 - 1  # gRPC's word for no limit

_SERVING = {
    True: health_pb2.HealthCheckResponse.SERVING,
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
}


class GrpcEdge:
    """A gRPC server and what its health service tells.

    Attributes:
        port: Set by `listen`.
    """

    def __init__(
        self, server: grpc.aio.Server, foreign: ForeignServices, service: Service, streams: Streams
    ) -> None:
        """Add the health service to a server that has the rest."""
        self.port = 0
        self._streams = streams
        self._server = server
        self._service = service
        self._health = health.aio.HealthServicer()
        self._changed = asyncio.Event()
        self._draining = False
        self._publisher: asyncio.Task[None] | None = None
        health_pb2_grpc.add_HealthServicer_to_server(self._health, cast("grpc.aio.Server", foreign))

    def listen(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Bind "host:port" and return the port, which for 0 is a free one.

        Args:
            address: Where.
            credentials: For TLS; None: plain text.

        Raises:
            RuntimeError: It cannot be bound.
        """
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
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
        self._streams.close()
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
        ready = {name: self._is_ready(name) for name in names}
        ready |= {"": self._service.ready(), ANY_MODEL: self._service.any_model_ready()}
        for name, serving in ready.items():
            await self._health.set(name, _SERVING[serving and not self._draining])
        await self._health.set(PROCESS, _SERVING[self._service.live()])

    def _is_ready(self, name: str) -> bool:
        try:
            return self._service.model_ready(name)
        except NotFoundError:  # it went while we asked
            return False


@dataclass(frozen=True, slots=True)
class _Door:
    """What every call is taken by."""

    service: Service
    access: Access
    limits: EdgeLimits
    tracer: Tracer | None


def build_grpc_server(
    service: Service,
    access: Access,
    limits: EdgeLimits,
    desk: Desk | None = None,
    tracer: Tracer | None = None,
) -> GrpcEdge:
    """Make the gRPC server; it is neither bound to a port nor started.

    Args:
        service: Answers inference requests.
        access: Who may ask for what.
        limits: What is read of a request.
        desk: Where experiments are asked for; None: they are disabled.
        tracer: Begins the traces of inference requests; None: they are not traced.
    """
    server = grpc.aio.server(options=_options(limits), maximum_concurrent_rpcs=limits.max_concurrent_calls)
    door = _Door(service, access, limits, tracer)
    api, experiments = InferenceApi(service), ExperimentsGrpc(service, desk)
    streams = Streams(api, service, limits)
    inference = _unary_handlers(api.unary(), door)
    inference[STREAM] = _stream_handler(streams, door)
    asked = _unary_handlers(experiments.unary(), door)
    asked |= {name: _rows_handler(rpc, door) for name, rpc in experiments.rows().items()}
    for name, handlers in ((SERVICE_NAME, inference), (EXPERIMENTS, asked)):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    foreign = ForeignServices(server, limits)
    add_reflection(foreign, (SERVICE_NAME, EXPERIMENTS, health.SERVICE_NAME))
    return GrpcEdge(server, foreign, service, streams)


def _options(limits: EdgeLimits) -> list[tuple[str, int]]:
    # No grace is set: what is under way, a stream above all, is not cut, however long its caller likes it.
    age_ms = min(limits.max_connection_age_s or math.inf, _NEVER_MS / 1000) * 1000
    return [
        ("grpc.max_connection_age_ms", math.ceil(age_ms)),
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", -1),  # what we send follows from what we let in
        ("grpc.max_metadata_size", limits.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", limits.max_metadata_bytes),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        ("grpc.server_handshake_timeout_ms", round(limits.header_timeout_s * 1000)),
        ("grpc.max_connection_idle_ms", 300_000),  # without a call; the next one comes on a new connection
        ("grpc.max_concurrent_streams", limits.max_concurrent_streams),
        ("grpc.keepalive_time_ms", 30_000),  # finds callers whose network vanished
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # ... and lets them look for us
        ("grpc.keepalive_permit_without_calls", 1),
        # Unless ports are to be shared, a second server on the same one must fail.
        ("grpc.so_reuseport", int(limits.share_ports)),
    ]


def _unary_handlers(rpcs: Mapping[str, Rpc], door: _Door) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    return {name: _unary_handler(name, rpc, door) for name, rpc in rpcs.items()}


def _unary_handler(name: str, rpc: Rpc, door: _Door) -> grpc.RpcMethodHandler[Any, Any]:
    tracer = door.tracer if rpc.infers else None

    async def handle(_messages: object, context: Context) -> bytes:
        trace = begin_trace(tracer, name, context) if tracer is not None else None
        try:
            with door.limits.room.share() as share:
                request, call = await _asked(rpc, context, door, share, trace)
                answer = await rpc.answer(request, call)
        except Exception as err:  # noqa: BLE001  the last line of defence; failure() logs bugs
            await abort(context, failure(err, trace))
        finally:
            if trace is not None:
                end_call(trace, context)
        return answer.SerializeToString()

    return grpc.stream_unary_rpc_method_handler(handle)  # see grpc_reading


def _rows_handler(rpc: RowsRpc, door: _Door) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(_messages: object, context: Context) -> None:
        try:
            with door.limits.room.share() as share:
                request, call = await _asked(rpc, context, door, share)
            async for row in rpc.answer(request, call):
                await context.write(row.SerializeToString())
        except Exception as err:  # noqa: BLE001  as above
            await abort(context, failure(err))

    return grpc.stream_stream_rpc_method_handler(cast("Any", handle))  # as below


async def _asked(
    rpc: Rpc | RowsRpc, context: Context, door: _Door, share: Share, trace: Trace | None = None
) -> tuple[Any, Call]:
    """Let the caller in, and read what it asks."""
    with _watched(door.service, rpc, context):
        call = call_of(context, door.access, rpc.needs, trace)
    with _watched(door.service, rpc, context, call.principal):
        return await _read(rpc, context, door.limits, share), call


async def _read(
    rpc: Rpc | RowsRpc, context: Context, limits: EdgeLimits, share: Share
) -> Message | oip_proto.InferMessage:
    if rpc.infers:
        return oip_proto.parse_infer(await read_message(context, limits, share))
    if rpc.bulk:
        data = await read_bulk_message(context, limits, share)
        return oip_proto.parse(rpc.request, data, MAX_BULK_FIELDS)
    return oip_proto.parse(rpc.request, await read_small_message(context, share))


def _watched(
    service: Service, rpc: Rpc | RowsRpc, context: Context, principal: str = ""
) -> contextlib.AbstractContextManager[None]:
    if rpc.infers:
        return refusals(service, "grpc")
    if rpc.needs is None or rpc.needs < Role.OPERATE:
        return contextlib.nullcontext()
    peer = "" if principal else context.peer()
    return denials(service, Act(name=rpc.answer.__name__, protocol="grpc", peer=peer, principal=principal))


def _stream_handler(streams: Streams, door: _Door) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(messages: AsyncIterable[bytes], context: Context) -> None:
        allow = partial(call_of, context, door.access, Role.INFER)
        begin = partial(begin_trace, door.tracer, STREAM, context) if door.tracer is not None else None
        try:
            with refusals(door.service, "grpc"):
                allow()
            await streams.serve(messages, Caller(allow, begin), context.write)
        except Exception as err:  # noqa: BLE001  as above
            await abort(context, failure(err))

    # gRPC also takes a coroutine that writes; its stubs only know the generator that yields.
    return grpc.stream_stream_rpc_method_handler(cast("Any", handle))
