"""Two arms on the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import comb
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

from serve.core.statistics.paired import (
    PairCounts,
    PairSums,
    clustered_difference,
    difference,
    mcnemar_log_e,
    mcnemar_p,
    mean_difference,
)
from serve.core.statistics.units import Estimate, UnitSums

HUGE = st.integers(0, 10**9)


@st.composite
def counts(draw: st.DrawFn) -> PairCounts:
    """Any that belong together."""
    control_right, arm_right, neither, open_, agreeing = (draw(HUGE) for _ in range(5))
    labelled = control_right + arm_right + neither
    return PairCounts(
        pairs=labelled + open_ + agreeing,
        differ=labelled + open_,
        labelled=labelled,
        control_right=control_right,
        arm_right=arm_right,
    )


def sums(units: Sequence[Sequence[int | None]]) -> PairSums:
    """Of units given as their pairs: 0 agree, None differ without label, else (arm right) - (control right).

    A differing pair that both got wrong is 2.
    """
    rows = np.array(
        [
            (
                len(unit),
                sum(pair != 0 for pair in unit),
                sum(pair is not None and pair != 0 for pair in unit),
                sum(pair for pair in unit if pair in {-1, 1} and pair is not None),
            )
            for unit in units
        ],
        dtype=float,
    ).reshape(-1, 4)
    moments = rows.T @ rows
    first = dict(zip(("pairs", "differ", "labelled", "signed"), rows.sum(axis=0).tolist(), strict=True))
    names = ("pp", "pd", "pl", "ps", "dd", "dl", "ds", "ll", "ls", "ss")
    second = dict(zip(names, moments[np.triu_indices(4)].tolist(), strict=True))
    return PairSums(units=len(units), **first, **second)


def log_e_table(m: int, prior: float) -> list[float]:
    """The e-values of all outcomes of m discordant pairs."""
    return [math.exp(mcnemar_log_e(m - c, c, prior)) for c in range(m + 1)]


@pytest.mark.parametrize("prior", [1.0, 10.0, 50.0])
@pytest.mark.parametrize("m", range(21))
def test_the_e_value_is_exact(m: int, prior: float) -> None:
    """By enumeration: its mean under the null hypothesis is 1, to 1e-12."""
    table = log_e_table(m, prior)
    assert sum(comb(m, c) * e for c, e in enumerate(table)) / 2**m == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("m", range(20))
def test_the_e_value_is_a_martingale(m: int) -> None:
    """By enumeration: from any counts, the mean over the next pair is the present value."""
    now, following = log_e_table(m, 50.0), log_e_table(m + 1, 50.0)
    for c, e in enumerate(now):
        assert (following[c] + following[c + 1]) / 2 == pytest.approx(e, rel=1e-12)


@pytest.mark.parametrize(
    ("control_right", "arm_right", "log_e"),
    [(10, 25, 0.6905982381250269), (40, 60, 0.6588918180465839), (121, 59, 6.430290264448061)],
)
def test_the_e_value_is_that_of_ville(control_right: int, arm_right: int, log_e: float) -> None:
    """The same mixture in another implementation.

    ville 0.1.0: `BernoulliTest(0.5, prior=(50, 50)).fit(np.repeat([0, 1], [b, c])).log_e_values_[-1]`.
    """
    assert mcnemar_log_e(control_right, arm_right) == pytest.approx(log_e, abs=1e-12)


@pytest.mark.parametrize("table", [(121, 59), (0, 0), (5, 5), (0, 7), (30, 12)])
def test_the_p_value_is_that_of_statsmodels_and_scipy(table: tuple[int, int]) -> None:
    """To 1e-12; the first is the table in the documentation of statsmodels, p = 4.434e-6."""
    b, c = table
    found = mcnemar_p(b, c)
    assert found == pytest.approx(float(mcnemar([[101, b], [c, 33]], exact=True).pvalue), abs=1e-12)
    if b + c:
        assert found == pytest.approx(binomtest(c, b + c).pvalue, abs=1e-12)
    if table == (121, 59):
        assert found == pytest.approx(4.434e-6, rel=1e-3)


@given(HUGE, HUGE, st.floats(0.1, 1e6))
def test_the_e_value_is_symmetric_and_finite(b: int, c: int, prior: float) -> None:
    """Naming the arms the other way round changes nothing; huge counts neither overflow nor give NaN."""
    log_e = mcnemar_log_e(b, c, prior)
    assert math.isfinite(log_e)
    assert mcnemar_log_e(c, b, prior) == pytest.approx(log_e)


@given(st.integers(0, 10**4), st.integers(0, 10**4))
def test_evidence_grows_with_imbalance(b: int, c: int) -> None:
    """Of as many discordant pairs, the more lopsided are the stronger evidence."""
    fewer, more = sorted((b, c))
    if fewer:
        assert mcnemar_log_e(fewer - 1, more + 1) > mcnemar_log_e(fewer, more) - 1e-9


@given(agree=st.integers(0, 500), both_wrong=st.integers(0, 50), b=st.integers(0, 50), c=st.integers(0, 50))
def test_with_all_labels_it_is_the_one_sample_variance(agree: int, both_wrong: int, b: int, c: int) -> None:
    """Of the values -1, 0 and 1, one a pair: the mean, and numpy's variance with n - 1, divided by n."""
    differ = both_wrong + b + c
    found = difference(
        PairCounts(pairs=agree + differ, differ=differ, labelled=differ, control_right=b, arm_right=c)
    )
    values = np.repeat([0, -1, 1], [agree + both_wrong, b, c])
    if len(values) > 1:
        assert found.estimate == pytest.approx(values.mean(), abs=1e-12)
        assert found.variance == pytest.approx(values.var(ddof=1) / len(values), rel=1e-9, abs=1e-15)
    assert found.n == agree + differ


