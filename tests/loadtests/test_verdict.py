"""For what a run fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.exchange import GRPC, Exchange
from loadtests.exchanges import Exchanges
from loadtests.outcome import Run, Slo
from loadtests.report.build import report
from loadtests.report.document import Comparison
from loadtests.running.execution import Execution
from loadtests.running.plans import Plan, plan_of
from loadtests.running.sites import Site
from loadtests.running.verdict import complaints
from loadtests.running.wish import Wish
from loadtests.stack import Target
from loadtests.tally import Kind, Tally

GOOD = Exchange(
    due=100.0,
    sent=100.0,
    ended=100.1,
    way=GRPC,
    kind="one image",
    model="m",
    served="m",
    outcome="ok",
    judged=1,
    right=1,
)
SMOKE = Wish()
STEPS = Wish(scenario="steps", rate=5.0)


def told(
    wish: Wish, exchanges: Sequence[Exchange], *, status: int = 0, stopped: str = "", counts: str = ""
) -> list[str]:
    """The complaints about a run in which these requests were sent."""
    plan = plan_of(wish)
    execution = Execution(run=run_of(plan, exchanges, stopped, counts), tally=Tally(), status=status)
    for exchange in exchanges:
        execution.tally.add(exchange)
    return complaints(execution, plan, wish, report(execution.run))


def run_of(plan: Plan, exchanges: Sequence[Exchange], stopped: str, counts: str) -> Run:
    """A run of ten seconds."""
    return Run(
        scenario=plan.scenario.name,
        summary="",
        loop=plan.scenario.loop,
        options={},
        target="http://127.0.0.1:8000",
        began=100.0,
        ended=110.0,
        stopped=stopped,
        exchanges=Exchanges.of(exchanges),
        phases=plan.phases(100.0, 110.0),
        slo=Slo(p99_ms=1000.0),
        differences=(counts,) if counts else (),
    )


def test_a_run_without_a_fault_has_no_complaint() -> None:
    """Of either sort."""
    assert told(SMOKE, [GOOD] * 20) == told(STEPS, [GOOD] * 20) == []


@pytest.mark.parametrize("outcome", ["shed", "timeout"])
def test_what_breaks_is_a_failure_unless_it_was_to_break(outcome: str) -> None:
    """Where the limit is looked for, a gateway may say that it has too much to do."""
    exchanges = [GOOD, replace(GOOD, outcome=outcome, served="", fault="too much", judged=0, right=0)]
    assert told(SMOKE, exchanges) == ["1 of 2 requests failed"]
    assert told(STEPS, exchanges, stopped="the promise was broken", status=1) == []


@pytest.mark.parametrize("outcome", ["ok", "no_answer", "internal", "client_error"])
def test_a_wrong_answer_is_always_a_failure(outcome: str) -> None:
    """Whatever the scenario, and so is one that is missing."""
    exchanges = [GOOD, replace(GOOD, outcome=outcome, fault="labels are wrong")]
    assert told(SMOKE, exchanges) == told(STEPS, exchanges) == ["1 of 2 requests failed"]


def test_other_counts_are_always_a_failure() -> None:
    """By one request, or by many."""
    for wish in (SMOKE, STEPS):
        assert told(wish, [GOOD], counts="m: sent 1, counted 2") == [
            "the gateway counted otherwise: m: sent 1, counted 2"
        ]


def test_what_else_a_run_fails_for() -> None:
    """Nothing sent, labels that are wrong, an end before its time, and what only Locust knows."""
    assert told(SMOKE, []) == ["no request was sent"]
    assert told(SMOKE, [replace(GOOD, right=0)]) == ["0 of 1 images got their label (0.0%), expected 90.0%"]
    assert told(SMOKE, [GOOD], stopped="it was ended from outside") == ["it was ended from outside"]
    assert told(SMOKE, [GOOD], status=1) == ["locust ended with status 1: "]


def test_worse_than_the_baseline_fails_and_so_do_twins_that_differ() -> None:
    """But neither what is better than the baseline, nor arms that are different models."""
    found = Comparison(
        what="p99, gRPC",
        baseline=1.0,
        now=2.0,
        unit="ms",
        ratio=2.0,
        low=1.5,
        high=3.0,
        verdict="worse",
        sentence="",
    )
    plan = plan_of(STEPS)
    execution = Execution(run=run_of(plan, [GOOD], "", ""), tally=Tally(), status=0)
    plain = report(execution.run)
    worse = replace(plain, comparisons=(found,))
    assert complaints(execution, plan, STEPS, worse) == ["worse than the baseline: p99, gRPC"]
    better = replace(plain, comparisons=(replace(found, verdict="better"),), arms=(found,))
    assert complaints(execution, plan, STEPS, better) == []
    twins = plan_of(Wish(scenario="aa", rate=5.0))
    assert complaints(execution, twins, STEPS, better) == ["two arms that are one model differ: p99, gRPC"]


def test_refusals_behind_an_alias_are_compared_without_the_model() -> None:
    """Who is refused is not told which model it would have been; who is answered is, and that is compared."""
    site = Site(
        target=Target(http="", grpc="", metrics=""),
        asked=("newest",),
        models=("a", "b"),
        samples=Path(),
        max_batch=1,
    )
    sent = Counter({Kind("a", "grpc", "ok"): 2, Kind("newest", "grpc", "client_error"): 3})
    counted = Counter(
        {
            Kind("a", "grpc", "ok"): 2,
            Kind("a", "grpc", "client_error"): 1,
            Kind("b", "grpc", "client_error"): 2,
        }
    )
    assert site.comparable(sent) == site.comparable(counted)
    known = replace(site, asked=("a",))
    assert known.comparable(counted) == counted
