"""Which arm a unit gets: fair, independent, sticky, and explained (acceptance test T8)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from serve.core.assignment import Assigner, Assignment, Why, allocate, reallocate
from serve.core.buckets import bucket
from serve.core.edits import patched
from serve.core.errors import InvalidRequestError
from serve.core.experiment import WHOLE, Experiment, Range, State
from tests.core.makings import STAMP, arms_of, running

UNITS = tuple(f"user-{number}" for number in range(10_000))
LEAST_P = 0.001


def arms(experiment: Experiment, why: Why = Why.HASH) -> dict[str, int]:
    """The units that got an arm for that reason, and which."""
    assigner = Assigner(experiment)
    found = {unit: assigner.assign(unit) for unit in UNITS}
    return {unit: one.arm for unit, one in found.items() if one.why is why}


def with_ramp(ramp: int) -> Experiment:
    """The same experiment at another ramp."""
    return patched(running(), {"ramp": ramp}, STAMP)


@st.composite
def weights(draw: st.DrawFn, count: int) -> tuple[int, ...]:
    """Any weights of so many arms."""
    cuts = sorted(draw(st.lists(st.integers(0, WHOLE), min_size=count - 1, max_size=count - 1)))
    return tuple(stop - start for start, stop in pairwise((0, *cuts, WHOLE)))


# --- the hash ---


def test_buckets_are_fair() -> None:
    """Over 1000 groups of buckets and 100 salts the p-values of chi-square are uniform (KS, p > 0.001)."""
    p_values = []
    for salt in range(100):
        counts = Counter(bucket(f"salt-{salt}", unit) // 10 for unit in UNITS[:5000])
        p_values.append(stats.chisquare([counts[group] for group in range(1000)]).pvalue)
    assert stats.kstest(p_values, "uniform").pvalue > LEAST_P


@pytest.mark.parametrize("names", [[f"test-{number}" for number in range(12)], ["", "a", "a/", "/a", "aa"]])
def test_experiments_are_independent(names: list[str]) -> None:
    """What a unit gets in one experiment says nothing about the next: p-values of all pairs are uniform."""
    halves = [np.array([bucket(f"{name}/arm", unit) < WHOLE // 2 for unit in UNITS]) for name in names]
    p_values = [_independence(one, other) for one, other in combinations(halves, 2)]
    assert stats.kstest(p_values, "uniform").pvalue > LEAST_P


def test_the_questions_of_one_experiment_are_independent() -> None:
    """Holdout, slot, ramp, arm, sample and order each have a hash of their own."""
    salts = ("/holdout", "test/slot", "test/ramp", "test/arm", "test/sample", "test/order")
    halves = [np.array([bucket(salt, unit) < WHOLE // 2 for unit in UNITS]) for salt in salts]
    p_values = [_independence(one, other) for one, other in combinations(halves, 2)]
    assert min(p_values) > LEAST_P / len(p_values)


def _independence(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    table = np.bincount(2 * one + other, minlength=4).reshape(2, 2)
    return float(stats.chi2_contingency(table, correction=False).pvalue)


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_salt_and_unit_cannot_be_mistaken(salt: str, middle: str, unit: str) -> None:
    """Text that moves from the salt to the unit makes another bucket: p of 10 hits in a row is 1e-40."""
    if not middle:
        return
    pairs = ((f"{salt}{middle}", f"{unit}{number}", salt, f"{middle}{unit}{number}") for number in range(10))
    assert any(bucket(salt_1, unit_1) != bucket(salt_2, unit_2) for salt_1, unit_1, salt_2, unit_2 in pairs)


@given(st.text())
def test_any_text_is_a_unit(unit: str) -> None:
    """Every text that has UTF-8 has an assignment, the same each time, and an explanation that agrees."""
    experiment = running(ramp=5000, holdout=1000, slots=[1000, 9000])
    assigner = Assigner(experiment)
    assert assigner.assign(unit) == Assigner(experiment).assign(unit)
    assert assigner.explain(unit).why is assigner.assign(unit).why


@pytest.mark.parametrize("unit", ["\ud800", "a\udfffb"])
@pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED])
def test_half_a_surrogate_pair_is_refused(unit: str, state: State) -> None:
    """It has no UTF-8, so programs in other languages could not agree; the message says so in every state."""
    assigner = Assigner(replace(running(), state=state))
    for ask in (assigner.assign, assigner.explain):
        with pytest.raises(InvalidRequestError, match=r"unit: '.*\\ud.*' has no UTF-8"):
            ask(unit)


# --- ramps ---


def test_a_ramp_moves_nobody_who_is_enrolled() -> None:
    """1 -> 5 -> 25 -> 50 -> 100 %: each step keeps every enrolled unit in its arm and only adds units."""
    steps = [arms(with_ramp(ramp)) for ramp in (100, 500, 2500, 5000, 10_000)]
    for before, after in pairwise(steps):
        assert before.items() < after.items()
    assert len(steps[-1]) == len(UNITS)


def test_a_ramp_down_drops_the_newest_first() -> None:
    """50 -> 5 -> 50 %: those stay who came before, and the return restores exactly who was there."""
    before, down, again = (arms(with_ramp(ramp)) for ramp in (5000, 500, 5000))
    assert down == arms(with_ramp(500))
    assert down.items() < before.items()
    assert again == before


@pytest.mark.parametrize("ramp", [0, 1, 2500, 9999, 10_000])
def test_a_ramp_enrols_its_share(ramp: int) -> None:
    """Of 10 000 units as many as the ramp says, within 4 standard errors; at 0 nobody, at 100 % all."""
    share = ramp / WHOLE
    off = 4 * (len(UNITS) * share * (1 - share)) ** 0.5
    assert abs(len(arms(with_ramp(ramp))) - len(UNITS) * share) <= off


# --- weights ---


@settings(max_examples=40)  # each tries every slot
@given(st.integers(2, 10).flatmap(lambda count: st.lists(weights(count), min_size=2, max_size=4)))
def test_a_reweight_moves_as_little_as_it_can(steps: list[tuple[int, ...]]) -> None:
    """Over any changes: only gained slots move, no arm both gives and takes, and the ranges are tidy."""
    ranges = allocate(steps[0])
    for before, after in pairwise(steps):
        old, ranges = _owners(ranges), reallocate(ranges, after)
        new = _owners(ranges)
        moves = [(giver, taker) for giver, taker in zip(old, new, strict=True) if giver != taker]
        assert len(moves) == sum(abs(one - other) for one, other in zip(before, after, strict=True)) // 2
        assert {giver for giver, _ in moves}.isdisjoint(taker for _, taker in moves)
        assert tuple(new.count(arm) for arm in range(len(after))) == after
        _check_tidy(ranges)


@settings(max_examples=40)  # as above
@given(st.lists(weights(2), min_size=1, max_size=6))
def test_two_arms_stay_two_ranges(steps: list[tuple[int, ...]]) -> None:
    """Whatever the way, the weights alone say which slots are whose; so old weights bring back old arms."""
    ranges = allocate(steps[0])
    for after in steps:
        ranges = reallocate(ranges, after)
    assert ranges == allocate(steps[-1])


def test_a_reweight_moves_units_in_one_direction() -> None:
    """50/50 -> 90/10: as many units as slots change, all of them to the arm that grew."""
    before = running()
    after = patched(before, {"arms": [{"name": "a", "weight": 9000}, {"name": "b", "weight": 1000}]}, STAMP)
    old, new = arms(before), arms(after)
    moves = Counter((old[unit], new[unit]) for unit in UNITS if old[unit] != new[unit])
    assert set(moves) == {(1, 0)}
    assert abs(moves[1, 0] - 0.4 * len(UNITS)) <= 3 * (len(UNITS) * 0.4 * 0.6) ** 0.5


@given(st.integers(2, 10).flatmap(weights))
def test_an_allocation_has_a_range_an_arm(given_weights: tuple[int, ...]) -> None:
    """In the arms' order, as long as the weight; an arm without weight has none."""
    ranges = allocate(given_weights)
    assert [(piece.arm, piece.stop - piece.start) for piece in ranges] == [
        (arm, weight) for arm, weight in enumerate(given_weights) if weight
    ]
    _check_tidy(ranges)


