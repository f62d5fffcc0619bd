"""New versions out of old ones: what may change when, and that nothing else changes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.assignment import allocate
from serve.core.designs import design_of
from serve.core.edits import FIXED, Stamp, Wanted, create, moved, patched
from serve.core.errors import ConflictError, InvalidRequestError
from serve.core.experiment import ENDED, LIVE, Design, Experiment, State
from serve.core.lifecycle import Act
from tests.core.makings import STAMP, a_design, a_draft, arms_of, running

LATER = Stamp(author="bob", reason="later", created_at=200.0, effective_at=204.0)
DIGITS = tuple("0123456789")
LABELS = {"a": DIGITS, "b": DIGITS[::-1]}
SLOW = {"metric": "slo_exceedance", "threshold_ms": 200.0}
FULL: dict[str, Any] = {
    "description": "why",
    "mode": "paired",
    "layer": "page",
    "slots": [0, 5000],
    "ramp": 500,
    "sample": 2000,
    "guardrails": [SLOW],
    "keep_images": {"max_images": 5, "days": 1.0},
    "alias": "production",
}


def ended(state: State) -> Experiment:
    """An experiment that is over."""
    return replace(running(), state=state, winner=1 if state is State.PROMOTED else None)


def weights(a: int, b: int) -> dict[str, Any]:
    """A change of the weights."""
    return {"arms": [{"name": "a", "weight": a}, {"name": "b", "weight": b}]}


# --- versions ---


def test_a_new_experiment_is_a_draft() -> None:
    """Version 1, phase 0, slots by its weights, no labels yet, and it says who made it, why and when."""
    draft = create(a_design("test"), STAMP)
    assert (draft.number, draft.state, draft.phase, draft.phases) == (1, State.DRAFT, 0, ((5000, 5000),))
    assert draft.allocation == allocate((5000, 5000))
    assert (draft.labels, draft.translations, draft.winner) == ((), (), None)
    assert (draft.act, draft.author, draft.reason) == ("create", "ann", "because")
    assert (draft.created_at, draft.effective_at) == (100.0, 104.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda old: patched(old, {"ramp": 1}, LATER),
        lambda old: moved(old, "ramp", LATER, Wanted(ramp=1)),
        lambda old: moved(old, "pause", LATER),
    ],
)
def test_a_version_follows_the_one_before(change: Any) -> None:  # noqa: ANN401  a function of the list above
    """Its number is the next, its stamp its own, what the ledger gives is empty; the old one stays."""
    old = replace(running(), id=7, number=4, seq=30, digest="d" * 64)
    untouched = replace(old)
    new: Experiment = change(old)
    assert (new.id, new.number, new.seq, new.digest) == (7, 5, 0, "")
    assert (new.author, new.reason, new.created_at, new.effective_at) == ("bob", "later", 200.0, 204.0)
    assert old == untouched


# --- patches ---


@pytest.mark.parametrize("state", [State.DRAFT, *sorted(LIVE), *sorted(ENDED)])
def test_a_patch_of_nothing_is_no_version(state: State) -> None:
    """Whether it names nothing or only what is so already, the same object comes back, in every state."""
    experiment = replace(running(), state=state)
    for changes in ({}, {"ramp": 10_000}, {"alpha": 0.05}, weights(5000, 5000), {"keep_images": None}):
        assert patched(experiment, changes, LATER) is experiment


@pytest.mark.parametrize(
    "changes",
    [{"ramp": 700}, {"description": "x"}, {"sample": 1}, {"alias": "live"}, {"keep_images": {"days": 2.0}}],
)
def test_a_patch_changes_what_it_names(changes: dict[str, Any]) -> None:
    """Every other field of a full design stays as it was, inside parts too, in a draft and in a live one."""
    for experiment in (a_draft(**FULL), running(**FULL)):
        before = experiment.design.model_dump(mode="json")
        after = patched(experiment, changes, LATER).design.model_dump(mode="json")
        if "keep_images" in changes:  # a part is merged, not replaced
            changes = {"keep_images": before["keep_images"] | changes["keep_images"]}
        assert after == before | changes


@given(st.sets(st.sampled_from(sorted(Design.model_fields))))
def test_a_patch_never_nulls_what_is_absent(named: set[str]) -> None:
    """A patch with any fields of the design as they are changes none, whichever are left out."""
    experiment = a_draft(**FULL)
    whole = experiment.design.model_dump(mode="json")
    assert patched(experiment, {field: whole[field] for field in named}, LATER) is experiment


def test_null_sets_a_field_to_its_default() -> None:
    """As RFC 7396 has it: a member that is null is removed."""
    patch = {"keep_images": None, "alias": None, "guardrails": None, "ramp": None}
    design = patched(a_draft(**FULL), patch, LATER).design
    assert (design.keep_images, design.alias, design.guardrails, design.ramp) == (None, "", (), 10_000)
    with pytest.raises(InvalidRequestError, match="mode: is missing"):
        patched(a_draft(), {"mode": None}, LATER)


def test_a_patch_is_checked_like_a_design() -> None:
    """What comes of it keeps every rule, also those between fields."""
    with pytest.raises(InvalidRequestError, match=r"ramp: is 10001\."):
        patched(a_draft(), {"ramp": 10_001}, LATER)
    with pytest.raises(InvalidRequestError, match="keep_images: split mode finds no disagreements"):
        patched(a_draft(**FULL), {"mode": "split", "sample": None}, LATER)
    with pytest.raises(InvalidRequestError, match=r"rampp: is not known; did you mean ramp\?"):
        patched(a_draft(), {"rampp": 1}, LATER)


def test_a_draft_may_change_all_but_its_name() -> None:
    """Its slots follow the weights as if it were new, since nobody has been assigned yet."""
    changes = {"mode": "paired", "alpha": 0.01, "layer": "page", "slots": [1, 9], "holdout": 5, "margin": 0.5}
    arms = arms_of(2000, 3000, 5000)
    draft = patched(a_draft(), changes | {"arms": arms}, LATER)
    assert draft.design == design_of({"name": "test", **changes, "arms": arms})
    assert (draft.phase, draft.phases) == (0, ((2000, 3000, 5000),))
    assert draft.allocation == allocate((2000, 3000, 5000))
    with pytest.raises(ConflictError, match="name: cannot change from 'test' to 'other'"):
        patched(a_draft(), {"name": "other"}, LATER)


UNTOUCHABLE: dict[str, Any] = {
    "mode": "paired",
    "arms": [{"name": "a", "model": "m", "version": "1", "weight": 5000}, arms_of(5000, 5000)[1]],
    "layer": "page",
    "slots": [0, 5000],
    "holdout": 100,
    "overrides": [{"unit": "u", "arm": "b", "reason": "r"}],
    "primary_metric": "error_rate",
    "alpha": 0.1,
    "margin": 0.02,
    "pairs": "all",
    "planned_units": 500,
    "guardrails": [SLOW],
    "promote_when_better": True,
}


@pytest.mark.parametrize("field", FIXED)
@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_started_experiment_keeps_its_analysis(field: str, state: State) -> None:
    """What would make its statistics invalid is refused, with field, both values, state and reason."""
    guardrails = [{"metric": "error_rate"}] if field == "promote_when_better" else []
    experiment = replace(running(guardrails=guardrails), state=state)
    with pytest.raises(ConflictError) as refused:
        patched(experiment, {field: UNTOUCHABLE[field]}, LATER)
    message = refused.value.message
    assert message.startswith(f"{field}: cannot change from ")
    assert f" while the experiment is {state.value}: {FIXED[field]}. Make a new experiment" in message


def test_the_reason_is_given_in_plain_words() -> None:
    """For alpha: why a look at the outcomes spoils the choice."""
    with pytest.raises(ConflictError) as refused:
        patched(running(), {"alpha": 0.1}, LATER)
    assert refused.value.message == (
        "alpha: cannot change from 0.05 to 0.1 while the experiment is running: chosen after outcomes were"
        " seen it would no longer bound the chance of a false verdict. Make a new experiment for it"
    )


@pytest.mark.parametrize(
    "changes",
    [{"version": "2"}, {"model": "m"}, {"name": "c"}, {"labels": {"x": "y"}}],
)
def test_arms_keep_all_but_their_weights(changes: dict[str, Any]) -> None:
    """Another version, model, name or mapping of labels is another arm."""
    control, arm = arms_of(5000, 5000)
    with pytest.raises(ConflictError, match=r"arms: cannot change from .* only their weights may change"):
        patched(running(), {"arms": [control, arm | changes]}, LATER)


@pytest.mark.parametrize("state", sorted(ENDED))
def test_nothing_of_an_ended_experiment_changes(state: State) -> None:
    """Not even its description: what is reported is what was."""
    with pytest.raises(ConflictError, match=f"is {state.value.replace('_', ' ')}, nothing of it can change"):
        patched(ended(state), {"description": "x"}, LATER)


def test_new_weights_open_a_phase() -> None:
    """Slots move, minimally; phases are kept in order. A ramp opens none."""
    first = running()
    second = patched(first, weights(9000, 1000), LATER)
    third = patched(second, {"ramp": 100}, LATER)
    fourth = patched(third, weights(5000, 5000), LATER)
    assert [one.phase for one in (first, second, third, fourth)] == [0, 1, 1, 2]
    assert fourth.phases == ((5000, 5000), (9000, 1000), (5000, 5000))
    assert second.allocation == third.allocation == allocate((9000, 1000))
    assert fourth.allocation == first.allocation


def test_weights_are_changed_by_name() -> None:
    """Names and weights alone leave all else of the arms as it is; who is not named keeps its weight."""
    experiment = running(arms=arms_of(5000, 3000, 2000))
    changed = patched(
        experiment, {"arms": [{"name": "c", "weight": 1000}, {"name": "a", "weight": 6000}]}, LATER
    )
    assert changed.design.weights == (6000, 3000, 1000)
    assert [arm.model for arm in changed.design.arms] == ["digits_a", "digits_b", "digits_c"]


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ([{"name": "z", "weight": 1}], "arms: ['z'] are no arms; known: ['a', 'b']"),
        ([{"name": "a", "weight": 1}] * 2, "arms: a name is given more than once; known: ['a', 'b']"),
        ([{"name": "a", "weight": 1}], "arms: the weights [1, 5000] sum to 5001, must sum to 10000"),
        ([{"name": "a", "weight": "x"}], "arms.0.weight: is 'x'."),
        ([{"name": "a"}], "arms.0.model: is missing"),
        ("a", "arms: is 'a'."),
        ([], "arms: is []."),
    ],
)
def test_wrong_weights_are_named(arms: object, message: str) -> None:
    """Whatever stands where a change of the weights should."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        patched(running(), {"arms": arms}, LATER)


