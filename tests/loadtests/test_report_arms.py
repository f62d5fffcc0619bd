"""Two arms as their callers saw them: identical ones do not differ, and 30 % are found."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from loadtests.exchanges import Exchanges
from loadtests.report.arms import arms
from loadtests.report.document import Comparison
from loadtests.report.rows import groups
from loadtests.report.windows import Bootstrap, Span, Windows
from tests.loadtests.made_run import BEGAN, arrivals, exchanges, in_arm, together

SECONDS = 60
WHOLE = Bootstrap.of(Windows.of([Span(begins=BEGAN, ends=BEGAN + SECONDS)]))


def compared(made: Exchanges, control: str | None = None) -> dict[str, Comparison]:
    """By what was compared."""
    experiment = MappingProxyType({"control": control}) if control else None
    return {one.what: one for one in arms(tuple(groups(made)), WHOLE, experiment)}


def two(seed: int, factor: float = 1.0, *, shared: float = 0.3, rate: float = 100.0) -> Exchanges:
    """Arms a and b, slow in the same seconds, of which b takes `factor` times as long."""
    rng = np.random.default_rng(seed)
    slow = rng.lognormal(0.0, shared, SECONDS)
    made = []
    for name, times in (("a", 1.0), ("b", factor)):
        due = arrivals(rate, SECONDS, int(rng.integers(1 << 30)))
        waited = 20 * times * slow[(due - BEGAN).astype(int)] * rng.lognormal(0.0, 0.4, len(due))
        made.append(in_arm(exchanges(due, waited), name))
    return together(*made)


def test_the_very_same_latencies_are_the_same() -> None:
    """Every ratio is 1, however slow some seconds were."""
    due = arrivals(200, SECONDS, 1)
    waited = np.random.default_rng(2).exponential(20, len(due))
    found = compared(together(*(in_arm(exchanges(due, waited), name) for name in "ab")))
    assert list(found) == ["good replies, arm b", "p50, arm b", "p90, arm b", "p99, arm b"]
    assert {one.ratio for one in found.values()} == {1.0}
    assert {one.verdict for one in found.values()} == {"same"}


def test_identical_arms_are_the_same_or_unclear() -> None:
    """Chance makes no difference, though the seconds of the run differ by far more than the arms."""
    for seed in (1, 2, 3):
        assert {one.verdict for one in compared(two(seed)).values()} <= {"same", "unclear"}


def test_what_both_arms_suffer_at_once_does_not_blur_their_ratio() -> None:
    """Seconds that are slow for both leave its interval as narrow as seconds that are all alike."""
    calm, wild = (compared(two(4, shared=shared))["p50, arm b"] for shared in (0.0, 0.6))
    assert wild.high / wild.low < (calm.high / calm.low) ** 2.5
    assert wild.high / wild.low < 1.25


def test_arms_30_percent_apart_are_found() -> None:
    """The slower arm is worse in its median and its p90, and the control better against it."""
    found = compared(two(5, 1.3))
    assert (found["p50, arm b"].verdict, found["p90, arm b"].verdict) == ("worse", "worse")
    assert found["p50, arm b"].ratio == pytest.approx(1.3, rel=0.06)
    assert found["p50, arm b"].tolerance == 0.05
    assert "times that of arm a" in found["p50, arm b"].sentence
    swapped = compared(two(5, 1.3), control="b")
    assert swapped["p50, arm a"].verdict == "better"


def test_failures_of_an_arm_are_found() -> None:
    """4 % of failures are worse than none; the percentiles of what is left are compared all the same."""
    made = two(6)
    due, waited = made.due, made.response_ms
    failing = np.asarray(made.arm == "b") & (np.arange(len(due)) % 25 < 2)
    broken = exchanges(due, waited, failing)
    parts = [in_arm(broken.where(np.asarray(made.arm == name)), name) for name in ("a", "b")]
    found = compared(together(*parts))
    assert found["good replies, arm b"].verdict == "worse"
    assert "p99, arm b" not in found
    assert "p90, arm b" in found


def test_too_little_is_not_compared() -> None:
    """One arm, or a handful of requests in one of them, has no comparison."""
    alone = in_arm(exchanges(arrivals(100, SECONDS, 7), 20.0), "a")
    few = in_arm(exchanges(arrivals(100, SECONDS, 8)[:10], 20.0), "b")
    assert compared(alone) == {}
    assert compared(together(alone, few)) == {}


@pytest.mark.exhaustive
def test_a_difference_is_claimed_rarely_where_there_is_none_and_mostly_where_there_is() -> None:
    """150 pairs each, of a minute at 40 a second: identical arms, and arms 30 % apart.

    Four figures at 1 % each may err in 4 % of the pairs together.
    """
    claims = {"worse", "better"}
    alarms = sum(
        bool(claims & {one.verdict for one in compared(two(seed, rate=40)).values()}) for seed in range(150)
    )
    power = sum(compared(two(seed, 1.3, rate=40))["p50, arm b"].verdict == "worse" for seed in range(150))
    assert alarms / 150 <= 0.04
    assert power / 150 >= 0.95
