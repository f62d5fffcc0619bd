"""Who asks: one client for each way, all of one worker, none shared."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, Protocol

import grpc
import grpc.aio

from loadtests.soak import encode, replies
from loadtests.soak.http1 import HttpBrokenError, HttpClient
from loadtests.soak.questions import Question, Way
from loadtests.soak.replies import Broken, Expired, HungUp, Refusal, Reply, Silence
from loadtests.stack import Target
from loadtests.traffic.wire import HEADER_LENGTH
from serve.core.errors import Code
from serve.edge.status import STATUSES
from serve.pb import open_inference_pb2 as pb

GRACE_S: Final = 2.0  # beyond the deadline; then a request counts as lost
MESSAGES_A_STREAM: Final = 100
_SERVICE: Final = "/inference.GRPCInferenceService"
_OK: Final = 200

_GRPC_CODES: Final[Mapping[grpc.StatusCode, frozenset[Code]]] = {
    status.grpc: frozenset(code for code in STATUSES if STATUSES[code].grpc is status.grpc)
    for status in STATUSES.values()
}
_HTTP_CODES: Final = {status.http: frozenset({code}) for code, status in STATUSES.items()}
# An error on a stream carries no code, only its text: the first that fits tells.
_STREAM_CODES: Final = (
    ("images wait", Code.OVERLOADED),
    ("deadline", Code.DEADLINE),
    ("internal error", Code.INTERNAL),
    ("its log says why", Code.INTERNAL),
    ("is not found", Code.NOT_FOUND),
    ("has no version", Code.NOT_FOUND),
    ("at most 128", Code.TOO_LARGE),
    ("engine", Code.UNAVAILABLE),
    ("is not ready", Code.UNAVAILABLE),
    ("went away", Code.UNAVAILABLE),
    ("shut", Code.UNAVAILABLE),
)


class Client(Protocol):
    """One way to ask."""

    async def ask(self, question: Question) -> Reply:
        """Send a question and wait for what comes; cancelled, hang up."""
        ...

    async def close(self) -> None:
        """Leave in order."""
        ...


class GrpcClient:
    """ModelInfer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._infer: Any = channel.unary_unary(f"{_SERVICE}/ModelInfer")

    async def ask(self, question: Question) -> Reply:
        """See `Client`."""
        told = question.deadline_s + (GRACE_S if question.by_parameter else 0.0)
        try:
            return replies.of_proto(await self._infer(encode.grpc_message(question), timeout=told))
        except grpc.aio.AioRpcError as error:
            return _grpc_refusal(error)

    async def close(self) -> None:
        """See `Client`; the channel is its owner's."""


class StreamClient:
    """ModelStreamInfer: one message at a time, many on one stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._open: Any = channel.stream_stream(f"{_SERVICE}/ModelStreamInfer")
        self._call: Any = None
        self._left = 0

    async def ask(self, question: Question) -> Reply:
        """See `Client`."""
        if not self._left or self._call.done():
            await self.close()
            self._call, self._left = self._open(), MESSAGES_A_STREAM
        self._left -= 1
        reply: Reply = Silence()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(question.deadline_s + GRACE_S):
                    await self._call.write(encode.grpc_message(question))
                    reply = _stream_reply(await self._call.read())
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            reply = Broken(f"the stream ended: {error!r}")
        finally:
            if isinstance(reply, Silence | Broken):
                self._drop()
        return reply

    async def close(self) -> None:
        """See `Client`."""
        if self._call is not None and not self._call.done():
            await self._call.done_writing()
            await self._call.read()
        self._drop()

    def _drop(self) -> None:
        if self._call is not None:
            self._call.cancel()
        self._call, self._left = None, 0


class RestClient:
    """POST to /infer, with binary data or as JSON by the question's way."""

    def __init__(self, base: str) -> None:
        self._http = HttpClient(base)

    async def ask(self, question: Question) -> Reply:
        """See `Client`."""
        encoded = encode.binary_post if question.way is Way.BINARY else encode.json_post
        reply: Reply = Silence()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(question.deadline_s + GRACE_S):
                    reply = await self._post(encoded(question))
        finally:
            if isinstance(reply, Silence):
                self._http.hang_up()
        return reply

    async def close(self) -> None:
        """See `Client`."""
        self._http.hang_up()

    async def _post(self, post: encode.Post) -> Reply:
        try:
            reply = await self._http.post(post.path, post.body, post.headers, post.announced)
        except HttpBrokenError as error:
            return Broken(str(error))
        if reply.status == _OK:
            return replies.of_rest(reply.body, reply.headers.get(HEADER_LENGTH.lower()))
        text = reply.body.decode(errors="replace")
        if reply.status not in _HTTP_CODES:
            return Broken(f"status {reply.status}: {text}")
        return Refusal(_HTTP_CODES[reply.status], text)


class Asker:
    """All clients of one worker."""

    def __init__(self, target: Target) -> None:
        """Nothing connects before the first question."""
        # A connection of its own: the channels of one process would share one otherwise.
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
        ]
        self._channel = grpc.aio.insecure_channel(target.grpc, options=options)
        rest = RestClient(target.http)
        self._clients: Mapping[Way, Client] = {
            Way.GRPC: GrpcClient(self._channel),
            Way.STREAM: StreamClient(self._channel),
            Way.BINARY: rest,
            Way.JSON: rest,
        }

    async def ask(self, question: Question) -> Reply:
        """Ask in the question's way, and hang up when the question says so."""
        asking = self._clients[question.way].ask(question)
        if question.cancel_after_s is None:
            return await asking
        task = asyncio.create_task(asking)
        try:
            done, _ = await asyncio.wait({task}, timeout=question.cancel_after_s)
        finally:
            task.cancel()
        await asyncio.wait({task})
        return task.result() if done else HungUp()

    async def close(self) -> None:
        """Leave in order."""
        for client in self._clients.values():
            await client.close()
        await self._channel.close()


def _stream_reply(data: Any) -> Reply:  # noqa: ANN401  bytes, or gRPC's mark of the end
    if data is grpc.aio.EOF:
        return Broken("the stream ended")
    message = pb.ModelStreamInferResponse.FromString(data)
    if not message.error_message:
        return replies.of_message(message.infer_response)
    text = message.error_message
    code = next((code for part, code in _STREAM_CODES if part in text), Code.INVALID)
    return Refusal(frozenset({code}), text)


def _grpc_refusal(error: grpc.aio.AioRpcError) -> Reply:
    text = error.details() or ""
    # The gateway's own words; our library has others for the same code.
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and "the deadline" not in text:
        return Expired()
    if error.code() not in _GRPC_CODES:
        return Broken(f"{error.code().name}: {text}")
    return Refusal(_GRPC_CODES[error.code()], text)