def _owners(ranges: tuple[Range, ...]) -> list[int]:
    return [piece.arm for piece in ranges for _ in range(piece.start, piece.stop)]


def _check_tidy(ranges: tuple[Range, ...]) -> None:
    """From 0 to the whole without a gap; neighbours are of different arms."""
    assert (ranges[0].start, ranges[-1].stop) == (0, WHOLE)
    for one, other in pairwise(ranges):
        assert one.start < one.stop == other.start
        assert one.arm != other.arm


# --- holdout, layers, overrides ---


def test_the_holdout_is_the_same_everywhere_and_never_exposed() -> None:
    """The same units of any experiment get the control, whatever its layer, ramp, weights and overrides."""
    everybody = [{"unit": unit, "arm": "b", "reason": "all"} for unit in UNITS[:500]]
    others = (
        running("one", holdout=1000, arms=arms_of(0, 10_000)),
        running("two", holdout=1000, layer="page", slots=[0, 2000]),
        running("three", holdout=1000, overrides=everybody),
        running("four", holdout=1000, mode="paired"),
    )
    held = [arms(experiment, Why.HOLDOUT) for experiment in others]
    assert held[0] == held[1] == held[2] == held[3]
    assert set(held[0].values()) == {0}
    assert abs(len(held[0]) - 1000) <= 4 * (len(UNITS) * 0.1 * 0.9) ** 0.5
    assert held[0].items() < arms(running("more", holdout=2000), Why.HOLDOUT).items()


