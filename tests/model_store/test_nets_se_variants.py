"""The variants of SE in the ECA paper against w = sigmoid(W y), with W written out as a matrix."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from model_store.nets.eca import EfficientChannelAttention
from model_store.nets.gate import ChannelScale
from model_store.nets.se_variants import ECANS, SEGC, SEVar1, SEVar2, SEVar3
from tests.model_store.formulas import Array, answer, assert_refits, shapes_of, sigmoid, state_of, trained

CHANNELS = 12


def diagonal(weight: Array) -> Array:
    """SE-Var2, equation 4: C numbers on the diagonal."""
    return np.diag(weight.ravel())


def full(weight: Array) -> Array:
    """SE-Var3, equation 4: every entry."""
    return weight.reshape(CHANNELS, CHANNELS)


def blocks(weight: Array) -> Array:
    """SE-GC, equation 5: square blocks along the diagonal, the first rows in the first block."""
    size = weight.shape[1]
    matrix = np.zeros((CHANNELS, CHANNELS))
    for row in range(CHANNELS):
        start = row // size * size
        matrix[row, start : start + size] = weight[row, :, 0]
    return matrix


def band(weight: Array) -> Array:
    """ECA-NS, equation 6: row i has its k numbers around column i, those beyond the ends cut off."""
    taps = weight.shape[-1]
    matrix = np.zeros((CHANNELS, CHANNELS))
    for row, tap in np.ndindex(CHANNELS, taps):
        column = row + tap - taps // 2
        if 0 <= column < CHANNELS:
            matrix[row, column] = weight[row, 0, tap]
    return matrix


@pytest.mark.parametrize(
    ("block", "matrix"),
    [
        (SEVar1(CHANNELS), lambda _weight: np.eye(CHANNELS)),
        (SEVar2(CHANNELS), diagonal),
        (SEVar3(CHANNELS), full),
        (SEGC(CHANNELS, 3), blocks),
        (SEGC(CHANNELS, 4), blocks),
        (ECANS(CHANNELS), band),
        (ECANS(CHANNELS, 7), band),
    ],
    ids=["var1", "var2", "var3", "gc G=3", "gc G=4", "ns k=3", "ns k=7"],
)
def test_block_computes_the_paper_s_formula(block: ChannelScale, matrix: Callable[[Array], Array]) -> None:
    """Gates are sigmoid(W y), and the block is its features times the gates."""
    trained(block)
    features = torch.randn(3, CHANNELS, 4, 5, dtype=torch.float64)
    weight = state_of(block).get("gate.conv.weight", np.empty(0))
    logits = features.numpy().mean(axis=(2, 3)) @ matrix(weight).T
    gates = sigmoid(logits)
    np.testing.assert_allclose(answer(block.gate, features), gates, rtol=1e-12)
    np.testing.assert_allclose(
        answer(block, features), features.numpy() * gates[:, :, None, None], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("block", "count"),
    [
        (SEVar1(256), 0),
        (SEVar2(256), 256),
        (SEVar3(256), 256 * 256),
        (SEGC(256, 16), 256 * 16),
        (SEGC(256, 256 // 16), 256 * 16),
        (SEGC(256, 256 // 8), 256 * 8),
        (ECANS(256), 3 * 256),
    ],
    ids=["var1", "var2", "var3", "gc1", "gc2", "gc3", "ns"],
)
def test_numbers_of_weights_are_those_of_table_2(block: nn.Module, count: int) -> None:
    """They are 0, C, C^2, C^2 / G with G = 16, C / 16 and C / 8, and k C."""
    assert sum(p.numel() for p in block.parameters()) == count


def test_a_band_of_equal_rows_is_eca() -> None:
    """ECA is ECA-NS with the taps shared (equation 8)."""
    shared, own = EfficientChannelAttention(CHANNELS, 5), ECANS(CHANNELS, 5)
    taps = shared.state_dict()["gate.conv.weight"]
    own.load_state_dict({"gate.conv.weight": taps.expand(CHANNELS, 1, 5)})
    features = torch.randn(2, CHANNELS, 3, 3)
    torch.testing.assert_close(own(features), shared(features))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SEGC(12, 5), "groups must divide channels=12, got 5"),
        (lambda: SEGC(12, 0), "groups must be at least 1, got 0"),
        (lambda: ECANS(12, 4), r"kernel_size must be odd.*got 4"),
        (lambda: ECANS(12, -1), "kernel_size must be at least 1, got -1"),
        (lambda: SEVar1(0), "channels must be at least 1, got 0"),
        (lambda: SEVar2(0), "channels must be at least 1, got 0"),
        (lambda: SEVar3(0), "channels must be at least 1, got 0"),
    ],
)
def test_bad_numbers_are_refused(make: Callable[[], nn.Module], message: str) -> None:
    """Groups divide the channels, and a band has a middle."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("groups", [1, 3, 12])
def test_gate_takes_its_groups_from_weights(groups: int) -> None:
    """The width of the blocks [C, C / G, 1] shows the groups: from one for all to one for each channel."""
    assert_refits(SEGC(CHANNELS, 4).gate, SEGC(CHANNELS, groups).gate)


@pytest.mark.parametrize("taps", [1, 5])
def test_gate_takes_its_kernel_size_from_weights(taps: int) -> None:
    """The taps [C, 1, k] show k."""
    assert_refits(ECANS(CHANNELS).gate, ECANS(CHANNELS, taps).gate)


@pytest.mark.parametrize("block", [SEVar1(12), SEGC(12, 3), ECANS(12)], ids=["var1", "gc", "ns"])
@pytest.mark.parametrize("tail", [(), (12,), (12, 5, 1), (12, 0, 1), (13, 1, 1)])
def test_gate_stays_as_it_is_where_no_settings_fit_better(block: ChannelScale, tail: tuple[int, ...]) -> None:
    """The same gate comes back for its own weights, and for those of other kinds or channels."""
    assert block.gate.fitted(shapes_of(block.gate)) is block.gate
    assert block.gate.fitted({"conv.weight": tail}) is block.gate


def test_weights_with_an_even_band_are_refused() -> None:
    """No channel sits at the centre of four taps."""
    with pytest.raises(ValueError, match=r"kernel_size must be odd.*got 4"):
        ECANS(12).gate.fitted({"conv.weight": (12, 1, 4)})
