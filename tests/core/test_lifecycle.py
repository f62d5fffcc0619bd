"""Which acts are allowed when, and from when they hold."""

from __future__ import annotations

import pytest

from serve.core.errors import ConflictError, InvalidRequestError
from serve.core.experiment import ENDED, LIVE, State
from serve.core.lifecycle import ACTS, WAYS, Act, allowed, effective_at, next_state


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("act", ACTS)
def test_every_act_leads_somewhere_or_is_refused(state: State, act: Act) -> None:
    """What the table has is done; what it has not is refused, with what is allowed instead."""
    if (state, act) in WAYS:
        assert next_state(state, act.value) is WAYS[state, act]
        return
    with pytest.raises(
        ConflictError, match=f"act: '{act.value}' is not allowed while .* {state.value}"
    ) as refused:
        next_state(state, act.value)
    assert refused.value.message.endswith(f"allowed: {', '.join(allowed(state))}")


@pytest.mark.parametrize(("state", "act"), [way for way in WAYS if way[1] is not Act.RAMP])
def test_an_act_can_be_repeated(state: State, act: Act) -> None:
    """Once done, the same act is allowed and changes nothing: all acts are idempotent."""
    reached = next_state(state, act)
    assert next_state(reached, act) is reached


@pytest.mark.parametrize("state", sorted(LIVE | {State.PROMOTED}))
def test_a_rollback_is_possible_wherever_an_arm_answers(state: State) -> None:
    """Running, paused, even after promotion: the way back to the control is never closed."""
    assert next_state(state, Act.ROLLBACK) is State.ROLLED_BACK


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_end_is_final(state: State) -> None:
    """From promoted, rolled back and stopped no act leads back into life."""
    reachable = {state}
    for _ in State:
        reachable |= {WAYS[begin, act] for begin, act in WAYS if begin in reachable}
    assert reachable <= ENDED


@pytest.mark.parametrize("act", ["", "Start", "begin", "create", "patch"])
def test_an_unknown_act_is_named(act: str) -> None:
    """The message says which there are."""
    with pytest.raises(
        InvalidRequestError, match=f"act: '{act}' is not known; known: start, ramp, stop, pause"
    ):
        next_state(State.RUNNING, act)


@pytest.mark.parametrize("act", ["start", "ramp", "patch", "pause", "resume", "promote"])
def test_changes_wait_until_every_gateway_knows(act: str) -> None:
    """They hold two polls ahead, so that all gateways change together."""
    assert effective_at(act, now=100.0, poll_interval_s=2.0) == 104.0


@pytest.mark.parametrize("act", ["create", "rollback", "stop"])
def test_what_ends_harm_holds_at_once(act: str) -> None:
    """A rollback and a stop do not wait, nor does a draft, which nobody can call."""
    assert effective_at(act, now=100.0, poll_interval_s=2.0) == 100.0
