"""Reading the one message of a gRPC call that has one, and parsing it: in our own hands, not in gRPC's.

gRPC would receive the whole message before it calls us, so that a caller without a token could make us hold
bytes, and one that stalls would hold its call for ever. It would also parse it, and where that fails answer
UNKNOWN with the name of a Python class. So calls are registered as if a stream of messages came, which on the
wire is the same, and without parsers.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import grpc

from serve.core.errors import DeadlineError, InvalidRequestError, OverloadedError, TooLargeError
from serve.core.room import Share
from serve.edge.limits import EdgeLimits
from serve.edge.status import Failure

# gRPC does not tell how much of a message has come. A message that takes longer than this to come counts as
# one of the largest size, since it may already be that large; what comes in less time is bounded by the wire.
SLOW_S = 1.0
# Only inference has messages of some size. Every other one comes with the call itself or right behind it, and
# some need no token: were they given the time of a large one, a few who stall could take all the room that
# there is for slow ones. Twice what a probe waits, since a busy machine may be slow to look.
SMALL_S = 2.0
SMALL_BYTES = 1 << 20
# Of outcomes and labels, which come in thousands.
BULK_BYTES = 4 << 20
# A call that gRPC itself has ended (the message was too large) looks like one without a message, until then.
_ENDING_S = 0.1

Context = grpc.aio.ServicerContext[Any, Any]


class NoMessageError(InvalidRequestError):
    """The caller said that it has no message, or no more of them."""


async def read_message(context: Context, limits: EdgeLimits, share: Share) -> bytes:
    """Read the call's next message, and take room for it.

    Raises:
        OverloadedError: There is no room for it, or for one more message that comes slowly.
        DeadlineError: It did not arrive within `body_timeout_s`.
        NoMessageError: The caller has none to send, or no more.
    """
    try:
        async with asyncio.timeout(None) as patience:
            slow = _Slow(limits, share, patience)
            try:
                message = await context.read()
            finally:
                slow.end()
    except TimeoutError:
        late = DeadlineError(f"the message did not arrive within {limits.body_timeout_s:g} s")
        raise slow.refusal or late from None
    return await _taken(message, share)


async def read_small_message(context: Context, share: Share) -> bytes:
    """Read the next message of a method that has small ones, and take room for it.

    Raises:
        OverloadedError: There is no room for it.
        TooLargeError: It is larger than `SMALL_BYTES`.
        DeadlineError: It did not arrive within `SMALL_S`.
        NoMessageError: The caller has none to send, or no more.
    """
    try:
        async with asyncio.timeout(SMALL_S):
            message = await context.read()
    except TimeoutError:
        raise DeadlineError(f"the message did not arrive within {SMALL_S:g} s") from None
    return _sized(await _taken(message, share), SMALL_BYTES)


async def read_bulk_message(context: Context, limits: EdgeLimits, share: Share) -> bytes:
    """Read the next message of a method that has middling ones; raises as `read_message`.

    Raises:
        TooLargeError: It is larger than `BULK_BYTES`.
    """
    return _sized(await read_message(context, limits, share), BULK_BYTES)


def _sized(data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise TooLargeError(f"the message has {len(data)} bytes, those of this method at most {most}")
    return data


async def _taken(message: object, share: Share) -> bytes:
    if not isinstance(message, bytes):
        await asyncio.sleep(_ENDING_S)
        raise NoMessageError("the call has no message, or no more")
    share.take(len(message))
    return message


class _Slow:
    """Makes a message that comes slowly count as one of the largest size, and ends the wait for it in time.

    One timer does both, since hardly any message lives to see it.

    Attributes:
        refusal: Why the wait was ended early.
    """

    def __init__(self, limits: EdgeLimits, share: Share, patience: asyncio.Timeout) -> None:
        self.refusal: OverloadedError | None = None
        self._limits, self._share, self._patience = limits, share, patience
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(min(SLOW_S, limits.body_timeout_s), self._count)

    def end(self) -> None:
        """Give back what was taken meanwhile."""
        self._timer.cancel()
        self._share.give_back(self._share.size)

    def _count(self) -> None:
        limits = self._limits
        left = limits.body_timeout_s - SLOW_S
        try:
            if left > 0:
                # Slow ones may fill half of the room, so that the others always find some.
                self._share.take(limits.max_message_bytes, leave=limits.room.most // 2)
        except OverloadedError as error:
            self.refusal = error
            left = 0
        self._patience.reschedule(self._loop.time() + left)


async def abort(context: Context, problem: Failure) -> NoReturn:
    """End the call with what its caller is told."""
    metadata = () if problem.retry_after_s is None else (("retry-after", str(problem.retry_after_s)),)
    await context.abort(problem.status.grpc, problem.message, metadata)
