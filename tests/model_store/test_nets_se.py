"""Squeeze-and-Excitation against its formula."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model_store.nets.se import SqueezeExcitation, hidden_width


def expected(block: SqueezeExcitation, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equations 2 to 4 of the paper, in numpy."""
    weights = {name: value.detach().numpy().squeeze() for name, value in block.named_parameters()}
    squeezed = features.mean(axis=(2, 3))
    hidden = np.maximum(squeezed @ weights["gate.fc1.weight"].T + weights.get("gate.fc1.bias", 0), 0)
    logits = hidden @ weights["gate.fc2.weight"].T + weights.get("gate.fc2.bias", 0)
    gates: NDArray[np.float64] = 1 / (1 + np.exp(-logits))
    return features * gates[:, :, None, None]


@pytest.mark.parametrize("form", ["linear", "conv"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("channels", "reduction"), [(8, 2), (12, 5), (16, 1)])
def test_block_computes_the_paper_s_formula(form: str, channels: int, reduction: int, *, bias: bool) -> None:
    """Both forms, with and without biases, equal equations 2 to 4 computed by hand in double precision."""
    torch.manual_seed(channels)
    block = SqueezeExcitation(channels, reduction, bias=bias, form=form).double()
    features = torch.randn(3, channels, 5, 4, dtype=torch.float64)
    np.testing.assert_allclose(
        block(features).detach().numpy(), expected(block, features.numpy()), rtol=1e-12, atol=1e-12
    )


def test_both_forms_agree_when_they_share_weights() -> None:
    """A 1x1 convolution on one pixel is a fully connected layer: weights differ in layout only."""
    linear, conv = SqueezeExcitation(32, 8), SqueezeExcitation(32, 8, form="conv")
    shapes = {name: value.shape for name, value in conv.state_dict().items()}
    conv.load_state_dict({name: value.reshape(shapes[name]) for name, value in linear.state_dict().items()})
    features = torch.randn(2, 32, 6, 6)
    torch.testing.assert_close(conv(features), linear(features))


@pytest.mark.parametrize("form", ["linear", "conv"])
def test_gates_are_a_row_per_image_between_zero_and_one(form: str) -> None:
    """The gate of either form returns [N, C] in (0, 1), which times the features is the block's output."""
    block = SqueezeExcitation(8, 4, form=form)
    features = torch.randn(5, 8, 3, 3)
    gates = block.gate(features)
    assert gates.shape == (5, 8)
    assert bool(((gates > 0) & (gates < 1)).all())
    torch.testing.assert_close(block(features), features * gates[:, :, None, None])


@pytest.mark.parametrize(
    ("channels", "reduction", "width"), [(64, 16, 4), (100, 16, 6), (16, 16, 1), (2048, 16, 128)]
)
def test_hidden_width_is_the_floor_of_channels_over_reduction(
    channels: int, reduction: int, width: int
) -> None:
    """The hidden width is floor(C / r), and the weights have it."""
    assert hidden_width(channels, reduction) == width
    names = dict(SqueezeExcitation(channels, reduction).named_parameters())
    assert names["gate.fc1.weight"].shape == (width, channels)
    assert names["gate.fc2.weight"].shape == (channels, width)


@pytest.mark.parametrize("form", ["linear", "conv"])
@pytest.mark.parametrize(
    ("channels", "reduction", "message"),
    [
        (8, 16, "reduction must be at most the number of channels, 8, got 16"),
        (8, 0, "reduction must be at least 1, got 0"),
        (0, 16, "channels must be at least 1, got 0"),
    ],
)
def test_impossible_widths_are_refused(form: str, channels: int, reduction: int, message: str) -> None:
    """A hidden width of zero would make constant gates without any sign of it, so it is an error."""
    with pytest.raises(ValueError, match=message):
        SqueezeExcitation(channels, reduction, form=form)


def test_unknown_form_is_refused() -> None:
    """The message lists the forms that there are."""
    with pytest.raises(ValueError, match="form must be one of linear, conv, got 'matrix'"):
        SqueezeExcitation(32, form="matrix")
