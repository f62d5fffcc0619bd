"""A whole report: it follows from the run, says what matters first, and doubts itself where it should."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from pydantic import TypeAdapter

from loadtests.exchanges import Exchanges
from loadtests.outcome import GeneratorCost
from loadtests.report.against import Baseline
from loadtests.report.build import report
from loadtests.report.document import Failure, Generator, Report
from tests.loadtests.made_run import BEGAN, arrivals, exchanges, in_arm, phase, run_of, steady, together


def prompt(due: np.ndarray[tuple[int], np.dtype[np.float64]], waited: float = 20.0) -> Exchanges:
    """Sent when due."""
    made = exchanges(due, waited)
    return replace(made, sent=made.due)


def test_the_same_run_gives_the_same_report() -> None:
    """To the last digit: resamples are drawn from a fixed seed."""
    assert report(steady(seconds=10)).to_json() == report(steady(seconds=10)).to_json()


def test_a_report_comes_back_from_its_json() -> None:
    """All of it, and no number in it is one that JSON lacks."""
    made = together(in_arm(steady(seed=1).exchanges, "a"), in_arm(steady(seed=2).exchanges, "b"))
    run = run_of(made, phase(100, 0, 12), phase(150, 12, 12))
    found = report(run, [Baseline(name="old", report=report(run))])
    document = json.loads(found.to_json())
    assert document.pop("format") == 1
    assert TypeAdapter(Report).validate_python(document) == replace(found, slo=dict(found.slo))
    assert found.comparisons
    assert found.arms
    assert found.knee
    assert found.timeline


def test_the_headline_says_what_was_carried_and_how_long_it_took() -> None:
    """Of a steady run: arrivals, answers, failures, p99 with its interval, and the promise."""
    due = np.arange(BEGAN, BEGAN + 20, 0.01)
    found = report(run_of(prompt(due, 30.0), phase(100, 0, 20)))
    assert found.headline[0] == (
        "In 20 s 100 a second arrived and 99.90 a second were answered well; none of 2000 failed."
    )
    assert found.headline[1].startswith("Over the whole run 99 % had the right reply within 30.00 ms (")
    assert found.headline[2] == "The promise was kept: 99 % within 250 ms and at most 1 % failures."
    assert found.warnings == ()


def test_waiting_that_a_closed_loop_would_hide_is_told() -> None:
    """Where p99 from the sending is much shorter than from when requests were due."""
    found = report(run_of(exchanges(arrivals(100, 20, 1), 200.0), phase(100, 0, 20)))
    assert any("p99 would be 150" in sentence for sentence in found.headline)


def test_a_broken_promise_is_in_the_headline() -> None:
    """With the step and the reason."""
    found = report(run_of(prompt(arrivals(100, 20, 2), 300.0), phase(100, 0, 20)))
    assert any("broke at 100 a second: 100 % took longer" in sentence for sentence in found.headline)


def test_what_the_gateway_counted_otherwise_comes_first() -> None:
    """Nothing else is worth reading before that; why a run stopped is next."""
    run = replace(steady(seconds=10), differences=("digits grpc ok: sent 3",), stopped="the promise broke")
    found = report(run)
    assert found.headline[0] == "The gateway counted other requests than were sent: digits grpc ok: sent 3."
    assert found.headline[1] == "The run stopped 10 s in: the promise broke."


def test_a_difference_to_a_baseline_is_in_the_headline() -> None:
    """And that one baseline cannot know what differs from run to run is in the warnings."""
    old = Baseline(name="old", report=report(steady(seed=3)))
    found = report(steady(seed=4, scale=1.5), [old])
    told = next(sentence for sentence in found.headline if sentence.startswith("Against the baseline"))
    assert "worse by more than 10 %" in told
    assert any("With fewer than 3 baselines" in sentence for sentence in found.warnings)
    same = report(steady(seed=4), [old, old, old], tolerance=0.3)
    assert any("Against the 3 baselines no difference was found" in line for line in same.headline)
    assert not any("With fewer than 3 baselines" in sentence for sentence in same.warnings)


@pytest.mark.parametrize(
    ("seconds", "rate", "warning"),
    [
        (5.0, 400.0, "too short for intervals, which need 8 s"),
        (20.0, 10.0, "are too few for p99, which needs 1000"),
    ],
)
def test_too_little_data_is_a_warning(seconds: float, rate: float, warning: str) -> None:
    """Short runs, and few requests."""
    found = report(run_of(prompt(arrivals(rate, seconds, 5)), phase(rate, 0, seconds)))
    assert any(warning in sentence for sentence in found.warnings)


def test_a_clock_that_went_back_is_a_warning() -> None:
    """Requests that ended before they were sent have no duration."""
    made = prompt(arrivals(100, 20, 6))
    ended = np.where(np.arange(len(made)) < 3, made.sent - 1, made.ended)
    found = report(run_of(replace(made, ended=ended), phase(100, 0, 20)))
    assert any("3 requests ended before they began" in sentence for sentence in found.warnings)


def test_a_baseline_of_another_machine_is_a_warning() -> None:
    """Its processor has another name."""
    run = replace(steady(seconds=10), machine=MappingProxyType({"processor": "fast"}))
    old = Baseline(name="old", report=replace(report(run), machine=MappingProxyType({"processor": "slow"})))
    assert "old was made on another machine: slow, and not fast." in report(run, [old]).warnings


def test_a_baseline_of_other_questions_is_a_warning() -> None:
    """Another client has other costs, and other kinds of images other latencies."""
    before = replace(report(steady(seed=3)), options={"client": "triton", "tags": "image"})
    now = replace(steady(), options=MappingProxyType({"client": "attnserve", "tags": "image"}))
    (told,) = (line for line in report(now, [Baseline(name="old", report=before)]).warnings if "old" in line)
    assert told == "old asked otherwise: its client was triton, now attnserve."


def test_another_load_is_no_finding() -> None:
    """That a busier service is slower says nothing of the service."""
    before = Baseline(name="old", report=report(steady(rate=100.0, seed=3)))
    (told,) = (line for line in report(steady(), [before]).headline if "baseline" in line)
    assert (
        told == "Against the baseline nothing can be concluded: no verdict, as the load was 100 and is 200."
    )


def test_after_a_spike_it_is_told_how_long_it_took_to_recover() -> None:
    """Up to the last request that was due after the fall and was late; of a load that only rises nothing."""
    due = arrivals(50.0, 30.0, 7)
    waited = np.where((due - BEGAN > 8) & (due - BEGAN < 14), 2000.0, 20.0)
    spike = run_of(exchanges(due, waited), phase(20, 0, 8), phase(100, 8, 2), phase(20, 10, 20))
    (told,) = (line for line in report(spike).headline if "recover" in line)
    last = due[due - BEGAN < 14].max() - BEGAN - 10
    assert f"the last of them due {last:.1f} s after that" in told
    calm = run_of(prompt(due), phase(20, 0, 8), phase(100, 8, 2), phase(20, 10, 20))
    assert any("every request was answered well and in time" in line for line in report(calm).headline)
    rising = run_of(exchanges(due, waited), phase(20, 0, 10), phase(100, 10, 20))
    assert not [line for line in report(rising).headline if "fall" in line or "fell" in line]


def test_failures_and_right_refusals_are_counted_by_kind() -> None:
    """A corrupt image that is refused is no failure; a fault of many kinds leaves a rest."""
    due = np.arange(BEGAN, BEGAN + 20, 0.01)
    made = prompt(due)
    fault, kind, outcome = made.fault.copy(), made.kind.copy(), made.outcome.copy()
    fault[:30] = "timed out"
    fault[100:160] = [f"fault {number:02}" for number in range(60)]
    kind[200:240], outcome[200:240] = "corrupt image", "invalid"
    changed = replace(made, fault=fault, kind=kind, outcome=outcome)
    found = report(run_of(changed, phase(100, 0, 20)))
    assert found.rows[0].failures == sum(failure.count for failure in found.failures) == 90
    assert {one.fault: one.count for one in found.failures[:2]} == {"timed out": 15}
    assert found.failures[-1] == Failure(way="", kind="", fault="12 other faults", count=12)
    assert found.refused == {"corrupt image": 40}


def test_what_the_load_cost_is_told() -> None:
    """CPU time of a request, and cores; a process that sent nothing has none."""
    costs = (
        GeneratorCost(name="worker", requests=2000, seconds=20, cpu_s=4, busiest=0.4),
        GeneratorCost(name="master", requests=0, seconds=20, cpu_s=1, busiest=0.1),
    )
    found = report(replace(steady(seconds=10), generators=costs))
    assert found.generators == (
        Generator(name="worker", requests=2000, cpu_ms_per_request=2.0, cores=0.2, busiest=0.4),
        Generator(name="master", requests=0, cpu_ms_per_request=None, cores=0.05, busiest=0.1),
    )


def test_a_run_that_sent_nothing_has_a_report() -> None:
    """It says so, and nothing else."""
    found = report(run_of(exchanges(np.empty(0), 20.0), phase(100, 0, 20)))
    assert found.headline == ("Nothing was measured: no request was sent.",)
    assert (found.rows[0].requests, found.failures) == (0, ())
    assert json.loads(found.to_json())["rows"][0]["response"][0]["value"] == 0.0
