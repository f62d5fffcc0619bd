"""An experiment's life: which acts are allowed in which state, what comes of them, and from when it holds."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from serve.core.errors import ConflictError, InvalidRequestError
from serve.core.experiment import State


class Act(StrEnum):
    """What makes a new version of an experiment."""

    CREATE = "create"
    PATCH = "patch"
    START = "start"
    RAMP = "ramp"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    STOP = "stop"


# Acts that lead from one state to another, or to the same one when they are repeated. What is not here is
# refused. A promotion can be rolled back: the control answers again.
WAYS: Mapping[tuple[State, Act], State] = {
    (State.DRAFT, Act.START): State.RUNNING,
    (State.DRAFT, Act.RAMP): State.DRAFT,
    (State.DRAFT, Act.STOP): State.STOPPED,
    (State.RUNNING, Act.START): State.RUNNING,
    (State.RUNNING, Act.RAMP): State.RUNNING,
    (State.RUNNING, Act.PAUSE): State.PAUSED,
    (State.RUNNING, Act.RESUME): State.RUNNING,
    (State.RUNNING, Act.PROMOTE): State.PROMOTED,
    (State.RUNNING, Act.ROLLBACK): State.ROLLED_BACK,
    (State.RUNNING, Act.STOP): State.STOPPED,
    (State.PAUSED, Act.RAMP): State.PAUSED,
    (State.PAUSED, Act.PAUSE): State.PAUSED,
    (State.PAUSED, Act.RESUME): State.RUNNING,
    (State.PAUSED, Act.PROMOTE): State.PROMOTED,
    (State.PAUSED, Act.ROLLBACK): State.ROLLED_BACK,
    (State.PAUSED, Act.STOP): State.STOPPED,
    (State.PROMOTED, Act.PROMOTE): State.PROMOTED,
    (State.PROMOTED, Act.ROLLBACK): State.ROLLED_BACK,
    (State.ROLLED_BACK, Act.ROLLBACK): State.ROLLED_BACK,
    (State.STOPPED, Act.STOP): State.STOPPED,
}
# The acts that a person asks for by name.
ACTS = tuple(dict.fromkeys(act for _, act in WAYS))
# What takes traffic away from a bad arm does not wait, nor does what no traffic sees.
AT_ONCE = frozenset({Act.CREATE, Act.ROLLBACK, Act.STOP})
POLLS_AHEAD = 2


def allowed(state: State) -> tuple[Act, ...]:
    """The acts that are allowed in a state."""
    return tuple(act for begin, act in WAYS if begin is state)


def next_state(state: State, act: str) -> State:
    """The state that an act leads to; the same one for an act that is repeated.

    Raises:
        InvalidRequestError: There is no such act.
        ConflictError: It is not allowed in this state; the message says which are.
    """
    if act not in ACTS:
        raise InvalidRequestError(f"act: {act!r} is not known; known: {_names(ACTS)}")
    reached = WAYS.get((state, Act(act)))
    if reached is None:
        may = _names(allowed(state))
        raise ConflictError(
            f"act: {act!r} is not allowed while the experiment is {state.value}; allowed: {may}"
        )
    return reached


def effective_at(act: str, now: float, poll_interval_s: float) -> float:
    """Unix time from which what an act makes holds: when every gateway has had two chances to read it.

    Args:
        act: An `Act`; a rollback and a stop hold at once.
        now: Unix time.
        poll_interval_s: How often gateways read the experiments.
    """
    return now if act in AT_ONCE else now + POLLS_AHEAD * poll_interval_s


def _names(acts: tuple[Act, ...]) -> str:
    return ", ".join(act.value for act in acts)