def test_experiments_of_one_layer_never_share_a_unit() -> None:
    """Disjoint slots of a layer hold disjoint units; together they hold all."""
    slots = ([0, 2500], [2500, 2501], [2501, 10_000])
    held = [set(arms(running(f"e{start}", layer="page", slots=[start, stop]))) for start, stop in slots]
    assert not any(one & other for one, other in combinations(held, 2))
    assert set().union(*held) == set(UNITS)


def test_an_override_needs_neither_slot_nor_ramp() -> None:
    """A named unit gets its arm though nobody is enrolled, and is told apart from who was hashed."""
    named = [{"unit": "tester", "arm": "b", "reason": "tries it"}]
    assigner = Assigner(running(slots=[0, 1], ramp=0, overrides=named))
    assert assigner.assign("tester") == Assignment(arm=1, why=Why.OVERRIDE)
    assert assigner.assign("somebody") == Assignment(arm=0, why=Why.SINGLE)


@pytest.mark.parametrize(
    ("state", "winner", "arm"),
    [
        (State.DRAFT, None, 0),
        (State.PAUSED, None, 0),
        (State.PROMOTED, 1, 1),
        (State.ROLLED_BACK, None, 0),
        (State.STOPPED, None, 0),
    ],
)
def test_one_arm_answers_everybody_when_nothing_runs(state: State, winner: int | None, arm: int) -> None:
    """The winner after promotion, else the control; holdout and overrides do not matter then."""
    named = [{"unit": "user-1", "arm": "b", "reason": "tries it"}]
    experiment = replace(running(holdout=5000, overrides=named), state=state, winner=winner)
    assert set(arms(experiment, Why.SINGLE).values()) == {arm}
    assert len(arms(experiment, Why.SINGLE)) == len(UNITS)


# --- modes ---


@pytest.mark.parametrize(
    ("mode", "given_arms"), [("shadow", arms_of(None, None)), ("paired", arms_of(2000, 8000))]
)
def test_the_control_answers_where_images_are_shared(mode: str, given_arms: list[dict[str, object]]) -> None:
    """In shadow and paired mode an enrolled unit's arm is the control."""
    found = arms(running(mode=mode, arms=given_arms, ramp=5000))
    assert set(found.values()) == {0}
    assert 4700 < len(found) < 5300


