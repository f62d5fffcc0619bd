"""BN-Inception: modules, poolings of Caffe's form, and the place of the attention."""

import pytest
import torch
from torch import Tensor, nn

from model_store.nets.inception import MODULES, BNInception, Inception
from model_store.nets.se import SqueezeExcitation

OUTPUTS = {
    "3a": (256, 28),
    "3b": (320, 28),
    "3c": (576, 14),
    "4a": (576, 14),
    "4b": (576, 14),
    "4c": (608, 14),
    "4d": (608, 14),
    "4e": (1056, 7),
    "5a": (1024, 7),
    "5b": (1024, 7),
}
"""Channels and height of each concat in SE-BN-Inception.prototxt (hujie-frank/SENet), for 224 pixels."""

HALVING = {"3c", "4e"}
MAXIMUM = {"3c", "4e", "5b"}
"""Modules of the same prototxt with stride 2, and with pooling by maximum."""


class Constant(nn.Module):
    """An attention that answers everything with one number."""

    def forward(self, features: Tensor) -> Tensor:
        """Return 0.25 in the shape of `features`."""
        return torch.full_like(features, 0.25)


def test_modules_give_the_channels_and_sizes_of_the_released_net() -> None:
    """Every concat has the prototxt's number of channels, height and width."""
    with torch.device("meta"):
        net = BNInception().build(10).eval()
        features = torch.empty(1, 3, 224, 224)
    shapes = {}
    for name, part in net.named_children():
        features = part(features)
        shapes[name] = features.shape
    assert {name: (*shapes[f"inception_{name}"][1:],) for name in MODULES} == {
        name: (channels, size, size) for name, (channels, size) in OUTPUTS.items()
    }
    assert shapes["pool1"][2:] == (56, 56)
    assert features.shape == (1, 10)


@pytest.mark.parametrize("name", sorted(set(OUTPUTS) - HALVING))
def test_pooling_of_a_module_that_keeps_the_size(name: str) -> None:
    """A mean counts the zeros around the features, so a corner of ones has 4 of 9; the last is a maximum."""
    pooling = Inception(1, MODULES[name]).get_submodule("branches.pool.0")
    pooled = pooling(torch.ones(1, 1, 4, 4))
    assert pooled.shape == (1, 1, 4, 4)
    assert pooled[0, 0, 0, 0].item() == pytest.approx(1 if name in MAXIMUM else 4 / 9)
    assert pooled[0, 0, 1, 1].item() == pytest.approx(1)


@pytest.mark.parametrize("name", sorted(HALVING))
def test_pooling_of_a_module_that_halves_is_unpadded_and_rounds_up(name: str) -> None:
    """Caffe's windows begin at 0, 2, 4 and so on, and the last is cut: of 6 rows it sees two."""
    pooling = Inception(1, MODULES[name]).get_submodule("branches.pool")
    column = torch.tensor([5.0, 0, 1, 2, 0, 3])[None, None, :, None].expand(1, 1, 6, 6)
    torch.testing.assert_close(pooling(column)[0, 0, :, 0], torch.tensor([5.0, 2, 3]))


def test_module_joins_its_branches_in_order() -> None:
    """1x1, 3x3, double 3x3 and pooling: what each branch gives stands in its own channels."""
    torch.manual_seed(0)
    module = Inception(192, MODULES["3a"]).eval()
    features = torch.randn(2, 192, 5, 5)
    output = module(features)
    widths = (64, 64, 96, 32)
    assert output.shape == (2, sum(widths), 5, 5)
    for part, branch in zip(output.split(widths, dim=1), module.branches.values(), strict=True):
        torch.testing.assert_close(part, branch(features))


def test_strided_module_passes_its_pooled_input_on() -> None:
    """A module of stride 2 has three branches; the last is the input's own channels."""
    torch.manual_seed(0)
    module = Inception(320, MODULES["3c"]).eval()
    features = torch.randn(1, 320, 4, 4)
    output = module(features)
    assert output.shape == (1, 160 + 96 + 320, 2, 2)
    torch.testing.assert_close(output[0, 256:, 0, 0], features[0, :, :3, :3].amax((1, 2)))


def test_attention_acts_on_the_joined_channels() -> None:
    """An attention that returns c makes the module c: it is the last thing there, and sees all channels."""
    asked: list[int] = []

    def factory(channels: int) -> nn.Module:
        asked.append(channels)
        return Constant()

    output = Inception(192, MODULES["3a"], factory).eval()(torch.randn(2, 192, 3, 3))
    assert asked == [256]
    torch.testing.assert_close(output, torch.full((2, 256, 3, 3), 0.25))


def test_every_module_has_an_attention_as_wide_as_its_output() -> None:
    """The attention is asked for ten times, in forward order."""
    asked: list[int] = []

    def factory(channels: int) -> nn.Module:
        asked.append(channels)
        return nn.Identity()

    with torch.device("meta"):
        BNInception(attention=factory).build(2)
    assert asked == [channels for channels, _ in OUTPUTS.values()]


@pytest.mark.parametrize("name", ["3a", "3c", "5b"])
def test_scripted_module_equals_the_eager_one(name: str) -> None:
    """TorchScript joins the same branches in the same order, with a stride or without."""
    torch.manual_seed(0)
    module = Inception(8, MODULES[name], SqueezeExcitation).eval()
    features = torch.randn(3, 8, 6, 4)
    torch.testing.assert_close(torch.jit.script(module)(features), module(features))


@pytest.mark.parametrize("size", [(32, 96), (64, 64)])
def test_images_of_multiples_of_32_pixels_become_logits(size: tuple[int, int]) -> None:
    """Height and width are halved five times without a rest."""
    with torch.device("meta"):
        net = BNInception().build(3).eval()
        assert net(torch.empty(2, 3, *size)).shape == (2, 3)


def test_net_without_classes_is_refused() -> None:
    """The message names the parameter and shows its value."""
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        BNInception().build(0)
