"""The room for requests: never more is taken than there is, and everything comes back."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.errors import OverloadedError
from serve.core.room import Room


def test_a_share_takes_and_gives_back() -> None:
    """At the end of the request its room is free, whatever ended it."""
    room = Room(100)
    with contextlib.suppress(ZeroDivisionError), room.share() as share:
        share.take(30)
        share.take(70)
        assert (share.size, room.taken, room.free) == (100, 100, 0)
        raise ZeroDivisionError
    assert (room.taken, room.free) == (0, 100)


def test_what_does_not_fit_is_refused() -> None:
    """The refusal tells how much there is; the share keeps what it had."""
    room = Room(100)
    with room.share() as share, room.share() as other:
        share.take(60)
        with pytest.raises(
            OverloadedError, match=r"holds 60 bytes .* no room for 41 more; at most 100 are held"
        ):
            other.take(41)
        with pytest.raises(OverloadedError):
            other.take(1, leave=40)
        other.take(40)
        assert (share.size, other.size) == (60, 40)


def test_checking_takes_nothing() -> None:
    """An announced size is looked at, and held against nobody."""
    room = Room(100)
    with room.share() as share:
        share.check(100)
        with pytest.raises(OverloadedError):
            share.check(101)
        assert room.taken == 0


@given(st.lists(st.lists(st.integers(0, 60), max_size=4), max_size=6))
def test_never_more_than_there_is(requests: list[list[int]]) -> None:
    """Whatever requests take of it, side by side, the bound holds, and in the end all of it is free."""
    room = Room(100)
    shares = [room.share() for _ in requests]
    for share, sizes in zip(shares, requests, strict=True):
        for size in sizes:
            try:
                share.take(size)
            except OverloadedError:
                assert size > room.free
            assert 0 <= room.taken <= room.most
    for share in shares:
        with share:
            pass
    assert room.taken == 0
