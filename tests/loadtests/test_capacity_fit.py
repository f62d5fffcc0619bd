"""A queue is found again in load tests of systems whose times are known, and what is none is told apart."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from loadtests.capacity.answer import answer
from loadtests.capacity.fit import Known, fit, line, predict
from loadtests.capacity.measured import Measurement, measure
from loadtests.capacity.service import Batching, CapacityError, Service
from loadtests.outcome import Run
from loadtests.report.document import Report
from tests.loadtests.capacity_system import MODEL, System, load_test

KNOWN = System(alpha_ms=6.0, beta_ms=2.0, spread=0.3, way_ms=1.5, outside_ms=2.0)
RATES = (80.0, 160.0, 240.0, 320.0)


@cache
def short() -> tuple[Run, Report]:
    """A load test of the known system below its break at 421 a second; it is not long enough for a p99."""
    return load_test(KNOWN, RATES, seconds=8.0)


@cache
def measurement() -> Measurement:
    """What it says."""
    return measure(*short())


def test_the_time_of_a_batch_is_found_again() -> None:
    """The times of a batch and of an image come out of the gateway's own sums."""
    found = line(measurement().steps)
    assert found.alpha_ms == pytest.approx(6.0, rel=0.1)
    assert found.beta_ms == pytest.approx(2.0, rel=0.1)
    assert found.worst < 0.05


def test_a_step_is_what_its_requests_were() -> None:
    """Rate, mean batch and percentiles of a step are those of the requests that were due in it."""
    run, report = short()
    step, own = report.steps[2], measurement().steps[2]
    due = run.exchanges.due - run.began
    inside = run.exchanges.where((due >= step.begins) & (due < step.ends))
    assert own.rate == pytest.approx(len(inside) / (step.ends - step.begins))
    assert own.percentiles["p90"] == pytest.approx(np.quantile(inside.response_ms, 0.9), rel=0.01)
    assert own.steady
    assert own.mean_batch == step.mean_batch
    assert measurement().images == ((1, 1.0),)


def test_the_queue_is_found_again() -> None:
    """Spread, way and transport are found from response times; a step that was left out is predicted."""
    *seen, unseen = measurement().steps
    found = fit(seen, (), Known(batching=Batching(), images=((1, 1.0),), saturation=None))
    assert found.spread == pytest.approx(0.3, abs=0.1)
    assert found.held_ms + found.transport_ms == pytest.approx(5.0, abs=1.5)
    predicted = predict(found, Batching(), unseen)
    assert predicted.percentiles["p50"] == pytest.approx(unseen.percentiles["p50"], rel=0.2)
    assert predicted.percentiles["p90"] == pytest.approx(unseen.percentiles["p90"], rel=0.3)
    assert predicted.mean_batch == pytest.approx(unseen.mean_batch, rel=0.2)


def test_where_everything_broke_tells_what_the_workers_do_not() -> None:
    """A break far below what the workers could do is put down to what comes before them."""
    known = Known(batching=Batching(), images=((1, 1.0),), saturation=200.0)
    service = Service(alpha_ms=6.0, beta_ms=2.0)
    assert service.workers_rate(Batching()) > 400
    assert fit(measurement().steps[:2], (), known).front_ms == pytest.approx(5.0)


def changed(**values: object) -> tuple[Run, Report]:
    """The short load test with another loop, or other steps."""
    run, report = short()
    if "loop" in values:
        return replace(run, loop=str(values["loop"])), report
    if "served" in values:
        column = run.exchanges.served.copy()
        column[::2] = values["served"]
        return replace(run, exchanges=replace(run.exchanges, served=column)), report
    if "steps" in values:
        return run, replace(report, steps=report.steps[: int(str(values["steps"]))])
    return run, replace(report, steps=tuple(replace(step, **values) for step in report.steps))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loop": "closed"}, "loop is 'closed', must be 'open'"),
        ({"served": "digits_eca"}, f"models: digits_eca, {MODEL} answered"),
        ({"steps": 2}, "2 of 2 kept up"),
        ({"steps": 0}, "0 of 0 kept up"),
        ({"handler_ms": None}, "metrics say nothing"),
        ({"mean_batch": None}, "metrics say nothing"),
        ({"mean_batch": 1.0}, "batches had 1.00 to 1.00 images"),
    ],
)
def test_what_leaves_the_model_open_is_refused(values: Mapping[str, Any], message: str) -> None:
    """A closed loop, several models, few steps, no metrics, one size of batch: each is said."""
    with pytest.raises(CapacityError, match=message):
        measure(*changed(**values))


def test_promises_and_rates_that_are_none_are_refused_before_anything_is_fitted() -> None:
    """Both must be above 0."""
    run, report = short()
    with pytest.raises(CapacityError, match="p99_ms is 0, must be above 0"):
        answer(run, report, p99_ms=0)
    with pytest.raises(CapacityError, match="target rate is -1, must be above 0"):
        answer(run, report, p99_ms=100, target_rate=-1)


