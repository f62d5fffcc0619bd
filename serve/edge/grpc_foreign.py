"""gRPC's own services (health, reflection) on our server, read as carefully as ours: see `grpc_reading`.

As they come, bytes that are no message would be answered UNKNOWN, and a message that stalls would hold its
call for ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError

from serve.core.errors import InvalidRequestError, OverloadedError
from serve.edge.grpc_reading import Context, NoMessageError, abort, read_small_message
from serve.edge.limits import EdgeLimits
from serve.edge.status import failure

# At a time. They are open to all and may stay as long as they like: without a bound of their own they would
# take the place of every other call.
MAX_STREAMS = 128

Method = Any  # a grpc.RpcMethodHandler, of which the stubs only know the blocking kind
Serve = Callable[[Context], Awaitable[object]]


class ForeignServices:
    """Stands where generated code expects the server that it adds a service to."""

    def __init__(self, server: grpc.aio.Server, limits: EdgeLimits) -> None:
        self._server = server
        self._limits = limits
        self._streams = 0

    def add_generic_rpc_handlers(self, _handlers: object) -> None:
        """Nothing: the same methods come once more, by their names."""

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, Method]) -> None:
        """Add a service; whatever its methods are, here they read and parse for themselves."""
        own = {name: self._careful(method) for name, method in methods.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, own),))

    def _careful(self, method: Method) -> grpc.RpcMethodHandler[Any, Any]:
        if method.unary_unary:
            return grpc.stream_unary_rpc_method_handler(
                _answering(lambda context: self._one(method, context)),
                response_serializer=method.response_serializer,
            )
        serve = self._watch if method.unary_stream else self._talk
        return grpc.stream_stream_rpc_method_handler(
            # gRPC also takes a coroutine that writes; its stubs only know the generator that yields.
            cast("Any", _answering(lambda context: serve(method, context))),
            response_serializer=method.response_serializer,
        )

    async def _one(self, method: Method, context: Context) -> object:
        return await method.unary_unary(await self._read(method, context), context)

    async def _watch(self, method: Method, context: Context) -> None:
        with self._place():
            await method.unary_stream(await self._read(method, context), context)

    async def _talk(self, method: Method, context: Context) -> None:
        with self._place():
            async for answer in method.stream_stream(self._each(method, context), context):
                await context.write(answer)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._streams >= MAX_STREAMS:
            raise OverloadedError(f"{MAX_STREAMS} streams of health and reflection are open, no more may")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def _each(self, method: Method, context: Context) -> AsyncIterator[object]:
        while True:
            try:
                yield await self._read(method, context)
            except NoMessageError:
                return

    async def _read(self, method: Method, context: Context) -> object:
        with self._limits.room.share() as share:
            data = await read_small_message(context, share)
        try:
            return method.request_deserializer(data)
        except DecodeError:
            message = f"the {len(data)} bytes received are no message of this method"
            raise InvalidRequestError(message) from None


def _answering(serve: Serve) -> Callable[[object, Context], Awaitable[object]]:
    async def handle(_messages: object, context: Context) -> object:
        try:
            return await serve(context)
        except Exception as err:  # noqa: BLE001  the last line of defence; failure() logs bugs
            await abort(context, failure(err))

    return handle