# --- acts ---


def started() -> Experiment:
    """A started experiment with its labels."""
    return moved(a_draft(), "start", LATER, Wanted(labels_of=LABELS))


def test_a_start_fixes_the_labels() -> None:
    """The control's, and how each arm's translate to them."""
    experiment = started()
    assert (experiment.state, experiment.act, experiment.number) == (State.RUNNING, "start", 2)
    assert experiment.labels == DIGITS
    assert experiment.translations == (tuple(range(10)), tuple(range(9, -1, -1)))
    with pytest.raises(InvalidRequestError, match=r"arms\.b\.labels: .* have different labels"):
        moved(a_draft(), "start", LATER, Wanted(labels_of={"a": DIGITS, "b": ("cat", "dog")}))
    with pytest.raises(ValueError, match="labels_of: is missing"):
        moved(a_draft(), "start", LATER)


def test_repeated_acts_are_no_versions() -> None:
    """Each act once more, in the state that it led to, gives the same object; whatever goes with it."""
    life = (
        ("start", Wanted(labels_of=LABELS), Wanted()),
        ("ramp", Wanted(ramp=100), Wanted(ramp=100)),
        ("pause", Wanted(), Wanted()),
        ("resume", Wanted(), Wanted()),
        ("promote", Wanted(arm="b"), Wanted()),
        ("rollback", Wanted(), Wanted()),
    )
    experiment = a_draft()
    for number, (act, wanted, again) in enumerate(life, start=2):
        experiment = moved(experiment, act, LATER, wanted)
        assert (experiment.number, experiment.act) == (number, act)
        assert moved(experiment, act, LATER, wanted) is experiment
        assert moved(experiment, act, LATER, again) is experiment
    stopped = moved(started(), "stop", LATER)
    assert moved(stopped, "stop", LATER) is stopped


