"""The residual backbones: shapes, places of the attention, names of the weights."""

from collections.abc import Callable, Mapping
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from model_store.nets.residual import (
    BasicBlock,
    BlockStyle,
    Bottleneck,
    Position,
    average_projection,
    wide_projection,
)
from model_store.nets.resnet import ResNet, caffe_stem, cifar_stem, deep_stem, stem_pooling


class Constant(nn.Module):
    """An attention that answers everything with one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, features: Tensor) -> Tensor:
        """Return the number in the shape of `features`."""
        return torch.full_like(features, self.value)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_attention_acts_on_the_branch_before_the_sum(block: type[BasicBlock | Bottleneck]) -> None:
    """An attention that returns c makes the block relu(c + shortcut): it sees the branch, not the sum."""
    style = BlockStyle(attention=lambda _channels: Constant(-0.25))
    channels = 8 * block.expansion
    features = torch.randn(2, channels, 6, 6)
    output = block(channels, 8, 1, style).eval()(features)
    torch.testing.assert_close(output, torch.relu(features - 0.25))


def filled(features: Tensor) -> Tensor:
    """What `Constant(0.5)` makes of features."""
    return torch.full_like(features, 0.5)


def after_3x3(block: Bottleneck, features: Tensor) -> Tensor:
    """What the last convolution and its normalisation make of 0.5 everywhere, inside as many channels."""
    convolved = 0.5 * block.conv3.weight.sum((1, 2, 3))
    normalised: Tensor = convolved / (1 + block.bn3.eps) ** 0.5 + block.bn3.bias
    return normalised[None, :, None, None].expand_as(features)


# x -> what a block answers whose attention answers 0.5, where F is the branch; all sums are positive.
FIGURE_5: Mapping[Position, Callable[[Bottleneck, Tensor], Tensor]] = {
    "standard": lambda _plain, x: torch.relu(filled(x) + x),
    "pre": lambda plain, x: branch_of(plain, filled(x)) + x,
    "post": lambda _plain, x: filled(x),
    "identity": lambda plain, x: branch_of(plain, x) + filled(x),
    "3x3": lambda plain, x: after_3x3(plain, x) + x,
}


def branch_of(plain: Bottleneck, features: Tensor) -> Tensor:
    """F(x) of a block without attention, as relu(F(x) + x) = F(x) + x where the sum is positive."""
    total: Tensor = plain(features)
    assert total.min() > 0
    return total - features


@pytest.mark.parametrize("position", get_args(Position))
def test_attention_stands_where_the_paper_s_figure_says(position: Position) -> None:
    """Hu et al., figure 5: before, in or after the branch, on the shortcut, or after the sum."""
    plain = Bottleneck(32, 8, 1, BlockStyle()).eval()
    nn.init.constant_(plain.bn3.bias, 50)
    style = BlockStyle(attention=lambda _channels: Constant(0.5), position=position)
    block = Bottleneck(32, 8, 1, style).eval()
    block.load_state_dict(plain.state_dict())
    features = torch.randn(2, 32, 6, 6)
    torch.testing.assert_close(block(features), FIGURE_5[position](plain, features), rtol=0, atol=1e-4)


def test_attention_on_the_shortcut_follows_the_projection() -> None:
    """Where a block changes the shape, the attention sees what the projection made of it."""
    asked: list[int] = []

    def factory(channels: int) -> nn.Module:
        asked.append(channels)
        return Constant(0.5)

    block = Bottleneck(16, 8, 2, BlockStyle(attention=factory, position="identity")).eval()
    nn.init.zeros_(block.bn3.weight)
    assert asked == [32]
    assert torch.equal(block(torch.randn(1, 16, 6, 6)), torch.full((1, 32, 3, 3), 0.5))


def test_basic_blocks_have_attention_in_its_standard_place_only() -> None:
    """The paper tries the other places in bottlenecks."""
    style = BlockStyle(attention=lambda _channels: Constant(0.5), position="pre")
    with pytest.raises(ValueError, match="position must be 'standard' in a basic block, got 'pre'"):
        BasicBlock(8, 8, 1, style)


@pytest.mark.parametrize("rectified", [False, True])
def test_a_basic_block_s_attention_sees_what_a_relu_leaves_where_asked(*, rectified: bool) -> None:
    """As in timm's legacy nets; elsewhere features of both signs reach the attention."""
    seen: list[Tensor] = []
    attention = nn.Identity()
    attention.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].clone()))
    style = BlockStyle(attention=lambda _channels: attention, rectified=rectified)
    BasicBlock(8, 8, 1, style).eval()(torch.randn(2, 8, 6, 6))
    assert (seen[0].min() >= 0) == rectified


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_attention_is_asked_for_with_the_block_s_output_channels(
    block: type[BasicBlock | Bottleneck],
) -> None:
    """One attention a block, in forward order, each as wide as the block's output."""
    asked: list[int] = []

    def factory(channels: int) -> nn.Module:
        asked.append(channels)
        return nn.Identity()

    ResNet(block=block, depths=(1, 2), planes=(8, 16), style=BlockStyle(attention=factory)).build(2)
    assert asked == [8 * block.expansion, 16 * block.expansion, 16 * block.expansion]


