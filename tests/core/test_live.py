"""Quantiles as Prometheus documents them, and growth of counters that may begin anew."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
from bisect import bisect_left
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from serve.core.live import Place, Quantiles, growth, quantile, quantiles
from tests.programs import find_program

BOUNDS = (1.0, 2.0, 4.0)
COUNTS = st.lists(st.integers(0, 1000), min_size=4, max_size=4)
SHARES = st.floats(0.001, 1.0)


@pytest.mark.parametrize(
    ("share", "counts", "expected"),
    [
        # 4 of 8 lie in (1, 2]: the 4th of all is the 2nd of these, so halfway from 1 to 2.
        (0.5, (2, 4, 2, 0), 1.5),
        # The 2nd of two in the first bucket, which begins at 0, is at its end; the 1st in its middle.
        (1.0, (2, 0, 0, 0), 1.0),
        (0.5, (2, 0, 0, 0), 0.5),
        # Empty buckets below do not matter: the 1st of two in (2, 4].
        (0.5, (0, 0, 2, 0), 3.0),
        # On a bound: the 2nd of four ends the first bucket.
        (0.5, (2, 0, 2, 0), 1.0),
        # Above the last bound nothing is known but that it is above.
        (0.99, (1, 0, 0, 99), 4.0),
        (0.5, (0, 0, 0, 0), None),
    ],
)
def test_a_quantile_is_interpolated_in_its_bucket(
    share: float, counts: tuple[int, ...], expected: float | None
) -> None:
    """By hand from the documented rule: linear in the bucket, from 0 in the lowest, to the last bound."""
    assert quantile(share, BOUNDS, counts) == pytest.approx(expected)


@given(st.lists(st.floats(0.01, 3.99), min_size=1), SHARES)
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    """So it is as far off as its bucket is wide, at most."""
    counts = [0, 0, 0, 0]
    for value in values:
        counts[bisect_left(BOUNDS, value)] += 1
    true = sorted(values)[math.ceil(share * len(values)) - 1]
    bucket = bisect_left(BOUNDS, true)
    estimate = quantile(share, BOUNDS, counts)
    assert estimate is not None
    assert (0.0, *BOUNDS)[bucket] - 1e-9 <= estimate <= BOUNDS[bucket] + 1e-9


@given(COUNTS, SHARES, SHARES)
def test_quantiles_grow_with_their_share(counts: list[int], one: float, other: float) -> None:
    """And they lie between 0 and the last bound."""
    low, high = (quantile(share, BOUNDS, counts) for share in sorted((one, other)))
    if not any(counts):
        assert low is high is None
    else:
        assert low is not None
        assert high is not None
        assert 0 <= low <= high + 1e-9 <= BOUNDS[-1] + 1e-6


@pytest.mark.parametrize(
    ("share", "counts", "message"),
    [(0.0, (1, 1, 1, 1), "share is 0"), (1.1, (1, 1, 1, 1), "share is 1.1"), (0.5, (1,), "counts has 1")],
)
def test_what_cannot_be_is_refused(share: float, counts: tuple[int, ...], message: str) -> None:
    """With the value and the rule."""
    with pytest.raises(ValueError, match=message):
        quantile(share, BOUNDS, counts)


def test_durations_are_told_in_milliseconds() -> None:
    """Of 100 requests between 1 and 2 s: evenly spread, as far as a histogram knows."""
    found = quantiles(BOUNDS, (0, 100, 0, 0))
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == pytest.approx((1500, 1950, 1990))
    assert quantiles(BOUNDS, ()) == Quantiles()


@pytest.mark.needs_program("promtool", how="apt-get install prometheus")
def test_prometheus_estimates_the_same(tmp_path: Path) -> None:
    """Its own `histogram_quantile`, of every way to put 0, 1 or 5 requests into four buckets."""
    cases = [counts for counts in itertools.product((0, 1, 5), repeat=4) if any(counts)]
    told = _promtool(tmp_path, cases)
    assert [quantile(0.95, BOUNDS, counts) for counts in cases] == pytest.approx(told)


def _promtool(folder: Path, cases: list[tuple[int, ...]]) -> list[float]:
    """What promtool makes of them; it tells values only where others were expected."""
    series = [
        {"series": f'd_bucket{{case="{number}", le="{bound}"}}', "values": str(sum(counts[: index + 1]))}
        for number, counts in enumerate(cases)
        for index, bound in enumerate((*BOUNDS, "+Inf"))
    ]
    expected = [{"labels": f'{{case="{number}"}}', "value": -1} for number in range(len(cases))]
    asked = {"expr": "histogram_quantile(0.95, d_bucket)", "eval_time": "0", "exp_samples": expected}
    test = {"rule_files": [], "tests": [{"input_series": series, "promql_expr_test": [asked]}]}
    file = folder / "quantiles.yaml"
    file.write_text(yaml.safe_dump(test))
    program = find_program("promtool")
    assert program, "the marker needs_program looks for it"
    done = subprocess.run(
        [program, "test", "rules", file], capture_output=True, text=True, timeout=60, check=False
    )
    got = (done.stdout + done.stderr).partition("got:")[2]
    values = {int(case): float(value) for case, value in re.findall(r'case="(\d+)"}\s+([-+.\deE]+)', got)}
    assert len(values) == len(cases), done.stderr
    return [values[number] for number in range(len(cases))]


def test_a_counter_that_began_anew_has_grown_by_what_it_shows() -> None:
    """As Prometheus' `increase` has it; buckets of one histogram begin anew together."""
    assert growth((3.0, 5.0), (4.0, 9.0)) == (1.0, 4.0)
    assert growth((), (4.0, 9.0)) == (4.0, 9.0)
    assert growth((3.0, 5.0), (4.0, 2.0)) == (4.0, 2.0)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1))
def test_growth_is_never_negative(pairs: list[tuple[int, int]]) -> None:
    """Nor more than what the counters show."""
    before, now = zip(*pairs, strict=True)
    assert all(0 <= more <= new for more, new in zip(growth(before, now), now, strict=True))


@pytest.mark.parametrize(("index", "of"), [(0, 1), (3, 2)])
def test_a_process_is_one_of_those_that_there_are(index: int, of: int) -> None:
    """Counted from 1."""
    with pytest.raises(ValueError, match="must be 1 to"):
        Place(index=index, of=of)
