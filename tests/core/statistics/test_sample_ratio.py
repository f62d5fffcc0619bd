"""Whether the arms got the shares that were configured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multinomial

from serve.core.statistics.sample_ratio import sample_ratio_log_e

COUNTS = st.lists(st.integers(0, 10**9), min_size=2, max_size=5)


@pytest.mark.parametrize(
    ("counts", "weights", "k", "log_e"),
    [
        ([520, 480], [1, 1], 100, -0.4731252336700891),
        ([520, 480], [1, 1], 1000, 0.053528187394022105),
        ([5200, 4800], [5000, 5000], 1000, 6.075817651592843),
        ([900, 80, 120], [8, 1, 1], 1000, 1.9109834219486856),
    ],
)
def test_it_is_that_of_savvi(counts: list[int], weights: list[int], k: float, log_e: float) -> None:
    """The same test in another implementation, for two and three arms.

    savvi 0.3.1: `m = Multinomial(0.05, np.array(weights) / sum(weights), k=k)`, `m.update(np.array(counts))`,
    `np.log(m.odds)`.
    """
    assert sample_ratio_log_e(counts, weights, k) == pytest.approx(log_e, abs=1e-9)


@pytest.mark.parametrize("weights", [(1, 1, 1), (7, 2, 1)])
def test_its_mean_is_one_under_the_null(weights: tuple[int, ...]) -> None:
    """By enumeration of all counts of 12 units over three arms."""
    n = 12
    null = multinomial(n, [weight / sum(weights) for weight in weights])
    outcomes = [(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]
    mean = sum(null.pmf(counts) * math.exp(sample_ratio_log_e(counts, weights, 10)) for counts in outcomes)
    assert mean == pytest.approx(1, abs=1e-10)


@given(COUNTS)
def test_any_counts_give_a_finite_number(counts: list[int]) -> None:
    """Also none and a billion; the order of the arms does not matter."""
    weights = list(range(1, len(counts) + 1))
    log_e = sample_ratio_log_e(counts, weights)
    assert math.isfinite(log_e)
    assert sample_ratio_log_e(counts[::-1], weights[::-1]) == pytest.approx(log_e, abs=1e-4)


@given(st.integers(1, 10**5), st.integers(0, 10**5))
def test_evidence_grows_with_the_mismatch(n: int, off: int) -> None:
    """Of as many units in two equal arms, the more lopsided are the stronger evidence."""
    off %= n
    near, far = [n - off, n + off], [n - off - 1, n + off + 1]
    assert sample_ratio_log_e(far, [1, 1]) > sample_ratio_log_e(near, [1, 1]) - 1e-6


def test_an_arm_with_no_weight_must_stay_empty() -> None:
    """One unit in it contradicts the weights altogether; none is no evidence."""
    assert sample_ratio_log_e([10, 10, 1], [1, 1, 0]) == math.inf
    assert sample_ratio_log_e([10, 10, 0], [1, 1, 0]) == sample_ratio_log_e([10, 10], [1, 1])


@pytest.mark.parametrize(
    ("counts", "weights", "k"),
    [([1], [1, 1], 1), ([1, -1], [1, 1], 1), ([1, 1], [0, 0], 1), ([], [], 1), ([1, 1], [-1, 2], 1)],
)
def test_numbers_that_do_not_belong_together_are_refused(
    counts: list[int], weights: list[int], k: float
) -> None:
    """As many weights as counts, none below 0, and something to share out."""
    with pytest.raises(ValueError, match="counts"):
        sample_ratio_log_e(counts, weights, k)
    with pytest.raises(ValueError, match="k is 0"):
        sample_ratio_log_e([1, 1], [1, 1], 0)