@given(counts())
def test_any_counts_give_a_finite_difference(of: PairCounts) -> None:
    """Between -1 and 1, with a variance that is not negative; the other way round only the sign changes."""
    found = difference(of)
    swapped = difference(
        PairCounts(
            pairs=of.pairs,
            differ=of.differ,
            labelled=of.labelled,
            control_right=of.arm_right,
            arm_right=of.control_right,
        )
    )
    assert abs(found.estimate) <= of.differ / max(1, of.pairs)
    assert 0 <= found.variance < math.inf
    assert (swapped.estimate, swapped.variance) == (-found.estimate, found.variance)


def test_labels_of_a_part_are_enough_and_cost_precision() -> None:
    """A tenth of the labels: the same estimate, with a variance as simulated."""
    rng = np.random.default_rng(3)
    pairs, labels, share, wins, losses = 2000, 30, 0.15, 0.6, 0.3
    differ = rng.binomial(pairs, share, 4000)
    estimates, variances = [], []
    for seen in differ:
        arm, control, _ = rng.multinomial(labels, [wins, losses, 1 - wins - losses])
        found = difference(
            PairCounts(
                pairs=pairs, differ=int(seen), labelled=labels, control_right=int(control), arm_right=int(arm)
            )
        )
        estimates.append(found.estimate)
        variances.append(found.variance)
    assert np.mean(estimates) == pytest.approx(share * (wins - losses), rel=0.03)
    assert np.mean(variances) == pytest.approx(np.var(estimates), rel=0.1)


def test_a_few_labels_that_agree_are_no_certainty() -> None:
    """Three labels of 500 differing pairs, all for the arm: its lead may well be half of what they say."""
    few = PairCounts(pairs=5000, differ=500, labelled=3, control_right=0, arm_right=3)
    assert math.sqrt(difference(few).variance) > 0.04
    one_a_unit = sums([[1]] * 3 + [[None]] * 497 + [[0]] * 4500)
    assert math.sqrt(clustered_difference(one_a_unit).variance) > 0.04


