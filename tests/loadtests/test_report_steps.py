"""Steps and the knee: what was carried is judged by the promise and by whether answers kept up."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from loadtests.exchanges import Exchanges
from loadtests.outcome import ModelCounters, Phase, Snapshot
from loadtests.report.document import Figure, Knee, Step
from loadtests.report.knee import knee
from loadtests.report.steps import steps
from tests.loadtests.made_run import BEGAN, arrivals, exchanges, phase, run_of, together


def values(step: Step) -> dict[str, float | None]:
    """Its response figures by name."""
    return {figure.name: figure.value for figure in step.response}


def step(load: float, why: str = "", rate: float = 0.0, median: float = 20.0) -> Step:
    """One with only what the knee is found by."""
    figures = (
        Figure(name="throughput", unit="1/s", value=rate, log_se=0.01),
        Figure(name="p50", unit="ms", value=median, log_se=0.01),
    )
    return Step(
        name=f"{load:g} a second",
        load=load,
        begins=0.0,
        ends=1.0,
        response=figures,
        service=(),
        mean_batch=None,
        queue_ms=None,
        inference_ms=None,
        handler_ms=None,
        gateway_cores=None,
        kept=not why,
        why=why,
    )


def found(loads: list[Step], loop: str = "open") -> Knee:
    """The knee, which must be there."""
    result = knee(loads, loop)
    assert result is not None
    return result


def overloaded(begins: float, seconds: float, rate: float, capacity: float) -> Exchanges:
    """Arrivals of which the queue only grows: the n-th reply comes n / capacity after the begin."""
    due = BEGAN + begins + np.arange(0, seconds, 1 / rate)
    ended = BEGAN + begins + (1 + np.arange(len(due))) / capacity
    return exchanges(due, np.maximum(1e3 * (ended - due), 5))


def test_the_first_fifth_of_a_phase_settles() -> None:
    """What is slow only at first is no part of a step's figures, and does not break it."""
    due = arrivals(100, 20, 1)
    slow = np.where(due < BEGAN + 4, 900.0, 20.0)
    (only,) = steps(run_of(exchanges(due, slow), phase(100, 0, 20)))
    assert [only.begins, only.ends] == pytest.approx([4, 20])
    assert values(only)["p99"] == pytest.approx(20, rel=1e-3)
    assert only.kept


def test_a_load_is_carried_until_answers_fall_behind() -> None:
    """A queue that only grows breaks a step whatever was promised, and says by how much."""
    low = exchanges(arrivals(50, 20, 2), 20.0)
    high = overloaded(20, 20, rate=100, capacity=80)
    first, second = steps(run_of(together(low, high), phase(50, 0, 20), phase(100, 20, 20), slo_ms=900))
    assert (first.kept, first.why) == (True, "")
    assert not second.kept
    assert second.why.startswith("100 a second arrived, 80 were answered well")
    assert values(second)["throughput"] == pytest.approx(80, rel=0.02)


@pytest.mark.parametrize(
    ("slow", "failed", "why"),
    [
        (0.009, 0.0, ""),
        (0.02, 0.0, "2 % took longer than 250 ms, and 1 % may"),
        (0.0, 0.009, ""),
        (0.0, 0.015, "1.5 % failed, and 1 % may"),
    ],
)
def test_a_step_breaks_with_its_promise(slow: float, failed: float, why: str) -> None:
    """1 % may be slower than promised, and so many may fail as was promised; more break it."""
    due = np.linspace(BEGAN, BEGAN + 20, 2500, endpoint=False)
    number = np.arange(2500) - 500
    waited = np.where((number >= 0) & (number < 2000 * slow), 400.0, 20.0)
    made = exchanges(due, waited, number >= 2000 * (1 - failed))
    (only,) = steps(run_of(made, phase(100, 0, 20)))
    assert only.why == why


def test_a_step_without_a_request_is_not_carried() -> None:
    """Nothing is known of it, and nothing is claimed."""
    (only,) = steps(run_of(exchanges(arrivals(100, 2, 3), 20.0), phase(100, 0, 20)))
    assert (only.kept, only.why) == (False, "no request was due")
    assert values(only)["p50"] is None


