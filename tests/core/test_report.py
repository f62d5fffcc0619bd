"""Reports on planted truths: each is found, nothing is found where nothing is, and doubt is said."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from serve.core.evidence import Evidence
from serve.core.experiment import State
from serve.core.report import Guard, Report, evaluate, look
from serve.core.report.rows import Health, Kind
from serve.core.verdict import Verdict
from tests.core.studied import (
    LABELS,
    Count,
    PairTruth,
    Truth,
    an_experiment,
    evidence_of,
    paired_arms,
    split_arm,
    with_counts,
)

HALVES = (5000, 5000)
ERRORS = {"metric": "error_rate", "max_ratio": 1.5, "alpha": 0.01}
SLOW = {"metric": "slo_exceedance", "threshold_ms": 200, "max_ratio": 1.5, "alpha": 0.01}

# What readers of the JSON form rely on; a key that goes away or changes its meaning needs a new `format`.
KEYS = [
    *("format", "experiment", "description", "version", "state", "mode", "phase", "at", "arms", "control"),
    *("primary_metric", "alpha", "margin", "planned_units", "verdict", "sentence", "comparisons", "health"),
    *("guardrails", "rows", "pair_tables", "classes", "confusion_changes", "latency_curves", "notes"),
]
ROW_KEYS = [
    *("metric", "title", "definition", "unit", "better", "kind", "arm", "against", "estimate", "low", "high"),
    *("fixed_low", "fixed_high", "alpha", "log_e", "p", "n", "n_of", "method", "why", "anytime", "note"),
]


def split(*truths: Truth, **changes: Any) -> Report:  # noqa: ANN401  a design's
    """The report on a split between arms that behave so, the first being the control."""
    experiment = an_experiment(arms=len(truths), planned_units=4000, **changes)
    random = np.random.default_rng(4)
    arms = [split_arm(truth, random) for truth in truths]
    return evaluate(experiment, evidence_of((experiment.design.weights, arms)), 600.0)


def paired(truth: PairTruth, mode: str = "paired", **changes: Any) -> Report:  # noqa: ANN401  as above
    """The report on two arms that saw the same images."""
    experiment = an_experiment(mode, planned_units=5000, **changes)
    return evaluate(experiment, evidence_of((experiment.design.weights, pair_of(truth))), 600.0)


@cache
def pair_of(truth: PairTruth) -> tuple[Count, Count]:
    """The control and the arm; nobody changes them."""
    return paired_arms(truth, np.random.default_rng(4))


def health(report: Report, check: str, arm: str = "") -> Health:
    """What that check says."""
    (found,) = [one.state for one in report.health if (one.check, one.arm) == (check, arm)]
    return found


@pytest.mark.parametrize(
    ("control", "arm", "margin", "verdict"),
    [
        (Truth(), Truth(), 0.01, Verdict.UNDECIDED),
        (Truth(), Truth(), 0.08, Verdict.NO_DIFFERENCE),
        (Truth(), Truth(right=0.88), 0.01, Verdict.BETTER),
        (Truth(), Truth(right=0.72), 0.01, Verdict.WORSE),
        (Truth(units=90), Truth(right=0.5, units=90), 0.01, Verdict.INSUFFICIENT_DATA),
        (Truth(units=500, right=0.99), Truth(units=500, right=0.99), 0.5, Verdict.INSUFFICIENT_DATA),
    ],
)
def test_accuracy_of_a_split(control: Truth, arm: Truth, margin: float, verdict: Verdict) -> None:
    """The verdict follows the planted difference; few units, or few mistakes, allow none."""
    assert split(control, arm, margin=margin).verdict is verdict


@pytest.mark.parametrize("which", ["one_per_unit", "all"])
@pytest.mark.parametrize("mode", ["paired", "shadow"])
@pytest.mark.parametrize(
    ("truth", "margin", "verdict"),
    [
        (PairTruth(), 0.001, Verdict.UNDECIDED),
        (PairTruth(), 0.03, Verdict.NO_DIFFERENCE),
        (PairTruth(arm_right=0.09), 0.01, Verdict.BETTER),
        (PairTruth(control_right=0.09), 0.01, Verdict.WORSE),
        (PairTruth(arm_right=0.12, labelled=0.5), 0.01, Verdict.BETTER),
        (PairTruth(pairs=90), 0.01, Verdict.INSUFFICIENT_DATA),
    ],
)
def test_accuracy_of_pairs(truth: PairTruth, margin: float, verdict: Verdict, mode: str, which: str) -> None:
    """The same from pairs, whichever of them count and whoever answers."""
    assert paired(truth, mode, margin=margin, pairs=which).verdict is verdict


@pytest.mark.parametrize(
    ("pairs", "verdict"), [(500, Verdict.INSUFFICIENT_DATA), (3000, Verdict.NO_DIFFERENCE)]
)
def test_arms_that_never_disagree_need_no_labels(pairs: int, verdict: Verdict) -> None:
    """Accuracies differ by no more than answers do; how much that may be shrinks with the pairs."""
    truth = PairTruth(pairs=pairs, control_right=0, arm_right=0, labelled=0)
    report = paired(truth, margin=0.01)
    assert report.verdict is verdict


def test_the_exact_test_needs_no_minimum_but_its_interval_does() -> None:
    """Ninety pairs that all say the same decide; how large the difference is stays open."""
    report = paired(PairTruth(pairs=90, control_right=0, arm_right=1, both_right=0))
    (found,) = [one.row for one in report.comparisons]
    assert report.verdict is Verdict.BETTER
    assert (found.low, found.high, found.note) == (None, None, "90 of the 100 pairs that are needed")
    assert "not known yet" in report.sentence
    assert look(report).arms == ()


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.001, Verdict.NO_DIFFERENCE), (0.05, Verdict.WORSE), (0.01, Verdict.UNDECIDED)]
)
def test_agreement_is_held_against_the_margin(share: float, verdict: Verdict) -> None:
    """It needs no labels, and more disagreement than the margin is never good."""
    truth = PairTruth(control_right=share / 2, arm_right=share / 2, labelled=0)
    assert paired(truth, "shadow", primary_metric="agreement", margin=0.01).verdict is verdict


@pytest.mark.parametrize(
    ("control", "arm", "verdict"), [(0.0, 0.5, Verdict.WORSE), (0.2, 0.05, Verdict.BETTER)]
)
def test_fewer_errors_are_better(control: float, arm: float, verdict: Verdict) -> None:
    """A control without any error is no obstacle."""
    report = split(Truth(fails=control), Truth(fails=arm), primary_metric="error_rate")
    assert report.verdict is verdict


def test_the_sentence_says_who_how_much_how_sure_and_what_to_do() -> None:
    """In words for somebody who has read nothing else."""
    report = split(Truth(), Truth(right=0.88))
    (found,) = [one.row for one in report.comparisons]
    low, high = (f"{100 * (value or 0):+.2f}" for value in (found.low, found.high))
    assert report.sentence == (
        f"b is better than a: accuracy is {100 * (found.estimate or 0):.2f} points higher "
        f"(95 % interval {low} to {high} points, valid at every look). It can be promoted."
    )


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (State.RUNNING, "points, valid at every look). It can be promoted."),
        (State.PROMOTED, "points, valid at every look)."),
        (State.STOPPED, "points, valid at every look)."),
    ],
)
def test_what_to_do_is_said_while_it_can_be_done(state: State, end: str) -> None:
    """An experiment that has ended only says what it found."""
    random = np.random.default_rng(4)
    arms = [split_arm(Truth(), random), split_arm(Truth(right=0.88), random)]
    experiment = replace(an_experiment(planned_units=4000), state=state)
    report = evaluate(experiment, evidence_of((HALVES, arms)), 600.0)
    assert report.sentence.endswith(end)


def test_latencies_are_told_in_percent() -> None:
    """Slower is worse, and more by how much of the control's."""
    report = split(Truth(), Truth(ms=26.0), primary_metric="latency_p50")
    assert report.sentence.startswith("b is worse than a: median latency is ")
    assert " % higher (95 % interval +" in report.sentence