def test_the_first_call_follows_the_weights() -> None:
    """In paired mode arm b with a weight of 80 % is called first for 80 % of requests."""
    assigner = Assigner(running(mode="paired", arms=arms_of(2000, 8000)))
    first = sum(assigner.first(prediction) for prediction in UNITS)
    assert abs(first - 8000) <= 4 * (len(UNITS) * 0.8 * 0.2) ** 0.5
    for mode, given_arms in (("split", arms_of(2000, 8000)), ("shadow", arms_of(None, None))):
        others = Assigner(running(mode=mode, arms=given_arms))
        assert not any(others.first(prediction) for prediction in UNITS[:100])


def test_the_sample_is_nested_and_by_request() -> None:
    """The other arms see a hashed share of the requests, of which a larger one holds a smaller."""
    seen = []
    for sample in (0, 2500, 5000, 10_000):
        assigner = Assigner(running(mode="paired", sample=sample))
        seen.append({prediction for prediction in UNITS if assigner.mirrored(prediction)})
    assert not seen[0]
    assert seen[1] < seen[2] < seen[3] == set(UNITS)
    assert abs(len(seen[1]) - 2500) <= 4 * (len(UNITS) * 0.25 * 0.75) ** 0.5
    split = Assigner(running())
    assert not any(split.mirrored(prediction) for prediction in UNITS)


# --- explanations ---


def test_an_explanation_shows_every_bucket_and_threshold() -> None:
    """All four questions with salt, bucket and range, in their order, whichever of them decided."""
    experiment = running("test", holdout=10, layer="page", slots=[100, 9000], ramp=5000)
    explained = Assigner(experiment).explain("user-7")
    assert [(check.question, check.salt, check.start, check.stop) for check in explained.checks[:3]] == [
        ("holdout", "/holdout", 0, 10),
        ("slot", "page/slot", 100, 9000),
        ("ramp", "test/ramp", 0, 5000),
    ]
    for check in explained.checks:
        assert check.bucket == bucket(check.salt, "user-7")
        assert check.passed is (check.start <= check.bucket < check.stop)
    assert (explained.experiment, explained.number, explained.unit) == ("test", 1, "user-7")


NAMED = [{"unit": "user-1", "arm": "b", "reason": "tries it"}]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "The unit takes part; its bucket 747 is in 0..4999, so 'a' answers."),
        ({"holdout": 10_000}, "The unit is held out of all experiments (its holdout bucket"),
        ({"overrides": NAMED}, "An override gives the unit 'b', for the reason 'tries it'."),
        ({"slots": [0, 1]}, "The unit is outside the experiment's part of its layer (its slot"),
        ({"ramp": 0}, "The ramp has not reached the unit (its ramp bucket"),
        (
            {"mode": "paired", "sample": 2500},
            "in paired mode the control 'a' answers and the other arms see 2500 of",
        ),
    ],
)
def test_an_explanation_says_what_decided(changes: dict[str, Any], sentence: str) -> None:
    """One plain sentence for each way in which a unit comes to its arm."""
    assert sentence in Assigner(running(**changes)).explain("user-1").sentence


@pytest.mark.parametrize(
    ("state", "winner", "sentence"),
    [
        (
            State.DRAFT,
            None,
            "The experiment is a draft, so it answers nobody; when it runs: the unit takes part",
        ),
        (State.PAUSED, None, "The experiment is paused, so 'a' answers everybody; when it runs: the unit"),
        (State.PROMOTED, 1, "The experiment is promoted, so 'b' answers everybody."),
        (State.ROLLED_BACK, None, "The experiment is rolled back, so 'a' answers everybody."),
        (State.STOPPED, None, "The experiment is stopped, so 'a' answers everybody."),
    ],
)
def test_an_explanation_says_when_nothing_runs(state: State, winner: int | None, sentence: str) -> None:
    """It names the state, who answers, and what a start or a resume would bring."""
    experiment = replace(running(), state=state, winner=winner)
    assert Assigner(experiment).explain("user-1").sentence.startswith(sentence)