def test_beyond_the_break_only_the_rate_counts() -> None:
    """A step that falls behind, and every one after it, is not steady; the most that was answered counts."""
    found = measure(*load_test(KNOWN, (80.0, 200.0, 300.0, 700.0, 100.0), seconds=6.0))
    assert [step.steady for step in found.steps] == [True, False, True, True, False]
    assert found.saturation == pytest.approx(421, rel=0.1)


@pytest.fixture(scope="module")
def whole() -> Mapping[str, Any]:
    """The answer on steps up to and beyond the break."""
    rates = (80.0, 160.0, 240.0, 320.0, 360.0, 400.0, 460.0)
    run, report = load_test(KNOWN, rates, seconds=20.0, p99_ms=150.0)
    return answer(run, report, p99_ms=150.0, target_rate=1000.0)


@pytest.mark.slow
def test_the_known_system_is_answered_for(whole: Mapping[str, Any]) -> None:
    """Its times, its saturation at B / S(B) and its knee are predicted, and nothing is doubted."""
    service = whole["service"]
    assert service["alpha_ms"] == pytest.approx(6.0, rel=0.05)
    assert service["beta_ms"] == pytest.approx(2.0, rel=0.05)
    assert service["spread"] == pytest.approx(0.3, abs=0.05)
    assert service["held_ms"] == pytest.approx(3.0, abs=0.7)
    assert service["transport_ms"] == pytest.approx(2.0, abs=0.7)
    assert whole["saturation"]["predicted"] == pytest.approx(16e3 / 38, rel=0.03)
    assert whole["saturation"]["measured"] == pytest.approx(16e3 / 38, rel=0.05)
    assert whole["knee"]["carried"] < whole["knee"]["predicted"] < whole["knee"]["broken"]
    assert (whole["knee"]["error"], whole["limit"], whole["doubts"]) == (0, "workers", [])


@pytest.mark.slow
def test_steps_that_were_not_seen_are_predicted(whole: Mapping[str, Any]) -> None:
    """Of steps held out, and left out one at a time, p50 is off by a tenth at most and p99 by a quarter."""
    for how in ("held_out", "left_out"):
        found = whole["errors"][how]
        assert found["p50"]["median"] < 0.1
        assert found["p99"]["median"] < 0.25
    assert [bool(step["held_out"]) for step in whole["steps"]] == [False, True] * 3 + [False]


@pytest.mark.slow
def test_two_workers_are_found_where_they_are_told_and_missed_where_not() -> None:
    """With the right number of workers nothing is off; with a wrong one the model says that it is wrong."""
    system = System(alpha_ms=10.0, beta_ms=1.0, spread=0.4, way_ms=1.0, outside_ms=1.0, workers=2)
    rates = (100.0, 250.0, 400.0, 550.0, 700.0)
    run, report = load_test(system, rates, seconds=8.0, p99_ms=120.0)
    right = answer(run, report, p99_ms=120.0, batching=Batching(workers=2))
    wrong = answer(run, report, p99_ms=120.0, batching=Batching(workers=1))
    assert right["saturation"]["predicted"] == pytest.approx(2 * 16e3 / 26, rel=0.05)
    assert not any("is off" in doubt for doubt in right["doubts"])
    assert any("not served as it was told: 1 worker" in doubt for doubt in wrong["doubts"])


@pytest.mark.slow
def test_a_system_that_stops_now_and_then_is_no_such_queue() -> None:
    """Every four seconds nothing begins for 0.4 s: the model says that it does not fit, and warns first."""
    system = replace(KNOWN, stall=lambda begin: begin + max(0.0, 400.0 - begin % 4000.0))
    run, report = load_test(system, (80.0, 140.0, 200.0, 260.0, 320.0), seconds=16.0, p99_ms=800.0)
    found = answer(run, report, p99_ms=800.0)
    assert any("something that is not in the model" in doubt for doubt in found["doubts"])
    assert found["sentences"][0].startswith("The model does not fit well, do not plan with it")


@pytest.mark.slow
def test_times_that_are_no_straight_line_are_noticed() -> None:
    """A system whose batches take far longer from half full on is told from one of a straight line."""
    run, report = load_test(KNOWN, (80.0, 160.0, 240.0, 320.0), seconds=8.0)
    crooked = replace(
        report,
        steps=tuple(
            replace(step, handler_ms=(step.handler_ms or 0) * factor)
            for step, factor in zip(report.steps, (1.0, 0.5, 2.0, 1.0), strict=True)
        ),
    )
    found = answer(run, crooked, p99_ms=100.0)
    assert any("no straight line" in doubt for doubt in found["doubts"])