def test_conv_factory_replaces_the_strided_convolution() -> None:
    """The factory is given input channels, output channels and stride, once a block."""
    asked: list[tuple[int, int, int]] = []

    def factory(in_channels: int, out_channels: int, stride: int) -> nn.Module:
        asked.append((in_channels, out_channels, stride))
        return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)

    style = BlockStyle(conv=factory)
    net = ResNet(block=BasicBlock, depths=(2, 1), planes=(8, 16), style=style, stem=cifar_stem).build(2)
    assert asked == [(8, 8, 1), (8, 8, 1), (8, 16, 2)]
    assert not [name for name in net.state_dict() if ".bn1." in name], (
        "a replaced convolution normalises itself"
    )


def test_imagenet_stem_quarters_and_cifar_stem_keeps_the_size() -> None:
    """The first stage sees a quarter of the height and width of ImageNet's images and all of CIFAR's."""
    images = torch.randn(1, 3, 64, 48)
    large = ResNet(block=BasicBlock, depths=(1,), planes=(8,)).build(2)
    small = ResNet(block=BasicBlock, depths=(1,), planes=(8,), stem=cifar_stem).build(2)
    assert large[:4](images).shape == (1, 8, 16, 12)
    assert small[:3](images).shape == (1, 8, 64, 48)


def test_resnext_widths_are_groups_times_scaled_base() -> None:
    """ResNeXt 32x4d has 128 channels of 32 groups inside a block of 64 planes."""
    block = Bottleneck(256, 64, 1, BlockStyle(groups=32, base_width=4))
    assert block.conv2.weight.shape == (128, 4, 3, 3)
    assert block.conv2.groups == 32


def test_strides_are_on_the_3x3_convolution_and_the_shortcut() -> None:
    """The first 1x1 convolution of a bottleneck keeps the size."""
    block = Bottleneck(256, 128, 2, BlockStyle())
    strides = {name: conv.stride for name, conv in block.named_modules() if isinstance(conv, nn.Conv2d)}
    assert strides == {"conv1": (1, 1), "conv2": (2, 2), "conv3": (1, 1), "downsample.0": (2, 2)}


def test_caffe_s_stride_is_on_the_first_1x1_convolution() -> None:
    """The rest of a bottleneck is unchanged; a basic block has no 1x1 convolution to move it to."""
    style = BlockStyle(stride_on="1x1")
    for block, expected in (
        (Bottleneck(256, 128, 2, style), {"conv1": (2, 2), "conv2": (1, 1), "conv3": (1, 1)}),
        (BasicBlock(64, 128, 2, style), {"conv1": (2, 2), "conv2": (1, 1)}),
    ):
        strides = {name: conv.stride for name, conv in block.named_modules() if isinstance(conv, nn.Conv2d)}
        assert strides == {**expected, "downsample.0": (2, 2)}


def test_pooling_is_padded_or_rounded_up() -> None:
    """Of 0 to 7 in a row, windows of 3 every 2 begin before the first, or end after the last."""
    row = torch.arange(8.0).expand(1, 1, 8, 8)
    assert stem_pooling()(row)[0, 0, 0].tolist() == [1, 3, 5, 7]
    assert stem_pooling(ceil=True)(row)[0, 0, 0].tolist() == [2, 4, 6, 7]
    assert caffe_stem(8)["maxpool"](row)[0, 0, 0].tolist() == [2, 4, 6, 7]


def test_deep_stem_is_three_convolutions_named_as_in_timm() -> None:
    """The first has the stride of the 7x7 one; the widths in between are free."""
    stem = nn.Sequential(deep_stem(64, inner=(24, 32)))
    shapes = {name: tuple(value.shape) for name, value in stem.named_parameters() if value.ndim == 4}
    assert shapes == {
        "conv1.0.weight": (24, 3, 3, 3),
        "conv1.3.weight": (32, 24, 3, 3),
        "conv1.6.weight": (64, 32, 3, 3),
    }
    assert stem(torch.rand(1, 3, 64, 48)).shape == (1, 64, 16, 12)


