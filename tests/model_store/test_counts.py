"""Counting parameters and multiply-adds."""

import pytest
import torch
from torch import nn

from model_store import counts, zoo

# Multiply-adds of convolutions and linear layers at 224 x 224, in units of 10^9, to the digits given.
PUBLISHED = {
    "resnet50": 4.089,
    "se_resnet50": 4.092,
    "resnext50_32x4d": 4.230,
    "sknet26": 2.587,
    "sknet50": 4.463,
    "sknet101": 8.449,
}


@pytest.mark.parametrize(("name", "giga_macs"), PUBLISHED.items())
def test_multiply_adds_of_known_nets(name: str, giga_macs: float) -> None:
    """The counts are the known ones to a thousandth of 10^9."""
    row = zoo.get(name)
    with torch.device("meta"):
        net = row.build(row.classes)
    assert counts.macs(net, row.recipe.input_size) / 1e9 == pytest.approx(giga_macs, abs=0.0006)


def test_multiply_adds_follow_from_the_shapes() -> None:
    """A convolution costs outputs times taps, a linear layer its weights; the rest is free."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1),
        nn.Conv2d(8, 8, kernel_size=3, padding=1, groups=4),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    assert counts.macs(net, (10, 6)) == 5 * 3 * 8 * 3 * 9 + 5 * 3 * 8 * 2 * 9 + 8 * 5


def test_se_costs_its_two_layers() -> None:
    """SE adds 2 C floor(C / r) multiply-adds a block, and nothing for pooling and scaling."""
    plain, gated = zoo.get("digits_plain").build(10), zoo.get("digits_se").build(10)
    added = sum(2 * channels * 4 for channels in (8, 16, 32))
    assert counts.macs(gated, (16, 16)) - counts.macs(plain, (16, 16)) == added


def test_counting_leaves_the_net_alone() -> None:
    """Mode, weights and statistics are as they were, and the net still runs where it was."""
    net = zoo.get("digits_sk").build(10).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    counts.macs(net, (16, 16))
    assert net.training
    torch.testing.assert_close(dict(net.state_dict()), before)


def test_running_statistics_are_not_parameters() -> None:
    """A batch normalisation of 8 channels has 16 parameters and 17 further numbers."""
    assert counts.parameters(nn.BatchNorm2d(8)) == 16
