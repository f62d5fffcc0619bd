"""How many units an experiment needs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import power_proportions_2indep

from serve.core.statistics.power import (
    design_effect,
    paired_detectable,
    paired_pairs_needed,
    unpaired_detectable,
    unpaired_units_needed,
)


@pytest.mark.parametrize(("disagreement", "pairs"), [(0.06, 4707), (0.1, 7847), (0.2, 15_696)])
def test_paired_needs_are_those_of_connor(disagreement: float, pairs: int) -> None:
    """Connor 1987, worked out by hand for a point at alpha .05 and power .8; the last is 15 695.2."""
    assert paired_pairs_needed(0.01, disagreement, 0.05, 0.8, sequential=False) == pairs


@pytest.mark.parametrize(("effect", "rate"), [(0.01, 0.76), (-0.02, 0.76), (0.05, 0.1), (0.001, 0.001)])
@pytest.mark.parametrize("power", [0.8, 0.95])
def test_unpaired_needs_are_those_of_statsmodels(effect: float, rate: float, power: float) -> None:
    """power_proportions_2indep reaches the power with so many units, and not with one less."""
    units = unpaired_units_needed(effect, rate, 0.05, power, sequential=False)
    reached, short = (
        float(power_proportions_2indep(effect, rate, n, alpha=0.05, return_results=False))
        for n in (units, units - 1)
    )
    # statsmodels adds the other tail, which is negligible here.
    assert short - 1e-6 < power <= reached + 1e-6


def test_pairing_needs_a_fraction() -> None:
    """A point on .76: 28 220 units an arm unpaired; a seventh of the labels at 10 % disagreement."""
    unpaired = unpaired_units_needed(0.01, 0.76, 0.05, 0.8, sequential=False)
    assert unpaired == 28_220
    assert 2 * unpaired / paired_pairs_needed(0.01, 0.1, 0.05, 0.8, sequential=False) == pytest.approx(
        7.2, abs=0.05
    )


@given(effect=st.floats(0.001, 0.1), alpha=st.floats(1e-4, 0.2), power=st.floats(0.5, 0.99))
def test_peeking_costs_a_bounded_surcharge(effect: float, alpha: float, power: float) -> None:
    """The sequential design needs more, and less than three times as many."""
    once = paired_pairs_needed(effect, 0.2, alpha, power, sequential=False)
    always = paired_pairs_needed(effect, 0.2, alpha, power)
    assert once < always < 3 * once


@given(
    pairs=st.integers(50, 10**7),
    disagreement=st.floats(0.01, 1),
    power=st.floats(0.5, 0.99),
    sequential=st.booleans(),
)
def test_what_is_detectable_is_what_is_needed(
    pairs: int, disagreement: float, power: float, *, sequential: bool
) -> None:
    """The smallest effect that so many find needs no more; one a thousandth smaller does."""
    paired = paired_detectable(pairs, disagreement, 0.05, power, sequential=sequential)
    if paired < math.inf:
        assert paired_pairs_needed(paired, disagreement, 0.05, power, sequential=sequential) <= pairs
        less = paired_pairs_needed(0.999 * paired, disagreement, 0.05, power, sequential=sequential)
        assert less > pairs
    unpaired = unpaired_detectable(pairs, disagreement, 0.05, power, sequential=sequential)
    if unpaired < math.inf:
        towards = -unpaired if disagreement >= 0.5 else unpaired
        needed = unpaired_units_needed(towards, disagreement, 0.05, power, sequential=sequential)
        assert needed <= pairs


def test_too_few_pairs_find_nothing() -> None:
    """Not even the largest difference that the disagreement allows."""
    assert paired_detectable(5, 0.1, 0.05, 0.8) == math.inf
    assert unpaired_detectable(1, 0.9, 0.05, 0.8) == math.inf


def test_the_design_effect_is_that_of_kish() -> None:
    """1 + (m - 1) ICC: one image a unit costs nothing, 20 alike ones cost a factor of 20."""
    assert design_effect(1, 0.9) == 1
    assert design_effect(20, 0.1) == pytest.approx(2.9)
    assert design_effect(20, 1) == 20


def test_impossible_plans_are_refused() -> None:
    """Each names its parameter."""
    with pytest.raises(ValueError, match=r"^effect is 0\.2"):
        paired_pairs_needed(0.2, 0.1, 0.05, 0.8)
    with pytest.raises(ValueError, match=r"^effect is 0\.3"):
        unpaired_units_needed(0.3, 0.76, 0.05, 0.8)
    with pytest.raises(ValueError, match=r"^power is 0\.05"):
        paired_pairs_needed(0.01, 0.1, 0.05, 0.05)
    with pytest.raises(ValueError, match=r"^alpha is 1\.5"):
        unpaired_units_needed(0.01, 0.76, 1.5, 0.8)
    with pytest.raises(ValueError, match="images_per_unit is 0"):
        design_effect(0, 0.1)
