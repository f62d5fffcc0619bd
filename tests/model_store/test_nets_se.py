"""Squeeze-and-Excitation against its formula."""

import numpy as np
import pytest
import torch

from model_store.nets.se import Squeeze, SqueezeExcitation, hidden_width
from tests.model_store.formulas import answer, assert_refits, perceptron, sigmoid, state_of, trained

BOTH_FORMS = pytest.mark.parametrize("form", ["linear", "conv"])
BOTH_SQUEEZES = pytest.mark.parametrize("squeeze", ["mean", "max"])


@BOTH_SQUEEZES
@BOTH_FORMS
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("channels", "reduction"), [(8, 2), (12, 5), (16, 1)])
def test_block_computes_the_paper_s_formula(
    squeeze: Squeeze, form: str, channels: int, reduction: int, *, bias: bool
) -> None:
    """Both forms and squeezes, with and without biases, equal equations 2 to 4 in double precision."""
    block = trained(SqueezeExcitation(channels, reduction, bias=bias, form=form, squeeze=squeeze))
    features = torch.randn(3, channels, 5, 4, dtype=torch.float64)
    planes = features.numpy().reshape(3, channels, -1)
    squeezed = {"mean": planes.mean(axis=2), "max": planes.max(axis=2)}[squeeze]
    gates = sigmoid(perceptron(squeezed, state_of(block)))
    np.testing.assert_allclose(
        answer(block, features), features.numpy() * gates[:, :, None, None], rtol=1e-12, atol=1e-12
    )


def test_both_forms_agree_when_they_share_weights() -> None:
    """A 1x1 convolution on one pixel is a fully connected layer: weights differ in layout only."""
    linear, conv = SqueezeExcitation(32, 8), SqueezeExcitation(32, 8, form="conv")
    shapes = {name: value.shape for name, value in conv.state_dict().items()}
    conv.load_state_dict({name: value.reshape(shapes[name]) for name, value in linear.state_dict().items()})
    features = torch.randn(2, 32, 6, 6)
    torch.testing.assert_close(conv(features), linear(features))


@BOTH_SQUEEZES
@BOTH_FORMS
def test_gates_are_a_row_per_image_between_zero_and_one(form: str, squeeze: Squeeze) -> None:
    """The gate of either form returns [N, C] in (0, 1), which times the features is the block's output."""
    block = SqueezeExcitation(8, 4, form=form, squeeze=squeeze)
    features = torch.randn(5, 8, 3, 3)
    gates = block.gate(features)
    assert gates.shape == (5, 8)
    assert bool(((gates > 0) & (gates < 1)).all())
    torch.testing.assert_close(block(features), features * gates[:, :, None, None])


@pytest.mark.parametrize(
    ("channels", "reduction", "minimum", "width"),
    [(64, 16, 1, 4), (100, 16, 1, 6), (16, 16, 1, 1), (2048, 16, 1, 128), (64, 16, 8, 8), (256, 16, 8, 16)],
)
def test_hidden_width_is_the_floor_of_channels_over_reduction(
    channels: int, reduction: int, minimum: int, width: int
) -> None:
    """The hidden width is floor(C / r) or the lower limit, whichever is larger, and the weights have it."""
    assert hidden_width(channels, reduction, minimum) == width
    names = dict(SqueezeExcitation(channels, reduction, minimum=minimum).named_parameters())
    assert names["gate.fc1.weight"].shape == (width, channels)
    assert names["gate.fc2.weight"].shape == (channels, width)


@BOTH_FORMS
@pytest.mark.parametrize(
    ("channels", "reduction", "minimum", "message"),
    [
        (8, 16, 1, "reduction must be at most the number of channels, 8, got 16"),
        (8, 16, 4, "reduction must be at most the number of channels, 8, got 16"),
        (8, 0, 1, "reduction must be at least 1, got 0"),
        (0, 16, 1, "channels must be at least 1, got 0"),
        (16, 16, 0, "minimum must be at least 1, got 0"),
    ],
)
def test_impossible_widths_are_refused(
    form: str, channels: int, reduction: int, minimum: int, message: str
) -> None:
    """A hidden width of zero would make constant gates without any sign of it, so it is an error."""
    with pytest.raises(ValueError, match=message):
        SqueezeExcitation(channels, reduction, form=form, minimum=minimum)


def test_unknown_choices_are_refused() -> None:
    """The message lists the choices that there are."""
    with pytest.raises(ValueError, match="form must be one of linear, conv, got 'matrix'"):
        SqueezeExcitation(32, form="matrix")
    with pytest.raises(ValueError, match="squeeze must be one of mean, max, got 'median'"):
        SqueezeExcitation(32, squeeze="median")  # type: ignore[arg-type] # a typo is what is tested


@pytest.mark.parametrize(
    ("reduction", "form", "bias"),
    [(2, "linear", True), (4, "linear", False), (16, "conv", True), (8, "conv", False)],
)
@BOTH_SQUEEZES
def test_gate_takes_its_settings_from_weights(
    reduction: int, form: str, squeeze: Squeeze, *, bias: bool
) -> None:
    """Hidden width, biases and form are read from the shapes; the squeeze, which they do not show, stays."""
    theirs = SqueezeExcitation(32, reduction, bias=bias, form=form, squeeze=squeeze).gate
    assert_refits(SqueezeExcitation(32, 1, squeeze=squeeze).gate, theirs)


@pytest.mark.parametrize(
    "shapes",
    [
        {"fc1.weight": (4, 32), "fc2.weight": (32, 4), "fc1.bias": (4,), "fc2.bias": (32,)},
        {"fc1.weight": (4, 31), "fc2.weight": (31, 4)},
        {"fc1.weight": (4, 32), "fc2.weight": (32, 5)},
        {"fc1.weight": (4, 32), "fc2.weight": (32, 4), "fc2.bias": (32,)},
        {"fc1.weight": (4, 32), "fc2.weight": (32, 4), "fc3.weight": (32, 4)},
        {"fc1.weight": (4, 32, 1), "fc2.weight": (32, 4, 1)},
        {"fc2.weight": (32, 4)},
        {},
    ],
    ids=["its own", "other channels", "two widths", "half biased", "a third layer", "rank 3", "half", "none"],
)
def test_gate_stays_as_it_is_where_no_settings_fit_better(shapes: dict[str, tuple[int, ...]]) -> None:
    """The same gate comes back for its own weights, and for those of no SE block of these channels."""
    gate = SqueezeExcitation(32, 8).gate
    assert gate.fitted(shapes) is gate


@BOTH_FORMS
def test_weights_without_hidden_units_are_refused(form: str) -> None:
    """Such weights exist: code that does not check makes them where C < r."""
    tail = (1, 1) if form == "conv" else ()
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        SqueezeExcitation(8, 4).gate.fitted({"fc1.weight": (0, 8, *tail), "fc2.weight": (8, 0, *tail)})
