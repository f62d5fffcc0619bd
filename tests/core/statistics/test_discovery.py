"""Which of many hypotheses are rejected."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from serve.core.statistics.discovery import e_bh

LOG_ES = st.lists(st.floats(-50, 50), max_size=20)


@pytest.mark.parametrize(
    ("es", "q", "rejected"),
    [
        ([1, 5, 40, 60, 400, 3], 0.1, {2, 3, 4}),
        ([100, 20, 30, 10, 1, 1, 1, 50], 0.2, {0, 1, 2, 3, 7}),
    ],
)
def test_it_is_that_of_ville(es: list[float], q: float, rejected: set[int]) -> None:
    """The same procedure in another implementation.

    ville 0.1.0: `evalues.ebh(np.array(es), alpha=q)`.
    """
    assert e_bh([math.log(e) for e in es], q) == rejected


@given(LOG_ES, st.floats(0.001, 0.5))
def test_it_is_benjamini_hochberg_of_the_inverse(log_es: list[float], q: float) -> None:
    """Statsmodels' fdr_bh on 1 / e: the same rejections."""
    p_values = np.exp(-np.maximum(log_es, 0.0)) if log_es else np.array([1.0])
    expected = np.flatnonzero(multipletests(p_values, q, method="fdr_bh")[0])
    assert e_bh(log_es, q) == set(expected.tolist())


@given(LOG_ES, st.floats(0.001, 0.5))
def test_more_evidence_never_rejects_less(log_es: list[float], q: float) -> None:
    """When all e-values grow, all that was rejected stays so."""
    assert e_bh(log_es, q) <= e_bh([log_e + 1 for log_e in log_es], q)


def test_nothing_to_reject() -> None:
    """No hypothesis, or infinite evidence for one: no overflow."""
    assert e_bh([], 0.1) == frozenset()
    assert e_bh([-math.inf, math.inf], 0.1) == {1}
    with pytest.raises(ValueError, match="q is 1"):
        e_bh([0.0], 1)