@pytest.mark.parametrize("pairs", [0, 500])
def test_without_labels_nothing_is_known(pairs: int) -> None:
    """However many pairs there are."""
    nothing = Estimate(estimate=0.0, variance=0.0, n=pairs)
    assert difference(PairCounts(pairs=pairs, differ=pairs // 5)) == nothing
    assert clustered_difference(PairSums(units=pairs, pairs=pairs, differ=pairs // 5)) == nothing


@given(st.lists(st.sampled_from([0, 0, 0, None, -1, 1, 2]), min_size=2, max_size=60).filter(any))
def test_one_pair_a_unit_is_the_plain_difference(pairs: list[int | None]) -> None:
    """The clustered estimate and variance are then those of the counts."""
    plain = difference(
        PairCounts(
            pairs=len(pairs),
            differ=sum(pair != 0 for pair in pairs),
            labelled=sum(pair is not None and pair != 0 for pair in pairs),
            control_right=pairs.count(-1),
            arm_right=pairs.count(1),
        )
    )
    clustered = clustered_difference(sums([[pair] for pair in pairs]))
    assert astuple(clustered) == pytest.approx(astuple(plain), rel=1e-9, abs=1e-12)


def test_with_all_labels_the_clustered_one_is_the_ratio_of_means() -> None:
    """Then the product of two ratios is one ratio, signed / pairs, with its delta-method variance."""
    rng = np.random.default_rng(11)
    units = [rng.choice([0, -1, 1, 2], rng.integers(1, 20), p=[0.7, 0.1, 0.15, 0.05]) for _ in range(50)]
    signed = [int(unit[np.abs(unit) == 1].sum()) for unit in units]
    ratio = UnitSums(
        units=50,
        n=sum(len(unit) for unit in units),
        x=sum(signed),
        nn=sum(len(unit) ** 2 for unit in units),
        nx=sum(len(unit) * s for unit, s in zip(units, signed, strict=True)),
        xx=sum(s * s for s in signed),
    )
    found = clustered_difference(sums([unit.tolist() for unit in units]))
    assert astuple(found) == pytest.approx((ratio.mean, ratio.variance, 50), rel=1e-12)
    assert mean_difference(ratio) == Estimate(estimate=ratio.mean, variance=ratio.variance, n=50)


@given(*[st.lists(st.lists(st.sampled_from([0, None, -1, 1, 2]), max_size=9), max_size=9)] * 2)
def test_merged_sums_are_one_sum(one: list[list[int | None]], other: list[list[int | None]]) -> None:
    """Exactly; and the clustered difference of any units is finite."""
    assert sums(one).plus(sums(other)) == sums(one + other)
    found = clustered_difference(sums(one + other))
    assert math.isfinite(found.estimate)
    assert 0 <= found.variance < math.inf


@given(counts(), counts())
def test_merged_counts_are_one_count(one: PairCounts, other: PairCounts) -> None:
    """Field by field."""
    assert astuple(one.plus(other)) == tuple(a + b for a, b in zip(astuple(one), astuple(other), strict=True))


@pytest.mark.parametrize(
    "wrong", [{"differ": 6}, {"labelled": 4}, {"arm_right": 3}, {"control_right": -1}, {"pairs": 2}]
)
def test_counts_that_are_no_parts_are_refused(wrong: dict[str, int]) -> None:
    """Each count is a part of the one before it."""
    right = {"pairs": 5, "differ": 3, "labelled": 2, "control_right": 1, "arm_right": 1}
    with pytest.raises(ValueError, match="part of the one before"):
        PairCounts(**{**right, **wrong})


def test_the_tests_refuse_what_cannot_be() -> None:
    """Negative counts and a prior of 0."""
    with pytest.raises(ValueError, match="control_right is -1"):
        mcnemar_log_e(-1, 2)
    with pytest.raises(ValueError, match="arm_right -2"):
        mcnemar_p(1, -2)
    with pytest.raises(ValueError, match="prior is 0"):
        mcnemar_log_e(1, 2, 0)
