"""Making a new version of an experiment out of the newest one; every version is a value of its own.

A change names only what it changes, and what it does not name stays. Once an experiment has started, only
that may change which leaves its statistics valid: see `FIXED` for the rest and the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from serve.core.assignment import allocate, reallocate
from serve.core.designs import design_of
from serve.core.errors import ConflictError, InvalidRequestError
from serve.core.experiment import ENDED, Arm, Design, Experiment, State
from serve.core.lifecycle import Act, next_state
from serve.core.neighbours import check_labels

_AFTER_LOOKING = "chosen after outcomes were seen it would no longer bound the chance of a false verdict"
_OTHER_DATA = "what was recorded so far was recorded otherwise, and the two cannot be added up"
_OTHER_UNITS = "units would enter or leave that have been counted already"
# What may not change once an experiment has started, and why. The rest may: ramp, weights (a new phase, which
# is analysed apart), sample, description, keep_images, alias.
FIXED: Mapping[str, str] = MappingProxyType(
    {
        "mode": _OTHER_DATA,
        "arms": "the outcomes so far are those of the arms as they were; only their weights may change",
        "layer": _OTHER_UNITS,
        "slots": f"{_OTHER_UNITS}; use the ramp to enrol more or fewer",
        "holdout": _OTHER_UNITS,
        "overrides": _OTHER_UNITS,
        "primary_metric": _AFTER_LOOKING,
        "alpha": _AFTER_LOOKING,
        "margin": _AFTER_LOOKING,
        "pairs": _AFTER_LOOKING,
        "planned_units": _AFTER_LOOKING,
        "guardrails": "chosen after outcomes were seen they would not bound the chance of a false rollback",
        "promote_when_better": "a policy of promotion counts only when it was written down beforehand",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Who makes a version, why and when.

    Attributes:
        author: A token's name; "guardrail" or "policy" for what the gateway does by itself.
        created_at: Unix time.
        effective_at: Unix time from which it holds; `serve.core.lifecycle.effective_at`.
    """

    author: str
    reason: str
    created_at: float
    effective_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an act is given beside its name.

    Attributes:
        ramp: Goes with ramp: the enrolled share, in 1/10 000.
        arm: Goes with promote: the winner's name. Where there are two arms it may be left out, and means
            the second.
        labels_of: Goes with the start of a draft, which needs it: each arm's labels, by the arm's name.
    """

    ramp: int | None = None
    arm: str | None = None
    labels_of: Mapping[str, tuple[str, ...]] | None = None


NOTHING = Wanted()


def create(design: Design, stamp: Stamp) -> Experiment:
    """The first version: a draft."""
    return Experiment(
        number=1,
        design=design,
        state=State.DRAFT,
        phases=(design.weights,),
        allocation=allocate(design.weights),
        effective_at=stamp.effective_at,
        created_at=stamp.created_at,
        act=Act.CREATE.value,
        author=stamp.author,
        reason=stamp.reason,
    )


def patched(experiment: Experiment, changes: Mapping[str, Any], stamp: Stamp) -> Experiment:
    """Change what is named in the design (JSON Merge Patch, RFC 7396); null sets a field to its default.

    Where `arms` is a list of nothing but names and weights, these weights change and all else of the arms
    stays; otherwise the list replaces the arms.

    Returns:
        The next version; the same object if nothing changes.

    Raises:
        InvalidRequestError: A value breaks a rule; every one is named.
        ConflictError: It may not change in this state; the message says why.
    """
    old = experiment.design.model_dump(mode="json")
    design = design_of(_merged(old, {**changes, **_reweighted(experiment.design, changes.get("arms"))}))
    if design == experiment.design:
        return experiment
    _check_may_change(experiment, design)
    return _next(_redesigned(experiment, design), Act.PATCH, stamp)


def moved(experiment: Experiment, act: str, stamp: Stamp, wanted: Wanted = NOTHING) -> Experiment:
    """Do one of `serve.core.lifecycle.ACTS`.

    Returns:
        The next version; the same object if nothing changes, because the act is repeated.

    Raises:
        InvalidRequestError: The act is not known, or what it needs is missing or wrong.
        ConflictError: It is not allowed in this state.
        ValueError: A draft is to start, and `labels_of` is missing.
    """
    reached = next_state(experiment.state, act)
    _check_wanted(act, wanted)
    change = _CHANGES.get(Act(act))
    result = replace(change(experiment, wanted) if change else experiment, state=reached)
    return experiment if result == experiment else _next(result, Act(act), stamp)


def _next(result: Experiment, act: Act, stamp: Stamp) -> Experiment:
    return replace(
        result,
        number=result.number + 1,
        seq=0,
        effective_at=stamp.effective_at,
        created_at=stamp.created_at,
        act=act.value,
        author=stamp.author,
        reason=stamp.reason,
        digest="",
    )


def _merged(target: object, patch: object) -> object:
    """RFC 7396, section 2."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _reweighted(design: Design, given: object) -> dict[str, Any]:
    """`arms` in full where only names and weights are given."""
    if not isinstance(given, list) or not given:
        return {}
    if not all(isinstance(arm, Mapping) and set(arm) == {"name", "weight"} for arm in given):
        return {}
    weights = {str(arm["name"]): arm["weight"] for arm in given}
    known = [arm.name for arm in design.arms]
    unknown = sorted(weights.keys() - set(known))
    if unknown or len(weights) < len(given):
        wrong = f"{unknown} are no arms" if unknown else "a name is given more than once"
        raise InvalidRequestError(f"arms: {wrong}; known: {known}")
    arms = [arm.model_dump(mode="json") for arm in design.arms]
    return {"arms": [arm | {"weight": weights.get(arm["name"], arm["weight"])} for arm in arms]}


