"""When a run is stopped, judged on requests that are made up."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.exchange import GRPC, Exchange
from loadtests.outcome import Slo
from loadtests.swarm.stop_rule import StopRule

SLO = Slo(p99_ms=200, failures=0.02, for_s=3)
BEGIN = 1_700_000_000


def exchange(due: float, seconds: float = 0.01, fault: str = "") -> Exchange:
    """One that took so long."""
    return Exchange(
        due=due,
        sent=due,
        ended=due + seconds,
        way=GRPC,
        kind="one image",
        model="m",
        outcome="ok",
        fault=fault,
    )


def rule_of(*seconds: list[Exchange], slo: Slo = SLO) -> StopRule:
    """A rule that knows of these requests, a list for each second."""
    rule = StopRule(slo)
    for one in seconds:
        rule.count_due(Counter(int(each.due) for each in one))
        for each in one:
            rule.count(each)
    return rule


def second(number: int, late: int = 0, failed: int = 0, count: int = 100) -> list[Exchange]:
    """Requests of a second, of which so many are late, and so many others fail."""
    return [
        exchange(
            BEGIN + number + each / count,
            seconds=0.5 if each < late else 0.01,
            fault="wrong" if late <= each < late + failed else "",
        )
        for each in range(count)
    ]


LATER = BEGIN + 100.0


@pytest.mark.parametrize(
    ("late", "failed", "stops"), [(1, 0, False), (2, 0, True), (0, 2, False), (0, 3, True), (1, 2, False)]
)
def test_a_second_is_broken_above_one_percent_late_or_the_failures_promised(
    late: int, failed: int, stops: bool
) -> None:
    """Exactly at the border it is not."""
    rule = rule_of(*(second(number, late, failed) for number in range(3)))
    assert bool(rule.judge(LATER)) is stops


def test_the_reason_has_the_figures() -> None:
    """How long, how many of how many, and what was promised."""
    rule = rule_of(second(0), second(1, late=50), second(2, late=5, failed=3), second(3, failed=30))
    assert rule.judge(LATER) == (
        "the promise was broken for 3 s in a row: of 300 requests that were due then 55 (18.33%) had no"
        " answer within 200 ms (1 % may), and 33 (11.00%) failed (2.00% may)"
    )


def test_a_second_that_was_kept_begins_the_count_anew() -> None:
    """Two broken, one kept, two broken: nothing stops; one more does."""
    broken = (0, 1, 3, 4)
    seconds = [second(number, late=100 if number in broken else 0) for number in range(5)]
    assert rule_of(*seconds).judge(LATER) == ""
    assert rule_of(*seconds, second(5, late=100)).judge(LATER) != ""


def test_a_second_without_requests_says_nothing() -> None:
    """A broken one before and two after it are three in a row."""
    assert rule_of(*(second(number, late=100) for number in (0, 7, 9))).judge(LATER) != ""


def test_what_has_no_answer_yet_is_late_once_it_is_too_old() -> None:
    """Wherever it is stuck: it is only known that it was due."""
    rule = StopRule(SLO)
    rule.count_due({BEGIN: 10, BEGIN + 1: 10, BEGIN + 2: 10})
    assert rule.judge(BEGIN + 3.199) == ""
    assert "30 (100.00%) had no answer" in rule.judge(BEGIN + 3.2)


def test_a_second_is_not_judged_while_an_answer_in_time_can_come() -> None:
    """What comes before the second is complete is counted; it is judged once."""
    rule = StopRule(SLO)
    rule.count_due({BEGIN: 1, BEGIN + 1: 1, BEGIN + 2: 1})
    for number in range(3):
        due = BEGIN + number + 0.999
        assert rule.judge(due + 0.19) == ""
        rule.count(exchange(due, 0.195))
    assert rule.judge(LATER) == ""


def test_without_a_limit_nothing_stops() -> None:
    """And nothing does before the first request."""
    slo = Slo(p99_ms=200, for_s=None)
    assert rule_of(*(second(number, late=100) for number in range(20)), slo=slo).judge(LATER) == ""
    assert StopRule(SLO).judge(LATER) == ""


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 12), st.sampled_from([0.01, 0.1999, 0.3, 5.0]), st.booleans()), max_size=60
    ),
    st.integers(1, 4),
    st.floats(0.1, 3),
)
def test_the_verdict_does_not_depend_on_how_reports_are_cut(
    requests: list[tuple[float, float, bool]], for_s: int, interval: float
) -> None:
    """Requests at random, told in reports of any length, are judged as numpy judges them all at once."""
    slo = Slo(p99_ms=200, failures=0.1, for_s=for_s)
    made = [exchange(BEGIN + due, seconds, "wrong" if fails else "") for due, seconds, fails in requests]
    rule, verdict, until = StopRule(slo), "", float(BEGIN)
    while until < BEGIN + 25 and not verdict:
        since, until = until, until + interval
        rule.count_due(Counter(int(one.due) for one in made if since <= one.due < until))
        for one in made:
            if since <= one.ended < until:
                rule.count(one)
        verdict = rule.judge(until)
    assert bool(verdict) is expected(made, slo)


def expected(made: list[Exchange], slo: Slo) -> bool:
    """Whether so many seconds in a row are broken, of those that have requests."""
    due = np.array([one.due for one in made])
    bad = np.array([1e3 * (one.ended - one.due) > slo.p99_ms for one in made], bool)
    failed = np.array([one.fault != "" and one.ended < np.floor(one.due) + 1.2 for one in made], bool)
    run = longest = 0
    for each in np.unique(np.floor(due)):
        here = np.floor(due) == each
        broken = bad[here].mean() > 0.01 or failed[here].mean() > slo.failures
        run = run + 1 if broken else 0
        longest = max(longest, run)
    assert slo.for_s is not None
    return longest >= slo.for_s
