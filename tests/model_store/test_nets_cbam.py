"""The Convolutional Block Attention Module against its formulas."""

import numpy as np
import pytest
import torch

from model_store.nets.cbam import ConvolutionalBlockAttention
from tests.model_store.formulas import (
    Array,
    answer,
    assert_refits,
    convolved,
    normalised,
    perceptron,
    shapes_of,
    sigmoid,
    state_of,
    trained,
)


def expected(block: ConvolutionalBlockAttention, features: Array) -> tuple[Array, Array]:
    """The gates and the output of equations 1 to 3, in numpy, with the released code's order and BN."""
    state = state_of(block)
    planes = features.reshape(*features.shape[:2], -1)
    gates = sigmoid(perceptron(planes.mean(axis=2), state) + perceptron(planes.max(axis=2), state))
    refined = features * gates[:, :, None, None]
    summary = np.stack([refined.max(axis=1), refined.mean(axis=1)], axis=1)
    places = normalised(convolved(summary, state["spatial.conv.weight"]), state, "spatial.bn")
    return gates, np.asarray(refined * sigmoid(places))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("channels", "reduction"), [(8, 2), (16, 16), (12, 5)])
def test_block_computes_the_paper_s_formulas(channels: int, reduction: int, *, bias: bool) -> None:
    """Gates and output equal equations 1 to 3 computed by hand, on images narrower than the kernel, too."""
    block = ConvolutionalBlockAttention(channels, reduction, bias=bias)
    trained(block)
    features = torch.randn(3, channels, 9, 5, dtype=torch.float64)
    gates, output = expected(block, features.numpy())
    np.testing.assert_allclose(answer(block.gate, features), gates, rtol=1e-10)
    np.testing.assert_allclose(answer(block, features), output, rtol=1e-10, atol=1e-12)


def test_blocks_of_resnet50_add_what_the_released_code_adds() -> None:
    """3, 4, 6 and 3 of them make 28,089,624 parameters of the 25,557,032 of torchvision's ResNet-50."""
    with torch.device("meta"):
        sizes = {
            channels: sum(p.numel() for p in ConvolutionalBlockAttention(channels).parameters())
            for channels in (256, 512, 1024, 2048)
        }
    assert 3 * sizes[256] + 4 * sizes[512] + 6 * sizes[1024] + 3 * sizes[2048] == 28_089_624 - 25_557_032


def test_the_first_plane_of_the_summary_is_the_maximum() -> None:
    """With the 7x7 kernel reading its first plane only, the mean of the features does not matter."""
    block = ConvolutionalBlockAttention(4, 2).eval()
    block.state_dict()["spatial.conv.weight"][:, 1] = 0
    for name in ("gate.fc2.weight", "gate.fc2.bias"):
        block.state_dict()[name].zero_()  # all gates are 1 / 2
    features = torch.rand(1, 4, 6, 6)
    features[:, 0] = 2  # the maximum everywhere
    other = features.clone()
    other[:, 1:] = -1
    torch.testing.assert_close(block(features)[:, 0], block(other)[:, 0])


@pytest.mark.parametrize(
    ("channels", "reduction", "message"),
    [
        (8, 16, "reduction must be at most the number of channels, 8, got 16"),
        (8, 0, "reduction must be at least 1, got 0"),
        (0, 16, "channels must be at least 1, got 0"),
    ],
)
def test_impossible_widths_are_refused(channels: int, reduction: int, message: str) -> None:
    """As in SE, a hidden width of zero would make constant gates."""
    with pytest.raises(ValueError, match=message):
        ConvolutionalBlockAttention(channels, reduction)


@pytest.mark.parametrize(("reduction", "bias"), [(2, True), (8, False)])
def test_gate_takes_its_settings_from_weights(reduction: int, *, bias: bool) -> None:
    """Hidden width and biases are read from the shapes."""
    theirs = ConvolutionalBlockAttention(32, reduction, bias=bias).gate
    assert_refits(ConvolutionalBlockAttention(32).gate, theirs)


def test_gate_stays_as_it_is_where_no_settings_fit_better() -> None:
    """The same gate comes back for its own weights, and for those of other channels or of none."""
    gate = ConvolutionalBlockAttention(32).gate
    assert gate.fitted(shapes_of(gate)) is gate
    assert gate.fitted(shapes_of(ConvolutionalBlockAttention(64).gate)) is gate
    assert gate.fitted({}) is gate


def test_weights_without_hidden_units_are_refused() -> None:
    """They would gate every image alike."""
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        ConvolutionalBlockAttention(32).gate.fitted({"fc1.weight": (0, 32), "fc2.weight": (32, 0)})
