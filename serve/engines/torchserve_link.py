"""The connection to one port of a TorchServe, and what its failures mean.

TorchServe tells most failures apart only by their text, so `classify` reads code and text. The texts are
those of TorchServe 0.12, the last release.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """How to talk to a TorchServe.

    Attributes:
        max_message_bytes: Largest message either way; TorchServe's own limit should be the same, because
            it hangs up on a longer one without saying why.
        max_reconnect_pause_s: Longest pause between two attempts to connect.
    """

    max_message_bytes: int = 64 * 1024 * 1024
    max_reconnect_pause_s: float = 2.0

    def as_arguments(self, target: str) -> list[tuple[str, Any]]:
        """Channel arguments as gRPC names them."""
        # A name may stand for many workers: use them all. A single address is better served by gRPC's own
        # choice, which connects anew as soon as it is asked.
        policy = [("grpc.lb_policy_name", "round_robin")] if target.startswith("dns:") else []
        return [
            *policy,
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", round(self.max_reconnect_pause_s * 1000)),
            # grpc-java answers pings that come more often than every five minutes by hanging up.
            ("grpc.keepalive_time_ms", 6 * 60 * 1000),
            # Channels to one address must not share a connection, nor its memory of failures.
            ("grpc.use_local_subchannel_pool", 1),
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
    _Rule(code=grpc.StatusCode.PERMISSION_DENIED, reason="refused", retryable=False),
    _Rule(code=grpc.StatusCode.UNAUTHENTICATED, reason="refused", retryable=False),
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


class Link:
    """A connection to one port of a TorchServe whose address and token may change with a restart."""

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
        self._connected_to = ""
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def call(self, method: str, request: object, timeout_s: float) -> Any:  # noqa: ANN401 - generated stubs
        """Call a method of the service and wait for its reply.

        Raises:
            EngineError: Whatever went wrong; only a cancellation by the caller stays one.
        """
        try:
            stub, metadata = self._connect(), self._metadata()
        except UnavailableError as error:
            raise self.error("unreachable", retryable=True) from error
        return await self._answered(getattr(stub, method)(request, timeout=timeout_s, metadata=metadata))

    async def close(self) -> None:
        """Hang up; calls still running fail."""
        self._closed = True
        self._retire()
        await asyncio.gather(*self._closing)

    def error(self, reason: str, *, retryable: bool, more: str = "") -> EngineError:
        """An `EngineError` with the public message of its reason."""
        message = f"engine {self.name}: {PUBLIC_MESSAGES[reason]}{f': {more}' if more else ''}"
        return EngineError(message, reason=reason, retryable=retryable)

    def _connect(self) -> Any:  # noqa: ANN401 - generated stubs have no types
        if self._closed:
            raise UnavailableError("the connection is closed")
        target = self._target()
        if target != self._connected_to:
            self._retire()
            self._channel = grpc.aio.insecure_channel(target, options=self._options.as_arguments(target))
            self._stub = self._make_stub(self._channel)
            self._connected_to = target
        return self._stub

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._token()}"),) if self._token else ()

    async def _answered(self, call: Awaitable[_Reply]) -> _Reply:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            reason, retryable = classify(error.code(), error.details() or "")
            raise self.error(reason, retryable=retryable) from error
        except asyncio.CancelledError:
            # gRPC raises this too, when the channel is closed under a running call: at the end, or because
            # a restarted engine answers elsewhere.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise self.error("unreachable", retryable=True) from None

    def _retire(self) -> None:
        if self._channel is not None:
            task = asyncio.create_task(self._channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._channel = None