def test_a_broken_sample_ratio_comes_before_any_figure() -> None:
    """Twice as many units in one arm as in the other, at equal weights: nothing else counts."""
    report = split(Truth(units=1000), Truth(units=2000, right=0.99))
    assert report.verdict is Verdict.BROKEN
    assert health(report, "sample_ratio") is Health.BROKEN
    assert "sample ratio (units by arm: a 1000 (33.3%), b 2000 (66.7%))" in report.sentence


def test_labels_that_come_more_easily_for_one_arm_break_the_comparison() -> None:
    """Also where all units were assigned as they should."""
    report = split(Truth(labelled=0.2), Truth(labelled=0.5))
    assert health(report, "sample_ratio") is Health.OK
    assert health(report, "label_ratio") is Health.BROKEN
    assert report.verdict is Verdict.BROKEN


def test_calls_that_fail_are_the_guardrails_matter_not_the_labels() -> None:
    """Three calls in ten have no answer, hence no label; that is another check's to say."""
    report = split(Truth(labelled=0.05), Truth(labelled=0.05, fails=0.3))
    assert health(report, "label_ratio") is not Health.BROKEN


@pytest.mark.parametrize(
    ("metric", "state"),
    [("accuracy", Health.BROKEN), ("error_rate", Health.WARN), ("latency_p50", Health.WARN)],
)
def test_an_arm_that_answers_less_is_not_compared_by_its_answers(metric: str, state: Health) -> None:
    """It may have failed on the hard images: no verdict on accuracy; other metrics get a warning."""
    failing = split(Truth(), Truth(right=0.88, fails=0.1), primary_metric=metric)
    assert health(failing, "answered", "b") is state
    assert (failing.verdict is Verdict.BROKEN) == (state is Health.BROKEN)
    assert health(split(Truth(fails=0.1), Truth(fails=0.1)), "answered", "b") is Health.OK