def test_averaging_shortcut_takes_means_before_it_convolves() -> None:
    """Where the size is odd, the last mean is of what is there; without a stride there is no mean."""
    shortcut = average_projection(1, 1, 2).eval()
    assert [name for name, _ in shortcut.named_parameters()] == ["1.weight", "2.weight", "2.bias"]
    conv = shortcut.get_parameter("1.weight")
    nn.init.ones_(conv)
    features = torch.tensor([[1.0, 3, 5], [5, 7, 9], [10, 20, 30]])[None, None]
    expected = torch.tensor([[4.0, 7], [15, 30]])[None, None] / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(shortcut(features), expected)
    unstrided = average_projection(1, 1, 1).eval()
    assert unstrided(features).shape == features.shape


def test_wide_shortcut_is_3x3_where_there_is_a_stride() -> None:
    """SENet-154's first stage has a 1x1 projection, the others a 3x3 one."""
    kernels = [wide_projection(8, 16, stride).get_parameter("0.weight").shape[-2:] for stride in (1, 2)]
    assert kernels == [(1, 1), (3, 3)]


def test_first_convolution_can_be_narrower_than_the_second() -> None:
    """SENet-154 halves the channels of the first 1x1 convolution."""
    block = Bottleneck(256, 64, 1, BlockStyle(groups=64, base_width=4, reduce_first=2))
    assert block.conv1.weight.shape == (128, 256, 1, 1)
    assert block.conv2.weight.shape == (256, 2, 3, 3)


def test_attention_of_some_stages_and_between_them() -> None:
    """Stages are counted from 1; what is between follows each but the last."""
    net = ResNet(
        block=BasicBlock,
        depths=(1, 2, 1),
        planes=(8, 8, 16),
        style=BlockStyle(attention=lambda _channels: Constant(1.0)),
        attention_stages=frozenset({2}),
        between=lambda channels: nn.Conv2d(channels, channels, 1),
        dropout=0.2,
    ).build(2)
    constants = [name for name, part in net.named_modules() if isinstance(part, Constant)]
    assert constants == ["layer2.0.attention", "layer2.1.attention"]
    assert [name for name, _ in net.named_children()][4:] == [
        *("layer1", "attention1", "layer2", "attention2", "layer3"),
        *("avgpool", "flatten", "dropout", "fc"),
    ]


def test_stem_can_be_wider_than_the_first_stage_says() -> None:
    """SENet-154's gives 128 channels to a stage of 64 planes."""
    net = ResNet(block=Bottleneck, depths=(1,), planes=(64,), stem_width=128).build(2)
    shapes = {name: value.shape for name, value in net.named_parameters()}
    assert shapes["conv1.weight"] == (128, 3, 7, 7)
    assert shapes["layer1.0.conv1.weight"] == (64, 128, 1, 1)


def test_weights_are_named_as_in_torchvision() -> None:
    """The state of a plain net has torchvision's names, so that its checkpoints load unchanged."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    block = ["conv1.weight", "conv2.weight", "conv3.weight", "downsample.0.weight"]
    block += [f"{name}.{part}" for name in ("bn1", "bn2", "bn3", "downsample.1") for part in norm]
    whole = ["conv1.weight", *(f"bn1.{part}" for part in norm), "fc.weight", "fc.bias"]
    net = ResNet(block=Bottleneck, depths=(1,), planes=(64,)).build(10)
    assert set(net.state_dict()) == {*whole, *(f"layer1.0.{name}" for name in block)}


def test_recipes_that_do_not_fit_are_refused() -> None:
    """Messages name the parameter and show its value."""
    with pytest.raises(ValueError, match=r"depths and planes must be equally long, got \(1, 1\) and \(8,\)"):
        ResNet(block=BasicBlock, depths=(1, 1), planes=(8,))
    with pytest.raises(ValueError, match="depths and planes must be equally long"):
        ResNet(block=BasicBlock, depths=(), planes=())
    with pytest.raises(ValueError, match="depths must be at least 1, got 0"):
        ResNet(block=BasicBlock, depths=(1, 0), planes=(8, 16))
    with pytest.raises(ValueError, match="groups must be at least 1, got 0"):
        BlockStyle(groups=0)
    with pytest.raises(ValueError, match="reduce_first must be at least 1, got 0"):
        BlockStyle(reduce_first=0)
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        ResNet(block=BasicBlock, depths=(1,), planes=(8,)).build(0)
