"""What a design must agree with beside itself: layers, labels, names."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.errors import ConflictError, InvalidRequestError
from serve.core.experiment import ENDED, Design, Experiment, State
from serve.core.neighbours import check_alias_name, check_labels, check_layer
from tests.core.makings import a_design, arms_of, running

DIGITS = tuple("0123456789")
GERMAN = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")


# --- layers ---


@pytest.mark.parametrize("state", [State.DRAFT, State.RUNNING, State.PAUSED])
def test_overlapping_slots_are_refused(state: State) -> None:
    """The message names both, the layer, and what is free."""
    holders = [
        replace(running("first", layer="page", slots=[1000, 3000]), state=state),
        running("second", layer="page", slots=[5000, 9000]),
    ]
    expected = (
        "slots: [2999, 5001] of layer 'page' overlap [1000, 3000] of the experiment 'first', which is"
        f" {state.value}; free: [[0, 1000], [3000, 5000], [9000, 10000]]"
    )
    with pytest.raises(ConflictError, match=f"^{re.escape(expected)}$"):
        check_layer(a_design("new", layer="page", slots=[2999, 5001]), holders)


def test_a_full_layer_says_so() -> None:
    """Nothing is free."""
    with pytest.raises(ConflictError, match="free: none"):
        check_layer(a_design("new", layer="page"), [running("first", layer="page")])


def test_slots_that_fit_are_accepted() -> None:
    """Beside others, in another layer, where one has ended, and where its own older version is."""
    others = [
        running("first", layer="page", slots=[0, 5000]),
        running("elsewhere", layer="other"),
        running("alone"),
        running("new", layer="page"),
        *(replace(running(f"was-{state.value}", layer="page"), state=state) for state in ENDED),
    ]
    check_layer(a_design("new", layer="page", slots=[5000, 10_000]), others)


def test_a_layer_of_its_own_can_be_named_by_others() -> None:
    """An experiment without a layer holds the whole of the one with its name."""
    with pytest.raises(ConflictError, match="of layer 'alone' overlap"):
        check_layer(a_design("new", layer="alone"), [running("alone")])


@given(
    st.lists(st.lists(st.integers(0, 10_000), min_size=2, max_size=2, unique=True).map(sorted), max_size=6)
)
def test_accepted_experiments_never_overlap(slots: list[list[int]]) -> None:
    """Whatever is asked for, what is accepted one after the other is disjoint, and no fit is refused."""
    accepted: list[Experiment] = []
    for number, (start, stop) in enumerate(slots):
        design = a_design(f"e{number}", layer="page", slots=[start, stop])
        held = {slot for other in accepted for slot in range(*other.design.slots)}
        if held.isdisjoint(range(start, stop)):
            check_layer(design, accepted)
            accepted.append(running(design.name, layer="page", slots=[start, stop]))
        else:
            with pytest.raises(ConflictError):
                check_layer(design, accepted)


# --- labels ---


def mapped(labels: dict[str, str]) -> Design:
    """A design whose second arm has a mapping of labels."""
    control, arm = arms_of(5000, 5000)
    return a_design(arms=[control, arm | {"labels": labels}])


def test_the_same_labels_need_no_mapping() -> None:
    """In the same order or in another one."""
    for labels, expected in ((DIGITS, tuple(range(10))), (DIGITS[::-1], tuple(range(9, -1, -1)))):
        found = check_labels(a_design(), {"a": DIGITS, "b": labels})
        assert found == (tuple(range(10)), expected)


def test_a_mapping_translates() -> None:
    """Whole, or only for those labels that are called otherwise; two may be exchanged."""
    whole = mapped(dict(zip(GERMAN, DIGITS, strict=True)))
    assert check_labels(whole, {"a": DIGITS, "b": GERMAN})[1] == tuple(range(10))
    assert check_labels(mapped({"zero": "0"}), {"a": DIGITS, "b": (*DIGITS[1:], "zero")})[1] == (
        *range(1, 10),
        0,
    )
    assert check_labels(mapped({"x": "y", "y": "x"}), {"a": ("x", "y"), "b": ("x", "y")})[1] == (1, 0)


def test_every_arm_is_translated() -> None:
    """One translation an arm, in the design's order."""
    design = a_design(arms=arms_of(5000, 3000, 2000))
    found = check_labels(design, {"a": ("x", "y"), "b": ("y", "x"), "c": ("x", "y")})
    assert found == ((0, 1), (1, 0), (0, 1))


def test_equal_lists_may_hold_a_label_twice() -> None:
    """ImageNet has two classes 'crane': no label that is told tells them apart, so they are one."""
    cranes = ("crane", "wren", "crane")
    assert check_labels(a_design(), {"a": cranes, "b": cranes}) == ((0, 1, 0), (0, 1, 0))


@pytest.mark.parametrize(
    ("labels", "of_a", "of_b", "message"),
    [
        ({}, DIGITS, GERMAN, "'null', 'eins', 'zwei' and 7 more only here, '0', '1', '2' and 7 more only"),
        ({}, ("x",), ("y",), "arms.b.labels: digits_b:1 and the control have different labels: 'y' only"),
        ({}, DIGITS, DIGITS[1:], "different labels: none only here, '0' only there"),
        ({}, DIGITS[1:], DIGITS, "different labels: '0' only here, none only there"),
        ({"null": "0"}, ("0", "1"), ("null", "eins"), "different labels: 'eins' only here, '1' only there"),
        ({"one": "1"}, ("0", "1"), ("0", "1", "one"), "labels: '1' would each mean more than one class"),
        ({}, ("x", "y", "x"), ("y", "x", "x"), "arms.b.labels: 'x' would each mean more than one class"),
        ({"nil": "0"}, DIGITS, DIGITS, "arms.b.labels: 'nil': no label of this arm's model"),
        ({"0": "nil"}, DIGITS, DIGITS, "arms.b.labels: 'nil': no label of the control's model"),
    ],
)  # fmt: skip
def test_labels_that_do_not_agree_are_refused(
    labels: dict[str, str], of_a: tuple[str, ...], of_b: tuple[str, ...], message: str
) -> None:
    """Unless the mapping makes them agree one to one; the message lists the first that differ."""
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        check_labels(mapped(labels), {"a": of_a, "b": of_b})


def test_the_control_has_no_mapping() -> None:
    """Its labels are those to which the others are translated."""
    control, arm = arms_of(5000, 5000)
    design = a_design(arms=[control | {"labels": {"x": "y"}}, arm])
    with pytest.raises(InvalidRequestError, match=r"arms\.a\.labels: the control's labels are what"):
        check_labels(design, {"a": ("x",), "b": ("x",)})


@given(st.permutations(DIGITS), st.permutations(DIGITS))
def test_a_translation_leads_to_the_same_label(control: list[str], arm: list[str]) -> None:
    """For any two orders: what the arm calls a label, the translation finds among the control's."""
    translation = check_labels(a_design(), {"a": tuple(control), "b": tuple(arm)})[1]
    assert [control[index] for index in translation] == arm


# --- names ---


def test_an_alias_means_one_thing() -> None:
    """It is neither a model's nor an experiment's name."""
    check_alias_name("production", models=["digits_se"], experiments=["test"])
    with pytest.raises(ConflictError, match="alias: 'digits_se' is a model's name already"):
        check_alias_name("digits_se", models=["digits_se"], experiments=["test"])
    with pytest.raises(ConflictError, match="alias: 'test' is an experiment's name already"):
        check_alias_name("test", models=["digits_se"], experiments=["test"])