def test_a_ramp_moves_only_the_threshold() -> None:
    """Running, paused or draft; phase and allocation stay. It must be given and be a share."""
    for state in (State.DRAFT, State.RUNNING, State.PAUSED):
        before = replace(running(), state=state)
        after = moved(before, "ramp", LATER, Wanted(ramp=500))
        assert after.design == before.design.model_copy(update={"ramp": 500})
        assert (after.state, after.phase, after.allocation) == (state, before.phase, before.allocation)
    with pytest.raises(InvalidRequestError, match="ramp: is missing"):
        moved(running(), "ramp", LATER)
    with pytest.raises(InvalidRequestError, match=r"ramp: is 10001\."):
        moved(running(), "ramp", LATER, Wanted(ramp=10_001))


def test_a_promotion_names_the_winner() -> None:
    """Any arm, the control too; of two arms the second where none is named; of three it must be."""
    assert moved(running(), "promote", LATER).standing.name == "b"
    assert moved(running(), "promote", LATER, Wanted(arm="a")).standing.name == "a"
    three = running(arms=arms_of(5000, 3000, 2000))
    assert moved(three, "promote", LATER, Wanted(arm="c")).winner == 2
    with pytest.raises(InvalidRequestError, match=r"arm: is None, must be one of \['a', 'b', 'c'\]"):
        moved(three, "promote", LATER)
    with pytest.raises(InvalidRequestError, match="arm: is 'z', must be one of"):
        moved(running(), "promote", LATER, Wanted(arm="z"))


