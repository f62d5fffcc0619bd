"""The status table: total, and what callers were promised."""

from __future__ import annotations

import grpc
import pytest

from serve.core.errors import (
    Code,
    InternalError,
    InvalidRequestError,
    OverloadedError,
    ServeError,
    TooLargeError,
)
from serve.edge.status import MAX_MESSAGE_CHARACTERS, STATUSES, failure

PROMISED = {
    Code.INVALID: ("INVALID_ARGUMENT", 400),
    Code.NOT_FOUND: ("NOT_FOUND", 404),
    Code.TOO_LARGE: ("RESOURCE_EXHAUSTED", 413),
    Code.UNAUTHENTICATED: ("UNAUTHENTICATED", 401),
    Code.FORBIDDEN: ("PERMISSION_DENIED", 403),
    Code.UNSUPPORTED: ("UNIMPLEMENTED", 501),
    Code.CONFLICT: ("FAILED_PRECONDITION", 409),
    Code.CHANGED: ("ABORTED", 412),
    Code.OVERLOADED: ("RESOURCE_EXHAUSTED", 429),
    Code.DEADLINE: ("DEADLINE_EXCEEDED", 504),
    Code.CALLER_GONE: ("CANCELLED", 499),
    Code.UNAVAILABLE: ("UNAVAILABLE", 503),
    Code.INTERNAL: ("INTERNAL", 500),
}


def _concrete(kind: type[ServeError]) -> set[type[ServeError]]:
    return {kind, *(leaf for child in kind.__subclasses__() for leaf in _concrete(child))}


def test_every_code_has_a_status() -> None:
    """No failure can be left without an answer on either wire."""
    assert set(STATUSES) == set(Code)


def test_every_error_has_a_code() -> None:
    """No class of the error tree lacks a code, and no code lacks a class."""
    kinds = _concrete(ServeError) - {ServeError}
    assert {kind.code for kind in kinds} == set(Code)


@pytest.mark.parametrize("code", list(Code))
def test_the_table_says_what_was_promised(code: Code) -> None:
    """Every code has the gRPC status and the HTTP number of the contract."""
    status = STATUSES[code]
    assert (status.grpc.name, status.http) == PROMISED[code]


def test_an_error_of_ours_speaks_for_itself() -> None:
    """A ServeError's message reaches the caller as it is."""
    answer = failure(InvalidRequestError("input 'image': is missing"))
    assert answer.message == "input 'image': is missing"
    assert answer.status.grpc is grpc.StatusCode.INVALID_ARGUMENT
    assert answer.retry_after_s is None


def test_a_bug_tells_the_caller_nothing_but_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    """The text of an unforeseen exception stays in the log, under the number that the caller gets."""
    answer = failure(KeyError("/etc/secret"))
    logged = "".join(capsys.readouterr())
    number = answer.message.removeprefix("internal error, request id ")
    assert len(number) == 16
    assert "secret" not in answer.message
    assert number in logged
    assert "KeyError: '/etc/secret'" in logged
    assert answer.status is STATUSES[Code.INTERNAL]


@pytest.mark.parametrize(
    ("err", "seconds"),
    [
        (OverloadedError("full", retry_after_s=1.2), 2),
        (OverloadedError("full", retry_after_s=0.01), 1),
        (OverloadedError("full"), 1),
        (TooLargeError("big"), None),
        (InternalError("broken"), None),
    ],
)
def test_who_is_shed_is_told_when_to_come_back(err: ServeError, seconds: int | None) -> None:
    """The wait is whole seconds, rounded up, never 0, and always there for an overload."""
    assert failure(err).retry_after_s == seconds


def test_a_long_message_is_cut() -> None:
    """What does not fit into gRPC's header is cut, and says so."""
    message = failure(InvalidRequestError("x" * 100_000)).message
    assert len(message) == MAX_MESSAGE_CHARACTERS
    assert message.endswith("x ...")