def test_returning_units_do_not_count_twice_against_the_sample_ratio() -> None:
    """A deviation that is no alarm in one phase is none when the same units come again."""
    random = np.random.default_rng(1)
    arms = [split_arm(Truth(units=units), random) for units in (2070, 1930)]
    once = evaluate(an_experiment(), evidence_of((HALVES, arms)), 0.0)
    often = evaluate(an_experiment(), evidence_of(*[(HALVES, arms)] * 6), 0.0)
    assert health(once, "sample_ratio") is health(often, "sample_ratio") is not Health.BROKEN


@pytest.mark.parametrize(("twice", "state"), [(0, Health.OK), (4, Health.WARN), (5, Health.BROKEN)])
def test_units_in_two_arms(twice: int, state: Health) -> None:
    """One warns; more than one in a thousand breaks the comparison."""
    random = np.random.default_rng(2)
    arms = [with_counts(split_arm(Truth(), random), multi_exposed=twice), split_arm(Truth(), random)]
    report = evaluate(an_experiment(), evidence_of((HALVES, arms)), 0.0)
    assert health(report, "multi_exposure") is state
    assert (report.verdict is Verdict.BROKEN) == (state is Health.BROKEN)


@pytest.mark.parametrize(
    ("sums", "check", "arm"),
    [
        ({"dropped__record": 50}, "dropped_records", "b"),
        ({"dropped__mirror": 50}, "dropped_mirrors", "b"),
        ({"conflict": 200}, "conflicts", ""),
        ({"unmatched": 200}, "unmatched", ""),
    ],
)
def test_losses_warn(sums: dict[str, int], check: str, arm: str) -> None:
    """What was dropped, contradicted or never arrived is said; a few are not worth a word."""
    control, other = pair_of(PairTruth())
    few = dict.fromkeys(sums, 1)
    for counts, state in ((few, Health.OK), (sums, Health.WARN)):
        evidence = evidence_of((HALVES, (control, with_counts(other, **counts))))
        assert health(evaluate(an_experiment("paired"), evidence, 0.0), check, arm) is state


def test_labels_of_disagreements_only_are_pointed_out() -> None:
    """Then an arm's own accuracy is that of the hard images; the difference stays right."""
    control, arm = pair_of(PairTruth())
    asked = with_counts(arm)
    del asked.sums["first:both_right"], asked.sums["first:both_wrong"]
    report = evaluate(an_experiment("paired"), evidence_of((HALVES, (control, asked))), 0.0)
    whole = evaluate(an_experiment("paired"), evidence_of((HALVES, (control, arm))), 0.0)
    assert (health(report, "label_choice"), health(whole, "label_choice")) == (Health.WARN, Health.OK)
    assert report.comparisons == whole.comparisons


