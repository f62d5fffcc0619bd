"""Efficient Channel Attention against its formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_store.nets.eca import EfficientChannelAttention, adaptive_kernel_size
from tests.model_store.formulas import assert_refits


@pytest.mark.parametrize(("channels", "taps"), [(4, 1), (8, 3), (64, 5), (8, 5), (16, 7), (5, 9)])
def test_block_computes_the_paper_s_formula(channels: int, taps: int) -> None:
    """The gate of channel c is the sigmoid of the sum of w_j y_(c + j), with zeros beyond the ends."""
    torch.manual_seed(taps)
    block = EfficientChannelAttention(channels, taps).double()
    features = torch.randn(3, channels, 4, 5, dtype=torch.float64)
    kernel = next(block.parameters()).detach().numpy().ravel()
    half = taps // 2
    pooled = np.pad(features.numpy().mean(axis=(2, 3)), ((0, 0), (half, half)))
    logits = np.stack([pooled[:, c : c + taps] @ kernel for c in range(channels)], axis=1)
    gates = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(block.gate(features).detach().numpy(), gates, rtol=1e-12)
    np.testing.assert_allclose(
        block(features).detach().numpy(), features.numpy() * gates[:, :, None, None], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("taps", "smallest", "largest"), [(1, 1, 7), (3, 8, 127), (5, 128, 2047), (7, 2048, 32767)]
)
def test_adaptive_kernel_sizes_are_those_of_the_authors_code(taps: int, smallest: int, largest: int) -> None:
    """The ranges of C that share a k, with gamma = 2 and b = 1; 2048 channels are the first with 7."""
    assert adaptive_kernel_size(smallest) == taps
    assert adaptive_kernel_size(largest) == taps
    assert next(EfficientChannelAttention(smallest).parameters()).shape == (1, 1, taps)


@given(channels=st.integers(1, 1 << 20), gamma=st.integers(1, 4), b=st.integers(-3, 5))
def test_adaptive_kernel_size_is_odd_and_near_the_formula(channels: int, gamma: int, b: int) -> None:
    """Whatever the settings, k is odd and lies within 1 of |log2(C) / gamma + b / gamma|."""
    size = adaptive_kernel_size(channels, gamma, b)
    assert size % 2 == 1
    assert abs(size - abs(math.log2(channels) + b) / gamma) <= 1


def test_all_channels_share_the_taps() -> None:
    """ECA adds k numbers and no bias, however many channels it gates."""
    assert sum(p.numel() for p in EfficientChannelAttention(2048, 3).parameters()) == 3


@pytest.mark.parametrize(
    ("channels", "taps", "message"),
    [
        (64, 4, "kernel_size must be odd.*got 4"),
        (64, 0, "kernel_size must be at least 1, got 0"),
        (64, -3, "kernel_size must be at least 1, got -3"),
        (0, None, "channels must be at least 1, got 0"),
    ],
)
def test_bad_numbers_are_refused(channels: int, taps: int | None, message: str) -> None:
    """An even k would shift the gates against their channels, so it is an error, as is one below 1."""
    with pytest.raises(ValueError, match=message):
        EfficientChannelAttention(channels, taps)


@pytest.mark.parametrize("taps", [1, 5, 7, 9])
def test_gate_takes_its_kernel_size_from_weights(taps: int) -> None:
    """The length of the taps [1, 1, k] is k; a gate made by the formula becomes the one of the weights."""
    assert_refits(EfficientChannelAttention(64).gate, EfficientChannelAttention(64, taps).gate)


@pytest.mark.parametrize("shapes", [{"conv.weight": (1, 1, 3)}, {"conv.weight": (2, 1, 5)}, {}])
def test_gate_stays_as_it_is_where_no_kernel_size_fits_better(shapes: dict[str, tuple[int, ...]]) -> None:
    """The same gate comes back for its own weights, and for those that are no band."""
    gate = EfficientChannelAttention(64).gate
    assert gate.fitted(shapes) is gate


def test_weights_with_an_even_kernel_are_refused() -> None:
    """No channel sits at the centre of four taps, so it cannot be told which gate is whose."""
    with pytest.raises(ValueError, match=r"kernel_size must be odd.*got 4"):
        EfficientChannelAttention(64).gate.fitted({"conv.weight": (1, 1, 4)})
