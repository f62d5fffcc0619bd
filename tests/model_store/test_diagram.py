"""Block diagrams: drawn from what a module computes, for blocks of every kind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model_store.diagram import diagram, one_line
from model_store.nets.bam import BottleneckAttention
from model_store.nets.cbam import ConvolutionalBlockAttention
from model_store.nets.eca import EfficientChannelAttention
from model_store.nets.inception import Inception, Widths
from model_store.nets.mobilenet import InvertedResidual
from model_store.nets.mobilenet import Stage as MobileStage
from model_store.nets.residual import BasicBlock, BlockStyle, Bottleneck, Position
from model_store.nets.scse import SpatialChannelSE
from model_store.nets.se import SqueezeExcitation
from model_store.nets.sk import SelectiveKernelConv

TIMES = ", times the features"
SE = f"SE: mean -> 256 -> 16 -> ReLU -> 256 -> sigmoid{TIMES}"


def bottleneck(position: Position, *, stride: int = 1) -> Bottleneck:
    """Return a block of 256 channels with SE."""
    return Bottleneck(256, 64, stride, BlockStyle(attention=SqueezeExcitation, position=position))


def test_a_bottleneck_is_drawn_with_its_branch_its_shortcut_and_its_sum() -> None:
    """Hu et al., figure 3: 1x1, 3x3, 1x1, the gates before the sum, and ReLU after it."""
    assert diagram(bottleneck("standard")) == [
        "├─ 1x1 conv 256 -> 64, BN, ReLU",
        "│  3x3 conv 64 -> 64, BN, ReLU",
        "│  1x1 conv 64 -> 256, BN",
        f"│  {SE}",
        "└─ shortcut: as it is",
        "sum, ReLU",
    ]


def test_stride_and_projection_are_drawn_where_they_are() -> None:
    """The stride stands with the convolution that has it, and the shortcut is a projection."""
    lines = diagram(bottleneck("standard", stride=2))
    assert "│  3x3 conv 64 -> 64, stride 2, BN, ReLU" in lines
    assert "└─ shortcut: 1x1 conv 256 -> 256, stride 2, BN" in lines
    caffe = diagram(Bottleneck(256, 64, 2, BlockStyle(stride_on="1x1")))
    assert caffe[:2] == ["├─ 1x1 conv 256 -> 64, stride 2, BN, ReLU", "│  3x3 conv 64 -> 64, BN, ReLU"]


@pytest.mark.parametrize(
    ("position", "line", "before"),
    [
        ("pre", f"├─ {SE}", "│  1x1 conv 256 -> 64, BN, ReLU"),
        ("3x3", f"│  {SE.replace('256', '64').replace('16', '4')}", "│  1x1 conv 64 -> 256, BN"),
        ("identity", f"└─ shortcut: {SE}", "sum, ReLU"),
        ("standard", f"│  {SE}", "└─ shortcut: as it is"),
    ],
)
def test_attention_is_drawn_where_it_stands(position: Position, line: str, before: str) -> None:
    """Hu et al., figure 5: in each of its places, it is followed by what follows it there."""
    lines = diagram(bottleneck(position))
    assert lines[lines.index(line) + 1] == before
    assert sum("SE:" in one for one in lines) == 1


def test_attention_after_the_sum_is_drawn_last() -> None:
    """Hu et al., figure 5: SE-POST stands after the sum and its ReLU."""
    assert diagram(bottleneck("post"))[-2:] == ["sum, ReLU", SE]


def test_a_basic_block_with_eca_is_drawn() -> None:
    """Wang et al., table 1 and figure 2: a convolution of k taps along the channels."""
    style = BlockStyle(attention=lambda channels: EfficientChannelAttention(channels, 5))
    assert diagram(BasicBlock(64, 128, 2, style)) == [
        "├─ 3x3 conv 64 -> 128, stride 2, BN, ReLU",
        "│  3x3 conv 128 -> 128, BN",
        "│  ECA: mean -> conv1d k=5 -> sigmoid, times the features",
        "└─ shortcut: 1x1 conv 64 -> 128, stride 2, BN",
        "sum, ReLU",
    ]


def test_a_selective_kernel_is_drawn_with_its_paths() -> None:
    """Li et al., figure 1: split into paths, fuse, select: SK[2, 32, 16] with L = 32."""
    select = "sum of the paths -> mean -> 128 -> 32 -> BN -> ReLU -> 256 -> softmax"
    assert diagram(SelectiveKernelConv(128, 128)) == [
        "├─ 3x3 conv 128 -> 128, 32 groups, BN, ReLU",
        "└─ 3x3 conv 128 -> 128, dilation 2, 32 groups, BN, ReLU",
        "paths side by side",
        f"{select}{TIMES}, sum of the paths",
    ]
    block = diagram(Bottleneck(64, 64, 1, BlockStyle(conv=SelectiveKernelConv)))
    assert block[1] == "│  SK (paths, fuse, select):"
    assert block[2] == "│     ├─ 3x3 conv 64 -> 64, 32 groups, BN, ReLU"


def test_attention_of_places_is_drawn_too() -> None:
    """CBAM: channels, then places. scSE: the larger of both. BAM: the product of both, and 1 added."""
    channels = "sum of (mean -> 256 -> 16 -> ReLU -> 256) and (max -> 256 -> 16 -> ReLU -> 256)"
    places = "concatenation of (max over channels) and (mean over channels) -> 7x7 conv 2 -> 1 -> BN"
    cbam = diagram(ConvolutionalBlockAttention(256))
    assert cbam == [f"{channels} -> sigmoid{TIMES}", f"{places} -> sigmoid{TIMES}"]
    scse = diagram(SpatialChannelSE(256))
    assert scse[1:] == ["└─ 256 -> 1 -> sigmoid, times the features", "larger of both"]
    (bam,) = diagram(BottleneckAttention(256))
    assert bam.startswith("product of (mean -> 256 -> 16 -> BN -> ReLU -> 256) and (256 -> 16 -> BN")
    assert bam.endswith("-> sigmoid -> + 1, times the features")


def test_an_inverted_residual_is_drawn_with_and_without_its_sum() -> None:
    """Sandler et al. 2018 (arXiv:1801.04381), figure 4d: widen, depthwise, narrow; a sum with stride 1."""
    stage = MobileStage(expansion=6, channels=24, depth=2, stride=2)
    assert diagram(InvertedResidual(24, stage, 1, lambda channels: SqueezeExcitation(channels, 8))) == [
        "├─ 1x1 conv 24 -> 144, BN, ReLU6",
        "│  3x3 conv 144 -> 144, depthwise, BN, ReLU6",
        "│  1x1 conv 144 -> 24, BN",
        "│  SE: mean -> 24 -> 3 -> ReLU -> 24 -> sigmoid, times the features",
        "└─ shortcut: as it is",
        "sum",
    ]
    assert diagram(InvertedResidual(16, stage, 2))[-1] == "1x1 conv 96 -> 24, BN"


def test_an_inception_module_is_drawn_with_four_branches() -> None:
    """Ioffe and Szegedy 2015, figure 5: module 3a of BN-Inception, with SE after the concatenation."""
    widths = Widths(single=64, three=(64, 64), double=(64, 96), projection=32)
    assert diagram(Inception(192, widths, SqueezeExcitation)) == [
        "├─ 1x1 conv 192 -> 64, BN, ReLU",
        "├─ 1x1 conv 192 -> 64, BN, ReLU",
        "│  3x3 conv 64 -> 64, BN, ReLU",
        "├─ 1x1 conv 192 -> 64, BN, ReLU",
        "│  3x3 conv 64 -> 96, BN, ReLU",
        "│  3x3 conv 96 -> 96, BN, ReLU",
        "└─ 3x3 mean pool, stride 1",
        "   1x1 conv 192 -> 32, BN, ReLU",
        "concatenation",
        SE,
    ]


class Strange(nn.Module):
    """A fork inside a fork, a weight of its own, and an operation that has no word."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.inner, self.outer = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, 8, H, W] to the same shape."""
        inside = torch.erf(features) * self.weight
        output: Tensor = self.outer(inside + self.inner(inside)) + features
        return output


