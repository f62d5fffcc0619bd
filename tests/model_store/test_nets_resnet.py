"""The residual backbones: shapes, places of the attention, names of the weights."""

import pytest
import torch
from torch import Tensor, nn

from model_store.nets.residual import BasicBlock, BlockStyle, Bottleneck
from model_store.nets.resnet import ResNet, cifar_stem


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
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        ResNet(block=BasicBlock, depths=(1,), planes=(8,)).build(0)