@pytest.mark.parametrize(
    ("control", "arm", "state"),
    [
        (0.0, 0.0, Guard.INSUFFICIENT),
        (0.0, 0.002, Guard.INSUFFICIENT),
        (0.0, 0.05, Guard.TRIPPED),
        (0.05, 0.05, Guard.CLEAR),
        (0.05, 0.01, Guard.CLEAR),
        (0.01, 0.05, Guard.TRIPPED),
    ],
)
def test_guardrails_on_errors(control: float, arm: float, state: Guard) -> None:
    """A control without errors neither hides an arm that fails nor vouches for one that does not."""
    report = split(Truth(fails=control), Truth(fails=arm), guardrails=[ERRORS])
    (found,) = report.guardrails
    assert found.state is state
    assert (found.log_e >= found.threshold) == (state is Guard.TRIPPED)
    assert (found.ratio is None) == (control == 0)
    assert (report.verdict is Verdict.GUARDRAIL_TRIPPED) == (state is Guard.TRIPPED)


def test_a_tripped_guardrail_comes_before_a_broken_comparison() -> None:
    """Users are hurt whether or not the comparison is fair."""
    report = split(Truth(units=1000), Truth(fails=0.2), guardrails=[ERRORS])
    assert health(report, "sample_ratio") is Health.BROKEN
    assert report.verdict is Verdict.GUARDRAIL_TRIPPED
    assert report.sentence.startswith("b does harm: error rate (")


def test_slow_calls_and_the_share_of_alpha() -> None:
    """Each of two guardrails on each of two arms has a quarter of its alpha; only the slow arm trips."""
    random = np.random.default_rng(5)
    arms = [with_counts(split_arm(Truth(), random), slow__200=slow) for slow in (40, 40, 160)]
    experiment = an_experiment(arms=3, guardrails=[ERRORS, SLOW])
    report = evaluate(experiment, evidence_of((experiment.design.weights, arms)), 0.0)
    states = {(one.metric, one.arm): one.state for one in report.guardrails}
    assert {one.alpha for one in report.guardrails} == {0.01 / 4}
    assert states["slo_exceedance", "b"] is Guard.CLEAR
    assert states["slo_exceedance", "c"] is Guard.TRIPPED
    assert [one.verdict is Verdict.GUARDRAIL_TRIPPED for one in report.comparisons] == [False, True]
    assert Counter(one.title for one in report.guardrails)["Slow calls, over 200 ms"] == 2


def test_three_arms_share_alpha_and_speak_through_the_least_known() -> None:
    """One better arm beside an undecided one leaves the experiment undecided, and says both."""
    report = split(Truth(), Truth(right=0.9), Truth(right=0.81))
    assert [one.verdict for one in report.comparisons] == [Verdict.BETTER, Verdict.UNDECIDED]
    assert {one.row.alpha for one in report.comparisons} == {0.025}
    assert report.verdict is Verdict.UNDECIDED
    assert report.sentence.index("c differs from a") < report.sentence.index("b is better than a")


@pytest.mark.parametrize(
    ("mode", "metric"),
    [
        *product(["split", "shadow", "paired"], ["accuracy", "error_rate"]),
        *product(["split"], ["latency_p50", "latency_p99"]),
        *product(["shadow", "paired"], ["agreement"]),
    ],
)
def test_arms_without_data(mode: str, metric: str) -> None:
    """Before the start, before the first call, and while one arm has none: not enough data, and no crash.

    Nor is anything said to be well before the first call.
    """
    experiment = an_experiment(mode, primary_metric=metric, guardrails=[ERRORS, SLOW])
    draft = replace(experiment, state=State.DRAFT, phases=(), labels=())
    one_only = [split_arm(Truth(units=3), np.random.default_rng(1)), Count()]
    nothing, half = evidence_of((HALVES, [Count(), Count()])), evidence_of((HALVES, one_only))
    for version, evidence in ((draft, Evidence(phases=())), (experiment, nothing), (experiment, half)):
        report = evaluate(version, evidence, 0.0)
        assert report.verdict is Verdict.INSUFFICIENT_DATA
        assert report.comparisons[0].row.estimate is None
        assert {one.state for one in report.guardrails} == {Guard.INSUFFICIENT}
        assert bool(report.health) is (evidence is half)
        json.dumps(report.to_json(), allow_nan=False)