def test_an_unknown_module_is_drawn_by_the_names_of_its_operations() -> None:
    """Forks may lie inside each other; a weight is no fork."""
    assert diagram(Strange()) == [
        "├─ erf, × weight",
        "│  ├─ shortcut: as it is",
        "│  └─ 1x1 conv 8 -> 8",
        "│  sum",
        "│  3x3 conv 8 -> 8",
        "└─ shortcut: as it is",
        "sum",
    ]


class Undecided(nn.Module):
    """Decides by its data, which nothing can draw."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Hardswish())

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, 3, H, W] to [N, 8, H - 2, W - 2], or to itself."""
        if features.sum() > 0:
            return features
        output: Tensor = self.layers(features)
        return output


def test_what_cannot_be_followed_is_drawn_as_its_layers() -> None:
    """In the order of their definition, with the class's name where there is no better one."""
    assert diagram(Undecided()) == ["3x3 conv 3 -> 8, BN, Hardswish"]


def test_what_does_nothing_is_said_to() -> None:
    """The identity."""
    assert diagram(nn.Identity()) == ["as it is"]


def test_a_gate_fits_in_one_line() -> None:
    """Biases do not show, widths do: Hu et al., equation 3, with C = 512 and r = 8."""
    gate = SqueezeExcitation(512, 8).gate
    assert one_line(gate) == "mean -> 512 -> 64 -> ReLU -> 512 -> sigmoid"
