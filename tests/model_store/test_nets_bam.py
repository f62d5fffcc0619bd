"""The Bottleneck Attention Module against its formulas, in the form of the released code."""

import numpy as np
import pytest
import torch

from model_store.nets.bam import BottleneckAttention
from tests.model_store.formulas import Array, State, answer, convolved, normalised, sigmoid, state_of, trained


def channel_logits(features: Array, state: State) -> Array:
    """Mc [N, C]: a perceptron of the means, with batch normalisation of its hidden units."""
    hidden = features.mean(axis=(2, 3)) @ state["channel.fc1.weight"].T + state["channel.fc1.bias"]
    hidden = np.maximum(normalised(hidden, state, "channel.bn"), 0)
    return np.asarray(hidden @ state["channel.fc2.weight"].T + state["channel.fc2.bias"])


def place_logits(features: Array, state: State, dilation: int) -> Array:
    """Ms [N, 1, H, W]: a 1x1, two dilated 3x3 and a 1x1 convolution, normalised between them."""
    values = features
    for index, distance in enumerate((1, dilation, dilation)):
        name = f"spatial.conv{index}"
        values = convolved(values, state[f"{name}.weight"], dilation=distance)
        values = values + state[f"{name}.bias"][:, None, None]
        values = np.maximum(normalised(values, state, f"spatial.bn{index}"), 0)
    return convolved(values, state["spatial.conv3.weight"]) + state["spatial.conv3.bias"][:, None, None]


@pytest.mark.parametrize(("channels", "reduction", "dilation"), [(8, 2, 4), (16, 16, 4), (12, 5, 2)])
def test_block_computes_the_released_code_s_formula(channels: int, reduction: int, dilation: int) -> None:
    """The output is F (1 + sigmoid(Mc Ms)) of both branches computed by hand."""
    block = BottleneckAttention(channels, reduction, dilation)
    trained(block)
    features = torch.randn(3, channels, 11, 7, dtype=torch.float64)
    state, values = state_of(block), features.numpy()
    weights = sigmoid(channel_logits(values, state)[:, :, None, None] * place_logits(values, state, dilation))
    np.testing.assert_allclose(answer(block, features), values * (1 + weights), rtol=1e-10, atol=1e-12)


def test_the_gate_reports_the_mean_of_what_is_added_to_one() -> None:
    """For each channel: the mean over the places of output / input - 1, which lies in (0, 1)."""
    block = trained(BottleneckAttention(8, 2))
    seen: list[torch.Tensor] = []
    assert isinstance(block, BottleneckAttention)
    block.gate.register_forward_hook(lambda _gate, _inputs, output: seen.append(output))
    features = torch.rand(3, 8, 6, 5, dtype=torch.float64) + 0.5
    weights = answer(block, features) / features.numpy() - 1
    (gates,) = seen
    assert gates.shape == (3, 8)
    assert bool(((gates > 0) & (gates < 1)).all())
    np.testing.assert_allclose(gates.numpy(), weights.mean(axis=(2, 3)), rtol=1e-10)


def test_three_of_them_add_what_the_released_code_adds() -> None:
    """After the first three stages of ResNet-50: 25,915,099 parameters in all, 25,557,032 of them its own."""
    with torch.device("meta"):
        blocks = [BottleneckAttention(channels) for channels in (256, 512, 1024)]
    assert sum(p.numel() for block in blocks for p in block.parameters()) == 25_915_099 - 25_557_032


@pytest.mark.parametrize(
    ("channels", "reduction", "dilation", "message"),
    [
        (8, 16, 4, "reduction must be at most the number of channels, 8, got 16"),
        (8, 0, 4, "reduction must be at least 1, got 0"),
        (8, 2, 0, "dilation must be at least 1, got 0"),
        (0, 16, 4, "channels must be at least 1, got 0"),
    ],
)
def test_impossible_numbers_are_refused(channels: int, reduction: int, dilation: int, message: str) -> None:
    """Neither branch may be without hidden units."""
    with pytest.raises(ValueError, match=message):
        BottleneckAttention(channels, reduction, dilation)