def test_the_pair_table_holds_every_first_pair() -> None:
    """Each in exactly one of its cells."""
    report = paired(PairTruth(pairs=1000, labelled=0.7))
    (table,) = report.pair_tables
    cells = [getattr(table, name) for name in table.__dataclass_fields__ if name != "arm"]
    assert sum(cells) == 1000
    assert min(cells) > 0


def test_classes_are_found_by_e_bh_from_20_decided_pairs_on() -> None:
    """The class that the arm has learnt is found; one with 19 decided pairs is not even tested."""
    control, arm = pair_of(PairTruth(arm_right=0.12))
    few = with_counts(arm, class__3__arm_right=19, class__4__control_right=20, class__4__arm_right=20)
    report = evaluate(an_experiment("paired"), evidence_of((HALVES, (control, few))), 0.0)
    found = {one.label: (one.found, one.log_e is None) for one in report.classes}
    assert found == {"3": (False, True), "4": (False, False), "7": (True, False)}


def test_the_confusion_change_says_where_answers_went() -> None:
    """What the arm gains on the diagonal it loses elsewhere in that row."""
    report = paired(PairTruth(arm_right=0.12))
    (change,) = report.confusion_changes
    assert change.labels == LABELS
    assert change.change[7][7] == -change.change[7][1] > 0
    assert sum(map(abs, change.change[0])) == 0


def test_the_latency_curve_rises_inside_its_band() -> None:
    """For at most 100 durations, up to all of the calls."""
    report = split(Truth(), Truth())
    for curve in report.latency_curves:
        assert len(curve.points) <= 100
        assert all(one.ms < other.ms and one.share <= other.share for one, other in pairwise(curve.points))
        assert all(0 <= one.low <= one.share <= one.high <= 1 for one in curve.points)
        assert curve.points[-1].share == 1


def test_a_look_is_what_the_report_showed() -> None:
    """Of the primary metric, with the interval of a single look inside the one for all looks."""
    report = split(Truth(), Truth(right=0.85))
    seen = look(report)
    (arm,) = seen.arms
    assert (seen.at, seen.verdict, arm.arm, arm.units) == (600.0, report.verdict.value, "b", 4000)
    assert arm.low < arm.fixed_low < arm.estimate < arm.fixed_high < arm.high


@pytest.mark.parametrize("mode", ["split", "paired"])
def test_the_json_form_describes_itself(mode: str) -> None:
    """Finite numbers only, the same keys with and without data, and a definition in every row."""
    design: dict[str, Any] = {"guardrails": [ERRORS, SLOW]}
    full = split(Truth(), Truth(), **design) if mode == "split" else paired(PairTruth(), **design)
    empty = evaluate(an_experiment(mode, **design), evidence_of((HALVES, [Count(), Count()])), 0.0)
    documents = [json.loads(json.dumps(one.to_json(), allow_nan=False)) for one in (full, empty)]
    for document in documents:
        assert list(document) == KEYS
        assert document["format"] == 1
        for row in [*document["rows"], *(one["row"] for one in document["comparisons"])]:
            assert list(row) == ROW_KEYS
            assert all(row[key] for key in ("metric", "title", "definition", "unit", "method", "why"))
        for part in ("health", "guardrails"):
            assert all(one["definition"] and one["words"] for one in document[part])
    assert {row["kind"] for row in documents[0]["rows"]} <= {kind.value for kind in Kind}


def test_a_report_on_1000_classes_and_3_arms_is_fast() -> None:
    """Well under a second: 0.2 s on one core, with room for a busy machine."""
    random = np.random.default_rng(7)
    names = [f"class__{label}__{who}" for label in range(1000) for who in ("control_right", "arm_right")]
    arms = [with_counts(split_arm(Truth(), random), **dict.fromkeys(names, 30)) for _ in range(3)]
    experiment = replace(an_experiment(arms=3), labels=tuple(map(str, range(1000))))
    evidence = evidence_of((experiment.design.weights, arms))
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        evaluate(experiment, evidence, 0.0)
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.4
