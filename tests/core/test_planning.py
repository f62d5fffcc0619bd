"""The size of an experiment before it is created: textbook figures, and what no figure can say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serve.core.errors import InvalidRequestError
from serve.core.experiment import Design
from serve.core.planning import SizePlan, size_plan
from serve.core.sizes import Guess
from tests.core.studied import an_experiment


def design(mode: str = "paired", arms: int = 2, **changes: Any) -> Design:  # noqa: ANN401  a design's
    """A design of digits with a margin of one point."""
    return an_experiment(mode, arms, **changes).design


def plan(mode: str = "paired", arms: int = 2, guess: Guess | None = None, **changes: Any) -> SizePlan:  # noqa: ANN401
    """Its size."""
    return size_plan(design(mode, arms, **changes), guess or Guess())


def test_pairs_are_those_of_connor() -> None:
    """One point at 10 % disagreement: 7847 pairs with one look; labels for the disagreements only."""
    found = plan(guess=Guess(disagreement=0.1, units_per_day=1000))
    assert found.units_fixed == 7847
    assert found.units is not None
    assert 7847 < found.units < 2 * 7847
    assert found.labels == pytest.approx(0.1 * found.units, abs=1)
    assert found.days == found.units / 1000
    assert found.days_fixed == 7.847


def test_a_split_needs_several_times_as_many() -> None:
    """From 0.76 to 0.75, in both arms together: Fleiss' formula, checked with statsmodels elsewhere."""
    found = plan("split", guess=Guess(accuracy=0.76))
    assert found.units_fixed == pytest.approx(2 * 29_036, abs=2)
    assert found.labels == found.units


def test_uneven_weights_need_more_units() -> None:
    """Nine to one: 1 / (4 w v) times as many as in halves, for both arms together."""
    uneven = [
        {"name": "a", "model": "m", "version": "1", "weight": 9000},
        {"name": "b", "model": "n", "version": "1", "weight": 1000},
    ]
    halves = plan("split")
    skewed = size_plan(Design.model_validate(design("split").model_dump() | {"arms": uneven}), Guess())
    assert (skewed.units or 0) / (halves.units or 1) == pytest.approx(1 / 0.36, rel=1e-3)


def test_what_is_found_by_the_planned_units_needs_these_units() -> None:
    """The two questions are each other's inverse."""
    for mode in ("split", "paired"):
        found = plan(mode, planned_units=20_000)
        again = plan(mode, margin=found.detectable)
        assert again.units == pytest.approx(20_000, rel=2e-3)


def test_only_enrolled_units_count_in_days() -> None:
    """Half of the slots, a tenth of them enrolled, a fifth held out, every fourth request sampled."""
    found = plan(slots=(0, 5000), ramp=1000, holdout=2000, sample=2500, guess=Guess(units_per_day=10_000))
    assert found.enrolled_per_day == pytest.approx(10_000 * 0.5 * 0.1 * 0.8 * 0.25)


def test_more_arms_and_images_that_are_alike() -> None:
    """Three arms halve alpha; ten images a unit with ICC 0.1 are worth five independent ones."""
    assert plan(arms=3).alpha == 0.025
    assert (plan(arms=3).units or 0) > (plan().units or 0)
    many = plan(pairs="all", guess=Guess(images_per_unit=10, icc=1 / 9))
    assert many.units_fixed == pytest.approx(7847 / 5, abs=1)


@pytest.mark.parametrize(("disagreement", "known"), [(0.002, True), (0.05, True), (0.01, False)])
def test_agreement_is_told_from_the_margin(disagreement: float, known: bool) -> None:
    """Unless it is just the margin; no labels are needed."""
    found = plan(primary_metric="agreement", guess=Guess(disagreement=disagreement))
    assert (found.units is not None) is known
    if found.units is not None and found.units_fixed is not None:
        assert 0 < found.units_fixed < found.units
        assert found.labels == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "split", "primary_metric": "latency_p99"}, "cannot be told beforehand"),
        ({"margin": 0.2}, "A difference of 20 points is more than 10 points"),
    ],
)
def test_what_cannot_be_told_is_said(changes: dict[str, Any], words: str) -> None:
    """Instead of a number that means nothing."""
    found = plan(**changes)
    assert (found.units, found.units_fixed, found.labels, found.days) == (None, None, None, None)
    assert words in found.sentences[0]


def test_the_sentences_and_the_json_form() -> None:
    """Plain words with days at the present traffic, and finite numbers only."""
    found = plan(guess=Guess(units_per_day=2000))
    text = " ".join(found.sentences)
    assert f"about {found.units:,} units are needed ({found.days:.1f} days), looking at any time" in text
    assert "The planned 10,000 units (5.0 days) find differences from" in text
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["sentences"] == list(found.sentences)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accuracy", 0.0),
        ("error_rate", 1.0),
        ("disagreement", float("nan")),
        ("images_per_unit", 0.5),
        ("icc", -0.1),
        ("units_per_day", 0.0),
    ],
)
def test_impossible_guesses_are_refused(name: str, value: float) -> None:
    """With their name and value."""
    with pytest.raises(InvalidRequestError, match=f"{name} is {value}"):
        Guess(**{name: value})


def test_every_metric_and_mode_has_a_plan() -> None:
    """Also where an arm gets no unit at all."""
    for mode in ("split", "shadow", "paired"):
        for metric in ("accuracy", "error_rate"):
            assert plan(mode, primary_metric=metric).sentences
    for metric in ("latency_p50", "latency_p99"):
        assert plan("split", primary_metric=metric).sentences
    idle = [
        {"name": "a", "model": "m", "version": "1", "weight": 10_000},
        {"name": "b", "model": "n", "version": "1", "weight": 0},
    ]
    none = size_plan(Design.model_validate(design("split").model_dump() | {"arms": idle}), Guess())
    assert none.units is None
    assert none.detectable is None
