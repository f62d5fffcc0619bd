"""MobileNetV2: its block against its formula, the place of the attention, names of the weights."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model_store.nets.eca import EfficientChannelAttention
from model_store.nets.mobilenet import InvertedResidual, MobileNetV2, Stage
from tests.model_store.formulas import Array, State, answer, convolved, normalised, state_of, trained

WIDTHS = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320]
"""Channels that come out of the blocks: table 2 of the paper, each line n times."""

NAMES_IN_TORCHVISION: Mapping[str, tuple[int, ...]] = {
    "features.0.0.weight": (32, 3, 3, 3),
    "features.0.1.running_mean": (32,),
    "features.1.conv.0.0.weight": (32, 1, 3, 3),
    "features.1.conv.0.1.weight": (32,),
    "features.1.conv.1.weight": (16, 32, 1, 1),
    "features.1.conv.2.bias": (16,),
    "features.2.conv.0.0.weight": (96, 16, 1, 1),
    "features.2.conv.1.0.weight": (96, 1, 3, 3),
    "features.2.conv.1.1.running_var": (96,),
    "features.2.conv.2.weight": (24, 96, 1, 1),
    "features.2.conv.3.weight": (24,),
    "features.17.conv.2.weight": (320, 960, 1, 1),
    "features.18.0.weight": (1280, 320, 1, 1),
    "features.18.1.num_batches_tracked": (),
    "classifier.1.weight": (1000, 1280),
    "classifier.1.bias": (1000,),
}


class Constant(nn.Module):
    """An attention that answers everything with one number."""

    def forward(self, features: Tensor) -> Tensor:
        """Return 0.25 in the shape of `features`."""
        return torch.full_like(features, 0.25)


def block_of(in_channels: int, channels: int, expansion: int, stride: int) -> InvertedResidual:
    """Return a block in double precision with weights and statistics as after training."""
    stage = Stage(expansion=expansion, channels=channels, depth=1, stride=stride)
    block = InvertedResidual(in_channels, stage, stride)
    trained(block)
    return block


def expected(state: State, features: Array, expansion: int, stride: int) -> Array:
    """F(x), or F(x) + x where the shape stays: section 3.3 of the paper, with torchvision's names."""
    inside = features
    depthwise, linear, last = (
        ("conv.1", "conv.2", "conv.3") if expansion > 1 else ("conv.0", "conv.1", "conv.2")
    )
    if expansion > 1:
        inside = normalised(convolved(inside, state["conv.0.0.weight"]), state, "conv.0.1").clip(0, 6)
    inside = convolved(inside, state[f"{depthwise}.0.weight"], stride)
    inside = normalised(inside, state, f"{depthwise}.1").clip(0, 6)
    output = normalised(convolved(inside, state[f"{linear}.weight"]), state, last)
    return output + features if output.shape == features.shape else output


@pytest.mark.parametrize(
    ("in_channels", "channels", "expansion", "stride"),
    [(4, 4, 6, 1), (4, 4, 6, 2), (4, 6, 6, 1), (8, 4, 1, 1), (4, 4, 1, 1)],
)
def test_block_computes_the_paper_s_formula(
    in_channels: int, channels: int, expansion: int, stride: int
) -> None:
    """Blocks that widen or not, with a stride or not, with a sum or not, equal a computation by hand."""
    torch.manual_seed(0)
    block = block_of(in_channels, channels, expansion, stride)
    features = 5 * torch.randn(2, in_channels, 7, 6, dtype=torch.float64)  # some reach ReLU6's upper end
    wanted = expected(state_of(block), features.numpy(), expansion, stride)
    np.testing.assert_allclose(answer(block, features), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("channels", "stride", "has_sum"), [(8, 1, True), (12, 1, False), (8, 2, False)])
def test_attention_acts_on_the_branch_before_the_sum(channels: int, stride: int, *, has_sum: bool) -> None:
    """An attention that returns c makes the block c + x, or c alone where shapes differ."""
    stage = Stage(expansion=6, channels=channels, depth=1, stride=stride)
    block = InvertedResidual(8, stage, stride, lambda _channels: Constant()).eval()
    features = torch.randn(2, 8, 6, 6)
    output = block(features)
    assert output.shape == (2, channels, 6 // stride, 6 // stride)
    torch.testing.assert_close(output, features + 0.25 if has_sum else torch.full_like(output, 0.25))


@pytest.mark.parametrize("stride", [1, 2])
def test_scripted_block_equals_the_eager_one(stride: int) -> None:
    """TorchScript keeps the sum where there is one, and only there."""
    block = InvertedResidual(8, Stage(expansion=6, channels=8, depth=1, stride=stride), stride).eval()
    features = torch.randn(3, 8, 6, 4)
    torch.testing.assert_close(torch.jit.script(block)(features), block(features))


def test_every_block_has_an_attention_as_wide_as_its_output() -> None:
    """The attention is asked for 17 times, in forward order."""
    asked: list[int] = []

    def factory(channels: int) -> nn.Module:
        asked.append(channels)
        return nn.Identity()

    MobileNetV2(attention=factory).build(2)
    assert asked == WIDTHS


def test_weights_are_named_and_shaped_as_in_torchvision() -> None:
    """Of the 314 values of torchvision's mobilenet_v2, these stand for all kinds of layers."""
    with torch.device("meta"):
        state = MobileNetV2().build(1000).state_dict()
    assert len(state) == 314
    assert {name: tuple(state[name].shape) for name in NAMES_IN_TORCHVISION} == NAMES_IN_TORCHVISION


def test_attention_adds_names_and_changes_none() -> None:
    """The weights of the plain net are all there in the net with ECA, under the same names."""
    with torch.device("meta"):
        plain = MobileNetV2().build(10).state_dict()
        attentive = MobileNetV2(attention=EfficientChannelAttention).build(10).state_dict()
    added = [f"features.{block}.attention.gate.conv.weight" for block in range(1, 18)]
    assert set(attentive) == {*plain, *added}


def test_images_become_logits_after_a_thirtysecond_of_the_size() -> None:
    """224 pixels become 7 before the mean, and any number of images one row of logits each."""
    with torch.device("meta"):
        net = MobileNetV2().build(10)
        images = torch.empty(3, 3, 224, 192)
    assert net.get_submodule("features")(images).shape == (3, 1280, 7, 6)
    assert net(images).shape == (3, 10)


def test_fresh_classifier_prefers_no_class() -> None:
    """As in torchvision: weights of standard deviation 0.01 and biases of 0."""
    torch.manual_seed(0)
    classifier = MobileNetV2().build(100).get_submodule("classifier.1")
    assert isinstance(classifier, nn.Linear)
    assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not classifier.bias.any()


def test_net_without_classes_is_refused() -> None:
    """The message names the parameter and shows its value."""
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        MobileNetV2().build(0)
