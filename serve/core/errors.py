"""Every way in which a request can fail, in neutral words.

The tree; one class for each reaction that a caller may choose::

    ServeError
    |-- InvalidRequestError    the caller's fault: mend the request, do not repeat it
    |-- NotFoundError          the caller's fault: no such model, version or path
    |-- TooLargeError          the caller's fault: send less
    |-- UnauthenticatedError   the caller's fault: bring a token
    |-- ForbiddenError         the caller's fault: this token's role does not reach that far
    |-- UnsupportedError       the caller's fault: this server does not do that
    |-- ConflictError          the caller's fault: the state does not allow it now
    |-- ChangedError           nobody's fault: read it anew, it is not what the caller has seen
    |-- OverloadedError        expected under load: come back after `retry_after_s`
    |   `-- OverQuotaError     the caller has used up its share; nobody else is concerned
    |-- DeadlineError          expected under load: the caller's time ran out before the answer
    |-- CallerGoneError        expected: nobody is waiting for the answer any more
    |-- UnavailableError       expected in a fault: nothing is there to answer now
    |   |-- DrainingError      this server ends; another one answers
    |   `-- EngineError        one attempt on one engine failed; says whether another may be tried
    `-- InternalError          our fault: a bug, or an engine that broke its word

Nothing here knows HTTP or gRPC: `serve.edge.status` maps `Code` to both, in one table.
Messages are public: they name the parameter, its value and the rule, and nothing internal.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Self


class Code(Enum):
    """What kind of failure it is; each is raised as the class of that name."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    UNSUPPORTED = "unsupported"
    CONFLICT = "conflict"
    CHANGED = "changed"
    OVERLOADED = "overloaded"
    DEADLINE = "deadline"
    CALLER_GONE = "caller_gone"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class ServeError(Exception):
    """A failure that has a public message; never raised itself, only its children are."""

    code: ClassVar[Code]

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        """Keep the public message and, where waiting helps, for how long (seconds)."""
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s

    def again(self) -> Self:
        """The same error for another caller, with this one as its cause.

        One exception that several tasks raise collects all their tracebacks, and with them everything
        that their frames hold.
        """
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        twin.__cause__ = self
        return twin


class InvalidRequestError(ServeError):
    """The request breaks a rule; the caller's fault, and the same request will fail again."""

    code = Code.INVALID


class NotFoundError(ServeError):
    """No such model, version or address; the caller's fault."""

    code = Code.NOT_FOUND


class TooLargeError(ServeError):
    """The request is over a size limit; the caller's fault."""

    code = Code.TOO_LARGE


class UnauthenticatedError(ServeError):
    """No token, or one that is not known; the caller's fault."""

    code = Code.UNAUTHENTICATED


class ForbiddenError(ServeError):
    """The token is known and its role does not allow this; the caller's fault.

    Attributes:
        principal: The token's name.
    """

    code = Code.FORBIDDEN

    def __init__(self, message: str, *, principal: str = "") -> None:
        """Keep the public message and whose token it was."""
        super().__init__(message)
        self.principal = principal


class UnsupportedError(ServeError):
    """This server does not offer that; the caller's fault."""

    code = Code.UNSUPPORTED


class ConflictError(ServeError):
    """Right in itself, but not in the present state (say: unload a model that is not loaded)."""

    code = Code.CONFLICT


class ChangedError(ServeError):
    """Asked for of a version that is not the newest any more: somebody else was first."""

    code = Code.CHANGED


class OverloadedError(ServeError):
    """The queue is full; expected under load, and nothing of the request was begun."""

    code = Code.OVERLOADED


class OverQuotaError(OverloadedError):
    """The caller sends more than its token allows; expected, and nothing of the request was begun."""


class DeadlineError(ServeError):
    """The caller's time ran out before there was an answer; expected under load.

    Attributes:
        begun: Whether an engine had been given any of it.
        waited: Share of the time, 0 to 1, that had gone by when an engine was given the last of it.
    """

    code = Code.DEADLINE

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, begun: bool = False, waited: float = 0.0
    ) -> None:
        """Keep the public message, where waiting helps for how long, and how far it had come."""
        super().__init__(message, retry_after_s=retry_after_s)
        self.begun = begun
        self.waited = waited


class CallerGoneError(ServeError):
    """The caller hung up; expected, and nobody reads the message."""

    code = Code.CALLER_GONE


class UnavailableError(ServeError):
    """Nothing is there to answer now: draining, loading, or no engine is ready."""

    code = Code.UNAVAILABLE


class DrainingError(UnavailableError):
    """This server shuts down; expected, nobody's fault, and no sign of trouble in a model or an engine."""


class EngineError(UnavailableError):
    """One attempt on one engine failed; expected when an engine dies, hangs or is full.

    Inference changes nothing, so a failed attempt may always be repeated elsewhere.

    Attributes:
        reason: The `outcome` label of the attempt, one of `serve.metrics.ENGINE_OUTCOMES`.
        retryable: Whether another attempt can help.
    """

    def __init__(self, message: str, *, reason: str, retryable: bool = True) -> None:
        """Keep the public message, the label and whether another attempt can help."""
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable


class InternalError(ServeError):
    """Our fault: a bug, or an engine that broke its word. The log has the details."""

    code = Code.INTERNAL
