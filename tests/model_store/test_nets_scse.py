"""Concurrent spatial and channel Squeeze & Excitation against its formulas."""

import numpy as np
import pytest
import torch

from model_store.nets.scse import Combine, SpatialChannelSE
from model_store.nets.se import SqueezeExcitation
from tests.model_store.formulas import answer, assert_refits, perceptron, sigmoid, state_of, trained


@pytest.mark.parametrize("combine", ["max", "add"])
@pytest.mark.parametrize(("channels", "reduction"), [(8, 2), (7, 7), (12, 5)])
def test_block_computes_the_paper_s_formulas(channels: int, reduction: int, combine: Combine) -> None:
    """The larger, or the sum, of the features times their channel's and times their place's weight."""
    block = SpatialChannelSE(channels, reduction, combine)
    trained(block)
    features = torch.randn(3, channels, 5, 4, dtype=torch.float64)
    state, values = state_of(block), features.numpy()
    by_channel = values * sigmoid(perceptron(values.mean(axis=(2, 3)), state))[:, :, None, None]
    kernel = state["spatial.0.weight"].ravel()
    places = sigmoid(np.einsum("c,nchw->nhw", kernel, values) + state["spatial.0.bias"])
    by_place = values * places[:, None]
    wanted = {"max": np.maximum(by_channel, by_place), "add": by_channel + by_place}[combine]
    np.testing.assert_allclose(answer(block, features), wanted, rtol=1e-10, atol=1e-12)


def test_the_gate_is_that_of_the_channel_branch() -> None:
    """Where no place counts, the block is SE with the same weights."""
    block, alone = SpatialChannelSE(8, combine="add"), SqueezeExcitation(8, 2)
    alone.gate.load_state_dict(block.gate.state_dict())
    block.state_dict()["spatial.0.bias"].fill_(-200)  # the sigmoid is 0 here
    features = torch.rand(2, 8, 4, 4)
    torch.testing.assert_close(block(features), alone(features))


@pytest.mark.parametrize("channels", [8, 64])
def test_number_of_weights(channels: int) -> None:
    """With r = 2: C^2 of both layers, 3 C / 2 of their biases, and C + 1 of the convolution over places."""
    count = sum(p.numel() for p in SpatialChannelSE(channels).parameters())
    assert count == channels**2 + 3 * channels // 2 + channels + 1


def test_bad_arguments_are_refused() -> None:
    """The messages name the parameter, its value and the rule."""
    with pytest.raises(ValueError, match="reduction must be at most the number of channels, 4, got 8"):
        SpatialChannelSE(4, 8)
    with pytest.raises(ValueError, match="combine must be one of max, add, got 'mean'"):
        SpatialChannelSE(4, combine="mean")  # type: ignore[arg-type] # a typo is what is tested


def test_gate_takes_its_settings_from_weights() -> None:
    """Hidden width and biases of the channel branch are read from the shapes."""
    assert_refits(SpatialChannelSE(32).gate, SqueezeExcitation(32, 8, bias=False).gate)
