"""Entropy and saturation of gates, against scipy and plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from model_store.gate_figures import BINS, entropy, figures, saturation

Floats = NDArray[np.float64]


def sigmoid_gates(channels: int, spread: float) -> Floats:
    """Return [1, C] gates as a sigmoid makes them."""
    logits = np.random.default_rng(0).normal(0, spread, (1, channels))
    return special.expit(logits)


def softmax_gates(branches: int, channels: int, spread: float) -> Floats:
    """Return [M, C] weights as a softmax over branches makes them."""
    logits = np.random.default_rng(1).normal(0, spread, (branches, channels))
    return special.softmax(logits, axis=0)


@pytest.mark.parametrize("spread", [0.1, 1, 10])
def test_entropy_of_gates_is_that_of_a_coin(spread: float) -> None:
    """It is what scipy gives for (g, 1 - g) in bits, averaged."""
    gates = sigmoid_gates(64, spread)
    expected = np.mean([stats.entropy([gate, 1 - gate], base=2) for gate in gates[0]])
    assert entropy(gates) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("branches", "spread"), [(2, 0.1), (2, 5), (3, 1), (5, 20)])
def test_entropy_of_branches_is_that_of_a_die(branches: int, spread: float) -> None:
    """It is what scipy gives for each channel's weights to the base M, averaged."""
    gates = softmax_gates(branches, 64, spread)
    expected = stats.entropy(gates, base=branches, axis=0).mean()
    assert entropy(gates) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        ([[0.5, 0.5]], 1.0),
        ([[0.0, 1.0]], 0.0),
        ([[0.5, 1.0]], 0.5),
        ([[0.25]], 0.811278),  # the textbook's H(1/4)
        ([[0.5, 1.0], [0.5, 0.0]], 0.5),
        ([[1 / 3], [1 / 3], [1 / 3]], 1.0),
    ],
)
def test_entropy_has_its_known_values(gates: list[list[float]], expected: float) -> None:
    """1 bit where nothing is decided, 0 where all is, fully open and shut gates included."""
    assert entropy(np.array(gates)) == pytest.approx(expected, abs=1e-6)


def test_two_branches_and_one_gate_agree() -> None:
    """Two weights a and 1 - a are as undecided as a gate a."""
    gates = sigmoid_gates(32, 2)
    assert entropy(np.concatenate([gates, 1 - gates])) == pytest.approx(entropy(gates))


def test_saturation_counts_open_and_shut_gates() -> None:
    """The bounds themselves are not saturated."""
    assert saturation(np.array([[0.01, 0.05, 0.5, 0.95, 0.96]])) == pytest.approx(2 / 5)
    gates = sigmoid_gates(500, 3)
    assert saturation(gates) == sum(gate < 0.05 or gate > 0.95 for gate in gates[0].tolist()) / 500


def test_saturation_of_branches_counts_decided_channels() -> None:
    """A weight near 0 decides nothing as long as two others compete."""
    gates = np.array([[0.96, 0.01, 0.02], [0.02, 0.5, 0.95], [0.02, 0.49, 0.03]])
    assert saturation(gates) == pytest.approx(1 / 3)


def test_figures_describe_one_block() -> None:
    """Mean, bounds and histogram are numpy's; every gate is in the histogram."""
    gates = sigmoid_gates(200, 2)
    found = figures(gates.astype(np.float32))
    assert found.mean == pytest.approx(gates.mean())
    assert (found.minimum, found.maximum) == pytest.approx((gates.min(), gates.max()))
    assert sum(found.histogram) == 200
    assert len(found.histogram) == BINS
    assert found.histogram[0] == (gates < 1 / BINS).sum()
    assert found.branch_means == ()


def test_of_two_branches_the_first_is_counted() -> None:
    """The second mirrors it; of three, all are counted."""
    gates = np.array([[0.9, 0.8], [0.1, 0.2]])
    found = figures(gates)
    assert [place for place, count in enumerate(found.histogram) if count] == [16, 18]
    assert found.branch_means == pytest.approx((0.85, 0.15))
    assert sum(figures(softmax_gates(3, 10, 1)).histogram) == 30


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        (np.empty((1, 0)), r"\[branches, channels\], got the shape \[1, 0\]"),
        (np.full(3, 0.5), r"\[branches, channels\], got the shape \[3\]"),
        (np.array([[0.5, 1.5]]), "from 0 to 1, got 0.5 to 1.5"),
        (np.array([[0.5, np.nan]]), "from 0 to 1, got nan to nan"),
        (np.array([[0.5], [0.7]]), "must sum to 1, got 1.2"),
    ],
)
def test_what_is_no_gate_is_refused(gates: Floats, message: str) -> None:
    """The message shows the values."""
    with pytest.raises(ValueError, match=message):
        figures(gates)
