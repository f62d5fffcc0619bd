"""The circuit breaker: what opens it, how long it rests, and that only a probe closes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.standing import Rules, Standing, State

RULES = Rules(failures_to_eject=3, eject_s=0.5, max_eject_s=4.0, return_s=10.0)


@pytest.mark.parametrize("reason", ["unreachable", "lost", "timeout", "missing", "slow"])
def test_some_failures_eject_at_once(reason: str) -> None:
    """The next batch would meet the same."""
    standing = Standing().failed(reason, 100.0, RULES)
    assert (standing.state, standing.until, standing.reason) == (State.OPEN, 100.5, reason)


def test_others_eject_when_they_follow_each_other() -> None:
    """Three in a row; a success between them begins the count anew."""
    standing = Standing()
    for _ in range(4):
        standing = standing.failed("overloaded", 0.0, RULES).failed("garbled", 0.0, RULES)
        assert standing.closed
        standing = standing.succeeded()
    for _ in range(3):
        standing = standing.failed("overloaded", 0.0, RULES)
    assert standing.state is State.OPEN


def test_rests_grow_and_are_bounded() -> None:
    """Each failed probe doubles the rest, up to the longest."""
    standing, now, rests = Standing().failed("lost", 0.0, RULES), 0.0, []
    for _ in range(6):
        rests.append(standing.until - now)
        now = standing.until
        standing = standing.probing()
        assert standing.state is State.HALF_OPEN
        standing = standing.probed("timeout", now, RULES)
    assert rests == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_an_engine_that_comes_and_goes_rests_ever_longer() -> None:
    """Ejected again while it is returning it goes on where it was; after a good while it begins anew."""
    back = Standing().failed("slow", 0.0, RULES).probing().probed("", 1.0, RULES)
    assert back.closed
    assert back.returning(10.9, RULES)
    assert not back.returning(11.0, RULES)
    assert back.failed("slow", 2.0, RULES).until == 2.0 + 1.0
    assert back.failed("slow", 12.0, RULES).until == 12.0 + 0.5


@pytest.mark.parametrize(
    ("reason", "last_resort"),
    [("lost", True), ("overloaded", True), ("slow", True), ("unreachable", False), ("timeout", False)],
)
def test_who_is_better_than_nobody(reason: str, last_resort: bool) -> None:
    """An engine that is there, only not well, still gets batches where there is no other."""
    standing = Standing()
    while standing.closed:
        standing = standing.failed(reason, 0.0, RULES)
    assert standing.last_resort is last_resort
    assert standing.probing().last_resort is last_resort
    assert not Standing().last_resort


def test_a_worker_that_is_slow_to_come_back_is_still_on_its_way() -> None:
    """TorchServe keeps the probe until the worker is there: an engine that is reached is better than none."""
    standing = Standing().failed("lost", 0.0, RULES).probing().probed("timeout", 5.0, RULES)
    assert standing.last_resort
    gone = Standing().failed("lost", 0.0, RULES).probing().probed("unreachable", 5.0, RULES)
    assert not gone.last_resort


def test_a_returning_engine_works_part_of_the_time() -> None:
    """A fifth at first, more and more later, all of it in the end; a slow batch costs no long rest."""
    back = Standing().failed("lost", 0.0, RULES).probing().probed("", 100.0, RULES)
    assert [back.rest_s(0.1, now, RULES) for now in (100.0, 102.0, 105.0)] == pytest.approx([0.4, 0.4, 0.1])
    assert back.rest_s(0.1, 110.0, RULES) == 0.0
    assert back.rest_s(60.0, 100.0, RULES) == 1.0
    assert Standing().rest_s(0.1, 0.0, RULES) == 0.0


@given(st.lists(st.sampled_from(["ok", "lost", "garbled", "probe", "bad probe"])))
def test_only_a_probe_closes_it(steps: list[str]) -> None:
    """Late answers and late failures of an ejected engine's batches change nothing."""
    standing = Standing()
    for step in steps:
        was = standing
        if step == "ok":
            standing = standing.succeeded()
        elif not step.endswith("probe"):
            standing = standing.failed(step, 0.0, RULES)
        elif not standing.closed:
            standing = standing.probing().probed("timeout" if step == "bad probe" else "", 0.0, RULES)
        if was.state is State.OPEN and standing.closed:
            assert step == "probe"
        if was.state is State.OPEN and not step.endswith("probe"):
            assert standing == was