def test_a_promotion_is_not_changed_into_another() -> None:
    """Callers have met the winner; the way is a rollback, and a new experiment."""
    promoted = moved(running(), "promote", LATER, Wanted(arm="b"))
    with pytest.raises(ConflictError, match="arm: 'a' cannot be promoted, 'b' has been already"):
        moved(promoted, "promote", LATER, Wanted(arm="a"))


@pytest.mark.parametrize("state", [*sorted(LIVE), State.PROMOTED])
def test_a_rollback_gives_everybody_the_control(state: State) -> None:
    """From running, paused and promoted."""
    experiment = replace(running(), state=state, winner=1 if state is State.PROMOTED else None)
    back = moved(experiment, "rollback", LATER)
    assert (back.state, back.winner, back.standing.name) == (State.ROLLED_BACK, None, "a")


@pytest.mark.parametrize(
    ("act", "wanted", "message"),
    [
        ("pause", Wanted(ramp=5), "ramp: is 5, goes only with the act 'ramp', not 'pause'"),
        ("ramp", Wanted(ramp=5, arm="b"), "arm: is 'b', goes only with the act 'promote', not 'ramp'"),
        ("finish", Wanted(), "act: 'finish' is not known"),
    ],
)
def test_what_an_act_does_not_need_is_refused(act: str, wanted: Wanted, message: str) -> None:
    """Nobody believes that a pause has ramped."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        moved(running(), act, LATER, wanted)


@pytest.mark.parametrize("act", [Act.PAUSE, Act.RESUME, Act.PROMOTE, Act.ROLLBACK])
def test_a_draft_can_only_start_or_stop(act: Act) -> None:
    """The lifecycle's table decides."""
    with pytest.raises(
        ConflictError, match="is not allowed while the experiment is draft; allowed: start, ramp, stop"
    ):
        moved(a_draft(), act.value, LATER)
