"""A run against saved ones: noise is never worse, what is worse is found, what does not fit is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from loadtests.exchange import GRPC
from loadtests.outcome import Run
from loadtests.report.against import (
    Baseline,
    BaselineError,
    Present,
    check_comparable,
    compare,
    read_baseline,
)
from loadtests.report.build import report
from loadtests.report.document import Comparison, Figure, Report, Row
from loadtests.report.ratios import Side, mean, ratio
from loadtests.report.verdicts import verdict
from tests.loadtests.made_run import arrivals, exchanges, phase, queue_ms, run_of, steady, together


@cache
def reported(seed: int = 1, scale: float = 1.0, rate: float = 200.0) -> Report:
    """Of a steady run."""
    return report(steady(rate=rate, seed=seed, scale=scale))


def baseline(found: Report) -> Baseline:
    """A saved one."""
    return Baseline(name="run/loadtest/old", report=found)


def present(found: Report) -> Present:
    """What is compared of it."""
    return Present(scenario=found.scenario, loop=found.loop, rows=found.rows, steps=found.steps)


def verdicts(now: Report, *before: Report) -> dict[str, str]:
    """By what was compared."""
    return {one.what: one.verdict for one in compare(present(now), [baseline(one) for one in before])}


def row(*p50: float, log_se: float = 0.01) -> list[Row]:
    """Rows of runs with these medians."""
    reach = math.exp(1.96 * log_se)
    return [
        Row(
            group="all",
            name="all",
            requests=1000,
            failures=0,
            images=1000,
            response=tuple(
                Figure(name=name, unit="ms", value=value, low=value / reach, high=value * reach)
                if name == "p50"
                else Figure(name=name, unit="ms", value=None)
                for name in ("throughput", "failures", "p50", "p95", "p99")
            ),
            service=(),
        )
        for value in p50
    ]


def of_rows(now: Row, before: Sequence[Row]) -> Comparison:
    """The one comparison of rows with only a median."""
    bare = replace(reported(), steps=())
    (found,) = compare(
        replace(present(bare), rows=(now,)), [baseline(replace(bare, rows=(one,))) for one in before]
    )
    return found


def test_a_run_against_itself_is_the_same_or_unclear() -> None:
    """Every ratio is 1, and none is worse or better."""
    found = compare(present(reported()), [baseline(reported())])
    assert {one.ratio for one in found} == {1.0}
    assert {one.verdict for one in found} <= {"same", "unclear"}
    assert "same" in {one.verdict for one in found}


def test_chance_is_no_difference_and_twice_the_time_is_one() -> None:
    """Another run of the same service is not worse; one that takes 1.7 times as long is, and back better."""
    assert set(verdicts(reported(seed=2), reported(seed=3)).values()) <= {"same", "unclear"}
    assert verdicts(reported(seed=2, scale=1.7), reported(seed=3))["p50, all"] == "worse"
    assert verdicts(reported(seed=2), reported(seed=3, scale=1.7))["p50, all"] == "better"


def test_three_baselines_know_what_one_cannot() -> None:
    """A third more time may be a slow hour where there is one baseline, and is none of three that agree."""
    slower, before = reported(seed=2, scale=1.35), [reported(seed=seed) for seed in (3, 4, 5)]
    assert verdicts(slower, before[0])["p50, all"] == "unclear"
    assert verdicts(slower, *before)["p50, all"] == "worse"


def test_failures_are_compared_by_the_good_replies() -> None:
    """No failure in both is the same, and 3 % of them are worse than none."""
    run = steady(seed=4)
    failing = np.random.default_rng(5).uniform(size=len(run.exchanges)) < 0.03
    broken = replace(run, exchanges=exchanges(run.exchanges.due, 20.0, failing))
    assert verdicts(reported(seed=2), reported(seed=3))["good replies, all"] == "same"
    assert verdicts(report(broken), reported(seed=3))["good replies, all"] == "worse"


@pytest.mark.parametrize(("loop", "compared"), [("open", False), ("closed", True)])
def test_the_throughput_of_an_open_loop_is_given_and_not_compared(loop: str, *, compared: bool) -> None:
    """Its arrivals decide it; in a closed loop the service does."""
    found = report(replace(steady(), loop=loop))
    names = {one.what for one in compare(present(found), [baseline(found)])}
    assert ("throughput, all" in names) is compared


def test_another_load_gives_no_verdict() -> None:
    """A busier service is slower, and that is no change of the service."""
    slower = compare(present(reported(seed=2, scale=2, rate=260)), [baseline(reported(seed=3))])
    assert {one.verdict for one in slower} == {"unclear"}
    assert "no verdict, as the load was 200 and is 260" in slower[0].sentence


def stepped(scale: float) -> Run:
    """Three steps, of which the last is too much."""
    parts = [steady(rate, 20, seed, scale).exchanges for seed, rate in enumerate((60.0, 120.0, 180.0))]
    moved = [
        exchanges(part.due + 20 * place, part.response_ms if place < 2 else 800.0)
        for place, part in enumerate(parts)
    ]
    return run_of(together(*moved), *(phase(60 * n, 20 * (n - 1), 20) for n in (1, 2, 3)))


def test_steps_are_compared_with_steps() -> None:
    """Each with the one of its load; a step that neither run carried says nothing."""
    found = verdicts(report(stepped(1.9)), report(stepped(1.0)))
    assert found["p50, step 1, 60 a second"] == found["p50, step 2, 120 a second"] == "worse"
    assert not [what for what in found if "180" in what or "all" in what]


def test_what_differs_from_run_to_run_widens_the_interval() -> None:
    """It is Student's prediction interval for one more run, on logarithms, where that is the wider one.

    mean +- t(0.975, k - 1) s sqrt(1 + 1 / k), as for any new observation of a normal sample.
    """
    before = [20.0, 23.0, 26.0, 21.0]
    logs = np.log(before)
    reach = t.ppf(0.975, 3) * logs.std(ddof=1) * math.sqrt(1 + 1 / 4)
    found = of_rows(row(30.0)[0], row(*before))
    assert found.ratio == pytest.approx(30 / math.exp(logs.mean()))
    assert math.log(found.high) == pytest.approx(math.log(found.ratio) + reach)
    assert found.verdict == "unclear"


def test_two_runs_are_taken_to_differ_where_nobody_has_measured_it() -> None:
    """A tenth each (standard deviation), so 1.96 * 0.1 * sqrt(2) on top of what chance does within them."""
    found = of_rows(row(30.0)[0], row(23.0))
    assert math.log(found.high / found.ratio) == pytest.approx(1.96 * 0.1 * math.sqrt(2), rel=0.05)


def test_the_interval_of_a_ratio_follows_from_both() -> None:
    """Two errors of 1 % make one of 1.41 %, and four baselines err by half as much as one."""
    one = Side.of(row(20.0)[0].response[2])
    assert one is not None
    assert ratio(one, one, 1.0).high == pytest.approx(1.96 * 0.01 * math.sqrt(2))
    assert mean([one] * 4).up == pytest.approx(one.up / 2)
    assert mean([one] * 4).value == pytest.approx(20)


@given(st.floats(0.2, 5), st.floats(1, 3), st.floats(0, 0.5))
def test_a_verdict_needs_the_whole_interval(low: float, width: float, tolerance: float) -> None:
    """An interval that holds 1 is never worse or better, and one inside the band is the same."""
    found = verdict("p99", low, low * width, tolerance)
    if low <= 1 <= low * width:
        assert found in {"same", "unclear"}
    assert (found == "worse") == (low > 1 + tolerance)
    assert (found == "better") == (low * width < 1 - tolerance)
    mirrored = {"worse": "better", "better": "worse"}
    assert verdict("throughput", low, low * width, tolerance) == mirrored.get(found, found)


def test_a_saved_report_is_read_as_it_was(tmp_path: Path) -> None:
    """From its file, or from the folder that a run has left."""
    file = tmp_path / "report.json"
    file.write_text(reported().to_json(), encoding="utf-8")
    assert read_baseline(file).report == read_baseline(tmp_path).report
    assert read_baseline(file).report.rows == reported().rows
    assert read_baseline(file).models == {"digits"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("<html>", "is no JSON, and must be a report.json"),
        ("[1]", "has the format None, must be 1"),
        ('{"format": 99}', "has the format 99, must be 1"),
        ('{"format": 1}', "is no report: scenario: Field required"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    """The message names the option, the file and what is wrong with it."""
    file = tmp_path / "old.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(BaselineError) as caught:
        read_baseline(file)
    assert str(caught.value).startswith(f"--against: {file} ")
    assert message in str(caught.value)


def test_a_report_with_a_wrong_type_is_refused(tmp_path: Path) -> None:
    """A figure that is a word is no figure."""
    document = json.loads(reported().to_json())
    document["rows"][0]["requests"] = "many"
    file = tmp_path / "report.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(BaselineError, match=r"rows\.0\.requests"):
        read_baseline(file)


@pytest.mark.parametrize(
    ("scenario", "loop", "models", "message"),
    [
        ("spike", "open", {"digits"}, "its scenario is 'made', now 'spike'"),
        ("made", "closed", {"digits"}, "its loop is 'open', now 'closed'"),
        ("made", "open", {"digits", "letters"}, "its models are 'digits', now 'digits, letters'"),
    ],
)
def test_another_kind_of_run_is_refused(scenario: str, loop: str, models: set[str], message: str) -> None:
    """Nothing can be learned from it, and that is said before the run as well as after it."""
    with pytest.raises(BaselineError, match=message):
        check_comparable(baseline(reported()), scenario, loop, models)


def test_rows_that_only_one_run_has_are_left_out() -> None:
    """Both runs are compared in what they have in common."""
    run = steady(seed=6)
    only = report(replace(run, exchanges=run.exchanges.where(np.asarray(run.exchanges.way == GRPC))))
    found = verdicts(replace(only, steps=()), reported())
    assert {what.split(", ")[1] for what in found} == {"all"}


def queued(seed: int) -> Report:
    """Of 20 s of an M/M/1 queue at 70 % of its capacity."""
    due = arrivals(140, 20, seed)
    waited = queue_ms(due, np.random.default_rng(seed + 5000).exponential(1 / 200, len(due)))
    return report(run_of(exchanges(due, waited), phase(140, 0, 20)))


@pytest.mark.exhaustive
def test_false_alarms_are_rare() -> None:
    """Of 50 pairs of short runs of the same queue at most 2 have any figure that is called worse or better.

    Twelve figures are compared in each pair, and by chance some of them differ by half and more.
    """
    pairs = [(queued(2 * seed), queued(2 * seed + 1)) for seed in range(50)]
    alarms = [bool({"worse", "better"} & set(verdicts(now, before).values())) for now, before in pairs]
    assert sum(alarms) <= 2
