"""The error tree: every code has a class, every class a code, and an error can be told to many."""

from __future__ import annotations

import pytest

from serve.core import errors
from serve.core.errors import (
    Code,
    DrainingError,
    EngineError,
    OverloadedError,
    OverQuotaError,
    ServeError,
    UnavailableError,
)

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ServeError) and kind is not ServeError
]


def test_every_code_is_the_code_of_a_class() -> None:
    """No code can be left that nobody can raise."""
    assert {kind.code for kind in KINDS} == set(Code)


def test_only_special_cases_share_a_code() -> None:
    """One class for each reaction; a failed attempt, a drain and a quota used up are cases of others."""
    own = [kind for kind in KINDS if kind.__base__ is ServeError]
    assert len(own) == len(Code)
    assert {kind for kind in KINDS if kind not in own} == {DrainingError, EngineError, OverQuotaError}
    assert DrainingError.code is EngineError.code is UnavailableError.code
    assert OverQuotaError.code is OverloadedError.code


def test_the_drawn_tree_shows_every_class() -> None:
    """The picture at the top of the module is complete."""
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in KINDS if f"-- {kind.__name__} " not in drawn] == []


def test_an_error_carries_its_message_and_when_to_come_back() -> None:
    """The message is what `str` shows."""
    error = OverloadedError("queue: full", retry_after_s=1.5)
    assert (str(error), error.message, error.retry_after_s) == ("queue: full", "queue: full", 1.5)
    assert UnavailableError("gone").retry_after_s is None


@pytest.mark.parametrize(
    "error",
    [
        OverloadedError("full", retry_after_s=2.0),
        EngineError("lost", reason="lost", retryable=False),
    ],
)
def test_an_error_told_again_is_the_same_but_another(error: ServeError) -> None:
    """Class, text and everything it carries are kept; the first one is the cause; no traceback is shared."""
    with pytest.raises(ServeError):
        raise error
    twin = error.again()
    assert twin is not error
    assert type(twin) is type(error)
    assert (str(twin), vars(twin)) == (str(error), vars(error))
    assert twin.__cause__ is error
    assert error.__traceback__ is not None
    assert twin.__traceback__ is None