def _check_may_change(experiment: Experiment, design: Design) -> None:
    old, state = experiment.design, experiment.state.value.replace("_", " ")
    if design.name != old.name:
        raise ConflictError(
            f"name: cannot change from {old.name!r} to {design.name!r}: an experiment keeps its name"
        )
    if experiment.state in ENDED:
        raise ConflictError(f"experiment: {old.name!r} is {state}, nothing of it can change; make a new one")
    if experiment.state is State.DRAFT:
        return
    for field, reason in FIXED.items():
        before, after = _shown(old, field), _shown(design, field)
        if before != after:
            raise ConflictError(
                f"{field}: cannot change from {before!r} to {after!r} while the experiment is {state}:"
                f" {reason}. Make a new experiment for it"
            )


def _shown(design: Design, field: str) -> object:
    """A field as JSON has it; arms without their weights, which may change."""
    if field == "arms":
        return [arm.model_dump(mode="json", exclude={"weight"}, exclude_defaults=True) for arm in design.arms]
    return design.model_dump(mode="json")[field]


def _redesigned(experiment: Experiment, design: Design) -> Experiment:
    if experiment.state is State.DRAFT:  # nobody has been assigned yet
        weights = design.weights
        return replace(experiment, design=design, phases=(weights,), allocation=allocate(weights))
    if design.weights == experiment.design.weights:
        return replace(experiment, design=design)
    return replace(
        experiment,
        design=design,
        phase=experiment.phase + 1,
        phases=(*experiment.phases, design.weights),
        allocation=reallocate(experiment.allocation, design.weights),
    )


def _check_wanted(act: str, wanted: Wanted) -> None:
    for name, goes_with in (("ramp", Act.RAMP), ("arm", Act.PROMOTE)):
        value = getattr(wanted, name)
        if value is not None and act != goes_with:
            raise InvalidRequestError(
                f"{name}: is {value!r}, goes only with the act {goes_with.value!r}, not {act!r}"
            )


def _started(experiment: Experiment, wanted: Wanted) -> Experiment:
    if experiment.state is not State.DRAFT:
        return experiment
    if wanted.labels_of is None:
        raise ValueError("labels_of: is missing; a draft starts with the labels of its arms' models")
    translations = check_labels(experiment.design, wanted.labels_of)
    labels = wanted.labels_of[experiment.design.control.name]
    return replace(experiment, labels=labels, translations=translations)


def _ramped(experiment: Experiment, wanted: Wanted) -> Experiment:
    if wanted.ramp is None:
        raise InvalidRequestError("ramp: is missing; must be the enrolled share in 1/10 000")
    return replace(
        experiment, design=design_of(experiment.design.model_dump(mode="json") | {"ramp": wanted.ramp})
    )


def _promoted(experiment: Experiment, wanted: Wanted) -> Experiment:
    arms, done = experiment.design.arms, experiment.state is State.PROMOTED
    if done and wanted.arm is None:
        return experiment
    winner = _winner(arms, wanted.arm)
    if done and winner != experiment.winner:
        raise ConflictError(
            f"arm: {arms[winner].name!r} cannot be promoted, {experiment.standing.name!r} has been already;"
            " roll that back, and make a new experiment"
        )
    return replace(experiment, winner=winner)


def _winner(arms: tuple[Arm, ...], name: str | None) -> int:
    names = [arm.name for arm in arms]
    if name is None and len(names) == 2:  # noqa: PLR2004  the control and one other
        return 1
    if name not in names:
        raise InvalidRequestError(f"arm: is {name!r}, must be one of {names}")
    return names.index(name)


def _rolled_back(experiment: Experiment, _: Wanted) -> Experiment:
    return replace(experiment, winner=None)


_CHANGES: Mapping[Act, Callable[[Experiment, Wanted], Experiment]] = MappingProxyType(
    {
        Act.START: _started,
        Act.RAMP: _ramped,
        Act.PROMOTE: _promoted,
        Act.ROLLBACK: _rolled_back,
    }
)
