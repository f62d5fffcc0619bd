"""When requests are due in an open loop."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loadtests.arrivals import TraceError, poisson, share, trace
from loadtests.shapes import Shape

# With a seed that is fixed the tests give the same result every time; a wrong law would give a p value of
# nearly nothing.
LEVEL = 1e-3


def counts(times: list[float], seconds: float, windows: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How many arrivals fall into each of some equal windows."""
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = np.histogram(times, windows, (0, seconds))[0]
    return found


def test_counts_of_windows_are_poisson() -> None:
    """Mean and variance are equal: index of dispersion (Cox & Lewis 1966), chi-square with n - 1 degrees."""
    found = counts(list(poisson(Shape.parse("400@50"), seed=1)), 400, 400)
    dispersion = ((found - found.mean()) ** 2).sum() / found.mean()
    p = 2 * min(stats.chi2.cdf(dispersion, 399), stats.chi2.sf(dispersion, 399))
    assert p > LEVEL
    assert stats.poisson.sf(found.sum(), 20_000) > LEVEL
    assert stats.poisson.cdf(found.sum(), 20_000) > LEVEL


def test_gaps_at_a_steady_rate_are_exponential() -> None:
    """Kolmogorov and Smirnov's test against scipy's exponential distribution."""
    gaps = np.diff(list(poisson(Shape.parse("200@50"), seed=2)))
    assert stats.kstest(gaps, stats.expon(scale=1 / 50).cdf).pvalue > LEVEL


def test_arrivals_follow_the_shape() -> None:
    """On a ramp from 0 to R in T seconds times are distributed as (t / T)^2: scipy's power law."""
    times = list(poisson(Shape.parse("100@0:200"), seed=3))
    assert stats.kstest(times, stats.powerlaw(2, scale=100).cdf).pvalue > LEVEL
    assert times == sorted(times)


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_together_have_the_whole_rate(workers: int) -> None:
    """All of their arrivals are one Poisson process, in which each worker has its share."""
    each = [list(poisson(Shape.parse("300@60"), 4, worker, workers)) for worker in range(workers)]
    gaps = np.diff(sorted(time for times in each for time in times))
    assert stats.kstest(gaps, stats.expon(scale=1 / 60).cdf).pvalue > LEVEL
    assert stats.chisquare([len(times) for times in each]).pvalue > LEVEL


def test_workers_do_not_go_in_step() -> None:
    """What two of them send in the same window has nothing to do with each other (Pearson's correlation)."""
    one, other = (counts(list(poisson(Shape.parse("300@60"), 5, worker, 2)), 300, 300) for worker in (0, 1))
    assert stats.pearsonr(one, other).pvalue > LEVEL


@given(st.integers(0, 2**32), st.integers(0, 3))
def test_the_same_seed_gives_the_same_arrivals(seed: int, worker: int) -> None:
    """And another one gives others."""
    shape = Shape.parse("10@1:9,5@0,5@4")

    def drawn(seed: int) -> list[float]:
        return list(islice(poisson(shape, seed, worker, 4), 5))

    assert drawn(seed) == drawn(seed)
    assert drawn(seed) != drawn(seed + 1) or not drawn(seed)


def test_nothing_arrives_while_the_level_is_0() -> None:
    """Nor after the end."""
    times = np.array(list(poisson(Shape.parse("5@20,5@0,5@20"), seed=6)))
    assert len(times) > 100
    assert not ((times > 5) & (times < 10)).any()
    assert times.max() <= 15


@given(st.lists(st.floats(0, 100)), st.integers(1, 7))
def test_every_time_of_a_trace_is_somebodys(times: list[float], workers: int) -> None:
    """Once, in order, and nobody has two more than somebody else."""
    shares = [share(times, worker, workers) for worker in range(workers)]
    assert sorted(time for part in shares for time in part) == sorted(times)
    sizes = [len(part) for part in shares]
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.floats(-1e9, 1e9), min_size=1).map(sorted))
def test_a_trace_may_be_by_any_clock(tmp_path_factory: pytest.TempPathFactory, times: list[float]) -> None:
    """Its first arrival is the begin."""
    file = tmp_path_factory.mktemp("trace") / "trace.txt"
    file.write_text("\n".join(map(repr, times)))
    assert trace(file) == tuple(time - times[0] for time in times)


def test_a_trace_may_be_csv(tmp_path: Path) -> None:
    """With other columns beside, empty lines, and the mark that spreadsheets write at the begin."""
    file = tmp_path / "trace.csv"
    file.write_text("\ufeffwho, time ,size\nx,1.5,2\n\ny,1.75,2\n")
    assert trace(file) == (0.0, 0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n2\nthree\n", "line 3: 'three' is no number of seconds"),
        ("1\nnan\n", "line 2: 'nan' is no number"),
        ("1\n\n3\n2\n", "line 4: 2 comes before 3"),
        ("who,when\nx,1\n", "line 1: 'who, when' has no column 'time'"),
        ("who,time\nx,1\ny\n", "line 3: has no value for the column 'time'"),
        ("time\n", "has no arrival"),
        ("", "has no arrival"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message names the file and the line."""
    file = tmp_path / "trace"
    file.write_text(text)
    with pytest.raises(TraceError, match=f"{re.escape(str(file))}.*{message}"):
        trace(file)


def test_a_trace_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    """The message says why."""
    with pytest.raises(TraceError, match="No such file"):
        trace(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(TraceError, match="cannot be read"):
        trace(tmp_path / "binary")
