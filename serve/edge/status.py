"""The one table from neutral codes to gRPC and HTTP, and the one way from an exception to an answer."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
import structlog

from serve.core.errors import Code, ServeError
from serve.core.trace import Trace, in_log

_log = structlog.get_logger(__name__)

# gRPC sends the message in a header, and clients cap the size of all headers at 8 KiB.
MAX_MESSAGE_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Status:
    """A code on either wire."""

    grpc: grpc.StatusCode
    http: int


STATUSES: Mapping[Code, Status] = {
    Code.INVALID: Status(grpc.StatusCode.INVALID_ARGUMENT, 400),
    Code.NOT_FOUND: Status(grpc.StatusCode.NOT_FOUND, 404),
    Code.TOO_LARGE: Status(grpc.StatusCode.RESOURCE_EXHAUSTED, 413),
    Code.UNAUTHENTICATED: Status(grpc.StatusCode.UNAUTHENTICATED, 401),
    Code.FORBIDDEN: Status(grpc.StatusCode.PERMISSION_DENIED, 403),
    Code.UNSUPPORTED: Status(grpc.StatusCode.UNIMPLEMENTED, 501),
    Code.CONFLICT: Status(grpc.StatusCode.FAILED_PRECONDITION, 409),
    Code.CHANGED: Status(grpc.StatusCode.ABORTED, 412),
    Code.OVERLOADED: Status(grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
    Code.DEADLINE: Status(grpc.StatusCode.DEADLINE_EXCEEDED, 504),
    Code.CALLER_GONE: Status(grpc.StatusCode.CANCELLED, 499),  # nginx's number; HTTP has none
    Code.UNAVAILABLE: Status(grpc.StatusCode.UNAVAILABLE, 503),
    Code.INTERNAL: Status(grpc.StatusCode.INTERNAL, 500),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What the caller is told about an exception.

    Attributes:
        retry_after_s: Whole seconds to wait before another try; None where waiting does not help.
    """

    status: Status
    message: str
    retry_after_s: int | None = None


def failure(err: Exception, trace: Trace | None = None) -> Failure:
    """Turn any exception into an answer.

    A `ServeError` speaks for itself. Anything else is a bug: its traceback goes to the log under a
    number that the caller is given, its text goes nowhere.

    Args:
        err: What was raised.
        trace: Of the request, for the log.
    """
    if not isinstance(err, ServeError):
        request_id = secrets.token_hex(8)
        _log.error("internal_error", request_id=request_id, exc_info=err, **in_log(trace))
        return Failure(status=STATUSES[Code.INTERNAL], message=f"internal error, request id {request_id}")
    return Failure(
        status=STATUSES[err.code],
        message=_short(err.message),
        retry_after_s=_whole_seconds(err),
    )


def _short(message: str) -> str:
    if len(message) <= MAX_MESSAGE_CHARACTERS:
        return message
    return message[: MAX_MESSAGE_CHARACTERS - 4] + " ..."


def _whole_seconds(err: ServeError) -> int | None:
    # Retry-After knows only whole seconds (RFC 9110, 10.2.3). Whoever is shed is always told to wait.
    if err.retry_after_s is None:
        return 1 if err.code is Code.OVERLOADED else None
    return max(1, math.ceil(err.retry_after_s))
