"""The connection to one port of a TorchServe, and what its failures mean.

TorchServe tells most failures apart only by their text, so `classify` reads code and text. The texts are
those of TorchServe 0.12, the last release.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio

from serve.core.errors import EngineError, UnavailableError

_Reply = TypeVar("_Reply")

PUBLIC_MESSAGES = {
    "lost": "the worker was lost while it ran the batch",
    "overloaded": "no worker is free",
    "timeout": "no answer in time",
    "unreachable": "cannot be reached",
    "missing": "does not hold this model",
    "refused": "refused the call",
    "garbled": "gave an answer that cannot be read",
}


# What TorchServe allows for a message where its configuration says nothing, in bytes.
STOCK_MESSAGE_BYTES = 6_553_500
# Connections that are given up, but on which calls still run.
_MOST_OLD_LINES = 4
_CLOSE_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """How to talk to a TorchServe.

    Attributes:
        max_message_bytes: Largest message either way; TorchServe's own limit should be the same, because
            it hangs up on a longer one without saying why.
        max_reconnect_pause_s: Longest pause between two attempts to connect.
        max_age_s: A connection older than this is replaced before the next call.
    """

    max_message_bytes: int = 64 * 1024 * 1024
    max_reconnect_pause_s: float = 2.0
    max_age_s: float = 300.0

    def as_arguments(self) -> list[tuple[str, Any]]:
        """Channel arguments as gRPC names them."""
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.initial_reconnect_backoff_ms", 100),
            # How long an attempt to connect may take: a Java that has just started is slow to greet, and a
            # network that was cut is tried again soon after its repair.
            ("grpc.min_reconnect_backoff_ms", 1000),
            ("grpc.max_reconnect_backoff_ms", round(self.max_reconnect_pause_s * 1000)),
            # grpc-java answers pings that come more often than every five minutes by hanging up.
            ("grpc.keepalive_time_ms", 6 * 60 * 1000),
            # Channels to one address must not share a connection, nor its memory of failures.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """A row of the table: the first whose code and text both fit decides; None fits every code."""

    code: grpc.StatusCode | None = None
    text: str = ""
    reason: str
    retryable: bool = True


_RULES = (
    _Rule(code=grpc.StatusCode.DEADLINE_EXCEEDED, reason="timeout"),
    # The worker process ended, or was ended for taking longer than the archive's responseTimeout.
    _Rule(text="Worker died", reason="lost"),
    # Said of a full queue as well as of a model whose workers are gone.
    _Rule(text="has no worker to serve", reason="overloaded"),
    _Rule(text="Out of resources", reason="lost"),
    _Rule(text="ModelNotFoundException", reason="missing", retryable=False),
    _Rule(text="ModelVersionNotFoundException", reason="missing", retryable=False),
    _Rule(code=grpc.StatusCode.NOT_FOUND, reason="missing", retryable=False),
    # Of this engine only: another one may know our token.
    _Rule(code=grpc.StatusCode.PERMISSION_DENIED, reason="refused"),
    _Rule(code=grpc.StatusCode.UNAUTHENTICATED, reason="refused"),
    _Rule(code=grpc.StatusCode.INVALID_ARGUMENT, reason="refused", retryable=False),
    _Rule(code=grpc.StatusCode.UNIMPLEMENTED, reason="refused", retryable=False),
    # Our own end of the channel says this, of a message in either direction.
    _Rule(code=grpc.StatusCode.RESOURCE_EXHAUSTED, text="larger than max", reason="refused", retryable=False),
    _Rule(code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="overloaded"),
    # The handler gave up the whole batch, or answered for too few requests.
    _Rule(code=grpc.StatusCode.UNAVAILABLE, text="Prediction failed", reason="lost"),
    _Rule(code=grpc.StatusCode.UNAVAILABLE, text="Invalid model predict output", reason="lost"),
    _Rule(code=grpc.StatusCode.UNAVAILABLE, text="batch response mismatched", reason="lost"),
    _Rule(code=grpc.StatusCode.UNAVAILABLE, reason="unreachable"),
    _Rule(reason="lost"),
)


def classify(code: grpc.StatusCode, details: str) -> tuple[str, bool]:
    """What a failed call means: the reason of `EngineError`, and whether another attempt can help."""
    rule = next(rule for rule in _RULES if rule.code in (None, code) and rule.text in details)
    return rule.reason, rule.retryable


@dataclass(eq=False, slots=True, kw_only=True)
class _Line:
    """One connection, and how many calls run on it.

    Attributes:
        opened_at: `time.monotonic` of its making.
        suspect: Whether a call on it got no answer in time: the engine may be slow, or the network cut.
    """

    target: str
    token: str = field(repr=False)
    channel: grpc.aio.Channel
    stub: Any
    opened_at: float = field(default_factory=time.monotonic)
    calls: int = 0
    suspect: bool = False


class Link:
    """A connection to one port of a TorchServe whose address and token may change with a restart.

    A connection on which a call was not answered in time is not used for new calls: if the network dropped
    its packets, it may stay dead for minutes after the repair. Calls that run on it go on.
    """

    def __init__(
        self,
        name: str,
        make_stub: Callable[[grpc.aio.Channel], Any],
        target: Callable[[], str],
        token: Callable[[], str] | None,
        options: ChannelOptions,
    ) -> None:
        """Connect when first used.

        Args:
            name: The engine's name, for messages.
            make_stub: The generated stub class of the service on that port.
            target: Gives host:port as it is now.
            token: Gives the bearer token as it is now; None sends none.
            options: How to talk.
        """
        self.name = name
        self._make_stub = make_stub
        self._target = target
        self._token = token
        self._options = options
        self._line: _Line | None = None
        self._old: set[_Line] = set()
        self._hanging_up: set[asyncio.Task[None]] = set()
        self._closed = False

    async def call(self, method: str, request: object, timeout_s: float) -> Any:  # noqa: ANN401 - generated stubs
        """Call a method of the service and wait for its reply.

        Raises:
            EngineError: Whatever went wrong; only a cancellation by the caller stays one.
        """
        try:
            line, metadata = self._connected(), self._metadata()
        except UnavailableError as error:
            raise self.error("unreachable", retryable=True) from error
        line.calls += 1
        try:
            return await self._answered(
                getattr(line.stub, method)(request, timeout=timeout_s, metadata=metadata), request, line
            )
        finally:
            line.calls -= 1
            if line in self._old and not line.calls:
                self._hang_up(line)

    async def close(self, grace_s: float = 0.0) -> None:
        """Hang up when no call runs any more, at the latest after `grace_s`; what still runs then fails.

        Calls may begin until then: somebody may just have decided to make one.
        """
        ends = time.monotonic() + grace_s
        # A poll, since it is rare and no event need be kept for it.
        while self._runs() and time.monotonic() < ends:  # noqa: ASYNC110
            await asyncio.sleep(_CLOSE_POLL_S)
        self._closed = True
        for line in self._lines():
            self._hang_up(line)
        await asyncio.gather(*self._hanging_up)

    def error(self, reason: str, *, retryable: bool, more: str = "") -> EngineError:
        """An `EngineError` with the public message of its reason."""
        message = f"engine {self.name}: {PUBLIC_MESSAGES[reason]}{f': {more}' if more else ''}"
        return EngineError(message, reason=reason, retryable=retryable)

    def _connected(self) -> _Line:
        """The line for the next call."""
        if self._closed:
            raise UnavailableError("the connection is closed")
        target, line = self._target(), self._line
        token = self._token() if self._token else ""
        if line is not None and (line.target, line.token) != (target, token):
            # What it led to has ended. The next one may have its address and never its token, and the old
            # channel would still be resting after its failures.
            self._hang_up(line)
        elif line is not None and self._worn(line):
            self._old.add(line)
            if not line.calls:
                self._hang_up(line)
        elif line is not None:
            return line
        channel = grpc.aio.insecure_channel(target, options=self._options.as_arguments())
        self._line = _Line(target=target, token=token, channel=channel, stub=self._make_stub(channel))
        return self._line

    def _worn(self, line: _Line) -> bool:
        worn = line.suspect or time.monotonic() - line.opened_at > self._options.max_age_s
        return worn and len(self._old) < _MOST_OLD_LINES

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._token()}"),) if self._token else ()

    async def _answered(self, call: Awaitable[_Reply], request: Any, line: _Line) -> _Reply:  # noqa: ANN401 - as above
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            line.suspect |= error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            size = len(request) if isinstance(request, bytes) else request.ByteSize()
            raise self._meaning(error, size) from error
        except asyncio.CancelledError:
            # gRPC raises this too, when the channel is closed under a running call: at the end, or because
            # a restarted engine answers elsewhere.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise self.error("unreachable", retryable=True) from None

    def _meaning(self, error: grpc.aio.AioRpcError, request_bytes: int) -> EngineError:
        details = error.details() or ""
        # Said of a message that is too long, too, and then every engine with that configuration says it.
        if error.code() is grpc.StatusCode.CANCELLED and request_bytes > STOCK_MESSAGE_BYTES:
            more = f"it hung up on a message of {request_bytes} bytes; its max_request_size may be smaller"
            return self.error("refused", retryable=False, more=more)
        reason, retryable = classify(error.code(), details)
        return self.error(reason, retryable=retryable)

    def _lines(self) -> set[_Line]:
        return self._old | ({self._line} if self._line else set())

    def _runs(self) -> bool:
        return any(line.calls for line in self._lines())

    def _hang_up(self, line: _Line) -> None:
        self._old.discard(line)
        if line is self._line:
            self._line = None
        task = asyncio.create_task(line.channel.close())
        self._hanging_up.add(task)
        task.add_done_callback(self._hanging_up.discard)