def test_a_step_shows_what_the_gateway_did_meanwhile() -> None:
    """Scrapes of the settling and of other steps are no part of it."""
    snapshots = [
        Snapshot(
            at=BEGAN + at,
            models=MappingProxyType(
                {"digits": ModelCounters(batches=at, batched_images=2 * at if at < 5 else 4 * at - 10)}
            ),
            gateway_cpu_s=at / 4,
            gateway_rss=1.0,
        )
        for at in range(21)
    ]
    run = run_of(exchanges(arrivals(100, 20, 4), 20.0), phase(100, 0, 20))
    (only,) = steps(replace(run, snapshots=tuple(snapshots[1:])))
    assert only.gateway_cores == pytest.approx(0.25)
    assert only.mean_batch == pytest.approx(4, rel=0.05)
    assert only.queue_ms is None


def test_a_ramp_is_read_in_slices() -> None:
    """A phase whose arrivals become more frequent is no one load: each slice is a step with its own rate."""
    times = 60 * np.sqrt(np.random.default_rng(5).uniform(size=6000))
    due = np.sort(BEGAN + times)
    waited = np.where(due < BEGAN + 36, 20.0, 400.0)
    ramp = Phase(name="ramp from 0 to 200 a second", begins=BEGAN, ends=BEGAN + 60, load=100)
    made = steps(run_of(exchanges(due, waited), ramp))
    assert [one.kept for one in made] == [True] * 6 + [False] * 4
    assert [one.load for one in made] == pytest.approx(np.arange(10, 200, 20), rel=0.2)
    result = found(list(made))
    assert result.load == pytest.approx(110, rel=0.1)
    assert result.broken == pytest.approx(130, rel=0.1)


def test_the_knee_lies_between_what_was_carried_and_what_was_not() -> None:
    """It is told with the reason, and loads that were all carried have none."""
    broken = found([step(20), step(40), step(60, "too slow"), step(80, "too slow")])
    assert (broken.load, broken.broken) == (40, 60)
    assert broken.text == "Up to 40 a second was carried; at 60 a second: too slow."
    whole = found([step(20), step(40)])
    assert (whole.load, whole.broken) == (40, None)
    never = found([step(20, "too slow"), step(40, "too slow")])
    assert (never.load, never.broken) == (None, 20)


def test_one_broken_step_between_carried_ones_is_told_and_is_no_knee() -> None:
    """A pause of the machine breaks any step; what is too much breaks the loads above it as well."""
    accident = found([step(20), step(40, "a pause"), step(60), step(80, "too slow")])
    assert (accident.load, accident.broken) == (60, 80)
    assert "At 40 a second it broke once, though more was carried: a pause." in accident.text
    twice = found([step(20), step(40, "slow"), step(60, "slow"), step(80)])
    assert (twice.load, twice.broken) == (20, 40)
    assert "80 a second was carried all the same" in twice.text


def test_only_rising_loads_have_a_knee() -> None:
    """A single step and a spike have none."""
    assert knee([step(20)], "open") is None
    assert knee([step(20), step(100), step(20)], "open") is None


def test_the_knee_of_users_is_where_kleinrock_s_power_is_highest() -> None:
    """By the bounds of operational analysis it is N* = D / D_max users.

    Denning and Buzen 1978 (Computing Surveys 10(3)): N users get min(N / D, 1 / D_max) answers a second, and
    wait max(D, N D_max); here D = 80 ms in all, of which the bottleneck takes 10 ms, so that N* is 8.
    """
    users = [
        step(n, rate=min(n / 0.080, 1 / 0.010), median=max(80.0, 10.0 * n)) for n in (1, 2, 4, 8, 16, 32)
    ]
    result = found(users, "closed")
    assert (result.load, result.broken) == (8, None)
    assert result.text.startswith("8 users get the most answers for the time they wait: 100 a second.")


def test_numbers_of_users_that_cannot_be_told_apart_are_named() -> None:
    """Throughput and response time have their errors, and so has the knee."""
    close = [step(4, rate=50, median=20), step(8, rate=100, median=40.2), step(16, "slow", 100, 160)]
    result = found(close, "closed")
    assert (result.load, result.broken) == (4, 16)
    assert "8 users cannot be told from that." in result.text
    assert "With 16 users: slow." in result.text
    # An error of 1 % in both, of one cause, is one of 2 % in their quotient: 1.96 * 0.02 * sqrt(2) is 0.055.
    near, far = (step(8, rate=100, median=20 * 2 * math.exp(off)) for off in (0.054, 0.057))
    assert "8 users cannot be told" in found([close[0], near], "closed").text
    assert "cannot be told" not in found([close[0], far], "closed").text
    assert found([step(1, "slow"), step(2, "slow")], "closed").load is None
