"""What can be done to a gateway, and what of the command line fits it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.arrivals import TraceError
from loadtests.outcome import CLOSED
from loadtests.running.plans import Plan, ScenarioError, burst_of, needs_measurement, plan_of, scenario_of
from loadtests.running.scenarios import SCENARIOS, Scenario
from loadtests.running.wish import Wish
from loadtests.shapes import Shape, ShapeError

BY_SHAPE = [scenario for scenario in SCENARIOS.values() if "shape" in scenario.takes]
OPEN_LOOP = [scenario for scenario in SCENARIOS.values() if "rate" in scenario.takes]


def levels(plan: Plan) -> list[float]:
    """Of its segments, each at its end."""
    return [segment.last for segment in plan.shape.segments]


@pytest.mark.parametrize("scenario", OPEN_LOOP, ids=lambda scenario: scenario.name)
def test_a_rate_that_is_not_given_follows_from_what_was_measured(scenario: Scenario) -> None:
    """By the scenario's own share of it; a rate or a shape that is given needs no measurement."""
    wish = Wish(scenario=scenario.name)
    assert needs_measurement(scenario, wish)
    assert not needs_measurement(scenario, replace(wish, rate=50.0))
    assert not needs_measurement(scenario, replace(wish, shape="10@5"))
    assert plan_of(wish, measured=100).shape == plan_of(replace(wish, rate=100 * scenario.level)).shape


@pytest.mark.parametrize("scenario", BY_SHAPE, ids=lambda scenario: scenario.name)
@given(seconds=st.floats(1, 1e5), level=st.integers(1, 10_000))
def test_a_run_takes_the_seconds_that_were_asked_for(scenario: Scenario, seconds: float, level: int) -> None:
    """To the four digits that its shape is written with, and its load is read as it was written."""
    load = {"rate": float(level)} if "rate" in scenario.takes else {"users": level}
    plan = plan_of(Wish(scenario=scenario.name, seconds=seconds, **load))
    assert plan.shape.seconds == pytest.approx(seconds, rel=1e-3)
    assert Shape.parse(str(plan.shape)) == plan.shape


def test_steps_go_beyond_the_rate() -> None:
    """From a quarter to six quarters."""
    assert levels(plan_of(Wish(scenario="steps", rate=200.0))) == [50, 100, 150, 200, 250, 300]


def test_a_spike_is_five_times_the_rate_for_a_fifth_of_the_time() -> None:
    """With as much before as after it."""
    plan = plan_of(Wish(scenario="spike", rate=20.0, seconds=50.0))
    assert str(plan.shape) == "20@20,10@100,20@20"


@pytest.mark.parametrize(
    ("users", "expected"), [(48, [3, 6, 12, 24, 48]), (8, [3, 6, 8]), (3, [3]), (1, [1])]
)
def test_users_are_doubled_up_to_the_most(users: int, expected: list[float]) -> None:
    """Each of the three ways has as many of them, and the last step has all."""
    assert levels(plan_of(Wish(scenario="users", users=users))) == expected


def test_a_shape_takes_the_place_of_the_scenarios_own() -> None:
    """And a burst is one for users who wait."""
    assert str(plan_of(Wish(scenario="steps", shape="5@10,5@20")).shape) == "5@10,5@20"
    assert burst_of(Wish()).scenario.loop == CLOSED


def test_a_replay_takes_as_long_as_its_trace(tmp_path: Path) -> None:
    """Its load is the mean rate."""
    file = tmp_path / "trace"
    file.write_text("\n".join(str(at / 4) for at in range(41)))
    plan = plan_of(Wish(scenario="replay", trace=file))
    assert (plan.shape.seconds, plan.arrivals) == (10, 41)
    assert levels(plan) == [4.1]
    assert plan.phases(100, 110)[0].name == "trace of 41 requests"


def test_phases_of_one_load_are_told_apart_by_their_begin() -> None:
    """Before and after a spike the rate is the same, and a report that names a step means one of them."""
    plan = plan_of(Wish(scenario="spike", rate=20.0, seconds=50.0))
    assert [one.name for one in plan.phases(1000, 1050)] == [
        "20 a second from 0 s on",
        "100 a second",
        "20 a second from 30 s on",
    ]


def test_phases_are_the_stretches_that_a_run_reached() -> None:
    """One that was stopped early has fewer, and the last of them ends with it."""
    plan = plan_of(Wish(scenario="steps", shape="10@5,20@5:25,10@40"))
    phases = plan.phases(began=1000, ended=1020)
    assert [(one.name, one.begins, one.ends, one.load) for one in phases] == [
        ("5 a second", 1000, 1010, 5),
        ("ramp from 5 to 25 a second", 1010, 1020, 15),
    ]
    assert [one.name for one in plan_of(Wish(scenario="users", users=6)).phases(0, 1e9)] == [
        "3 users",
        "6 users",
    ]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(scenario="stpes"), "SCENARIO: 'stpes' is none; there are smoke, steady, .*, aa"),
        (Wish(scenario="smoke", rate=5.0), "--rate: does not fit .*'smoke'; what fits is --users, --seconds"),
        (Wish(scenario="steps", users=5), "--users: does not fit .*'steps'; what fits is --rate"),
        (Wish(scenario="steps", trace=Path("x")), "--trace: does not fit the scenario 'steps'"),
        (Wish(scenario="users", slots=5), "--slots: does not fit"),
        (Wish(scenario="steps", target_rate=5.0), "--target-rate: does not fit"),
        (Wish(scenario="replay", rate=5.0), "--rate: does not fit .*; what fits is --trace, --slots"),
        (Wish(scenario="replay"), "--trace: the scenario 'replay' needs a file"),
        (Wish(scenario="steps", rate=5.0, shape="1@1"), "--rate: does not fit --shape"),
        (Wish(scenario="capacity", models="a,b"), "--models: is 'a,b'; .* about one model"),
        (Wish(scenario="steps", rate=5.0, remote_workers=True), "--remote-workers: needs --workers"),
        (Wish(scenario="steps", workers=2, remote_workers=True), "--remote-workers: needs --rate or --shape"),
        (Wish(tags="image,imgae"), "--tags: 'imgae' is none; there are image, batch"),
        (Wish(exclude_tags="nothing"), "--exclude-tags: 'nothing' is none"),
        (Wish(tags="image", exclude_tags="image"), "--exclude-tags: 'image' leaves nothing to ask"),
    ],
)
def test_what_does_not_fit_is_refused(wish: Wish, message: str) -> None:
    """The message names the option and says what fits."""
    with pytest.raises(ScenarioError, match=message):
        scenario_of(wish)


def test_a_shape_or_a_trace_that_cannot_be_read_makes_no_plan(tmp_path: Path) -> None:
    """The reader's own message says where."""
    with pytest.raises(ShapeError, match="'5@x' is no segment"):
        plan_of(Wish(scenario="steps", shape="5@x"))
    with pytest.raises(TraceError, match="No such file"):
        plan_of(Wish(scenario="replay", trace=tmp_path / "none"))


def test_the_promise_ends_a_run_that_goes_to_the_break() -> None:
    """After the scenario's own seconds, unless others are asked for."""
    assert plan_of(Wish(scenario="ramp", rate=5.0)).slo.for_s == SCENARIOS["ramp"].for_s
    assert plan_of(Wish(scenario="ramp", rate=5.0, slo_for=7.0)).slo.for_s == 7
    assert plan_of(Wish()).slo.for_s is None
