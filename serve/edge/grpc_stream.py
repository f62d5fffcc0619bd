"""ModelStreamInfer: many requests on one call, worked on side by side, answered in their own order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import grpc

from serve.core.call import Call
from serve.core.errors import OverloadedError, UnavailableError
from serve.core.trace import Trace
from serve.edge import oip_proto
from serve.edge.grpc_methods import InferenceApi
from serve.edge.grpc_traces import end_trace
from serve.edge.limits import EdgeLimits
from serve.edge.refusals import refusals
from serve.edge.status import failure
from serve.pb import open_inference_pb2 as pb
from serve.service import Service

STREAM: Final = "ModelStreamInfer"
# Messages of one stream that are read and not yet answered: enough to fill a batch, few enough that a caller
# who sends faster than we answer is slowed down by gRPC itself.
READ_AHEAD = 16

Answer = asyncio.Task[pb.ModelStreamInferResponse]


class Allow(Protocol):
    """Lets a caller in, or not."""

    def __call__(self, trace: Trace | None = None) -> Call:
        """The circumstances of a request with that trace; ServeError when its caller is not let in."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of a stream.

    Attributes:
        allow: Asked for each message, since a stream may outlive its token.
        begin: Begins the trace of a message; None: they are not traced.
    """

    allow: Allow
    begin: Callable[[], Trace] | None = None


class Streams:
    """The open streams of a server."""

    def __init__(self, api: InferenceApi, service: Service, limits: EdgeLimits) -> None:
        self._api = api
        self._service = service
        self._room = limits.room
        self._most = limits.max_streams
        self._open = 0
        self._readers: set[asyncio.Task[None]] = set()

    async def serve(
        self,
        messages: AsyncIterable[bytes],
        caller: Caller,
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Answer one stream until the caller has nothing more to say; cancelled, it gives up what runs.

        Args:
            messages: What the caller says.
            caller: Who says it.
            write: Takes the answers.

        Raises:
            UnavailableError: `close` was called; what had been read is answered.
            OverloadedError: `max_streams` are open.
        """
        with self._place():
            await self._serve(messages, caller, write)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places for streams.

        What gRPC has received of a message that is not yet whole counts nowhere, and may take as long as its
        caller likes: gRPC does not tell whether one has begun, and a stream may well be idle. Bounded are the
        streams and the size of a message, and each stream has come with a token where there are any.
        """
        if self._open >= self._most:
            raise OverloadedError(f"{self._most} streams are open, no more may", retry_after_s=1.0)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _serve(
        self,
        messages: AsyncIterable[bytes],
        caller: Caller,
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        said = aiter(messages)
        answers: asyncio.Queue[Answer | None] = asyncio.Queue()
        ahead = asyncio.Semaphore(READ_AHEAD)
        async with asyncio.TaskGroup() as group:

            async def read() -> None:
                try:
                    while True:
                        await ahead.acquire()
                        answers.put_nowait(group.create_task(self._answer(await anext(said), caller)))
                except StopAsyncIteration:
                    return
                finally:
                    answers.put_nowait(None)

            reader = group.create_task(read())
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)
            while answer := await answers.get():
                await write((await answer).SerializeToString())
                ahead.release()
        if reader.cancelled():
            raise UnavailableError("the server is shutting down", retry_after_s=1.0)

    def close(self) -> None:
        """Read no more messages from any stream; each ends once its last answer is out."""
        for reader in self._readers:
            reader.cancel()

    async def _answer(self, data: bytes, caller: Caller) -> pb.ModelStreamInferResponse:
        """Answer one message; a failure is an answer too, as the stream goes on."""
        trace = caller.begin() if caller.begin is not None else None
        request_id, code = "", grpc.StatusCode.CANCELLED
        try:
            with self._room.share() as share:
                with refusals(self._service, "grpc"):
                    call = caller.allow(trace)
                    share.take(len(data))
                    request = oip_proto.parse_infer(data)
                request_id = request.message.id
                response = await self._api.model_infer(request, call)
            code = grpc.StatusCode.OK
        except Exception as err:  # noqa: BLE001  the last line of defence; failure() logs bugs
            problem = failure(err, trace)
            code = problem.status.grpc
            # The id lets the caller tell which of its messages failed.
            return pb.ModelStreamInferResponse(
                error_message=problem.message, infer_response=pb.ModelInferResponse(id=request_id)
            )
        finally:
            if trace is not None:
                end_trace(trace, code)
        # Triton's word to callers who cannot know how many answers a request gets: here it is always one.
        response.parameters["triton_final_response"].bool_param = True
        return pb.ModelStreamInferResponse(infer_response=response)
