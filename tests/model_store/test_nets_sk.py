"""The selective kernel convolution against its formulas."""

from typing import TypeAlias

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from model_store.nets.sk import SelectiveKernel, SelectiveKernelConv

Array: TypeAlias = NDArray[np.float64]


def randomise(net: nn.Module) -> None:
    """Give normalisation layers the statistics and weights of a net that was trained."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.normal_(layer.bias)


def dilated_conv(features: Array, weight: Array, stride: int, dilation: int) -> Array:
    """A 3x3 convolution as a sum over its nine taps; `weight` [C_out, C_in / G, 3, 3] implies the groups."""
    count, channels, height, width = features.shape
    groups = channels // weight.shape[1]
    padded = np.pad(features, ((0, 0), (0, 0), (dilation, dilation), (dilation, dilation)))
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    total = 0.0
    for row in range(3):
        for column in range(3):
            top, left = row * dilation, column * dilation
            window = padded[:, :, top : top + height : stride, left : left + width : stride]
            parts = window.reshape(count, groups, -1, *window.shape[2:])
            total = total + np.einsum("goi,ngihw->ngohw", grouped[..., row, column], parts)
    result = np.asarray(total)
    return result.reshape(count, -1, *result.shape[3:])


def normalised(values: Array, state: dict[str, Array], name: str) -> Array:
    """Batch normalisation by running statistics, then ReLU."""
    shape = (1, -1) + (1,) * (values.ndim - 2)
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale = state[f"{name}.weight"] / np.sqrt(variance + 1e-5)
    scaled = (values - mean.reshape(shape)) * scale.reshape(shape) + state[f"{name}.bias"].reshape(shape)
    return np.maximum(scaled, 0)


def expected(conv: SelectiveKernelConv, features: Array, stride: int, kernel: SelectiveKernel) -> Array:
    """Equations 1 to 6 of the paper, in numpy."""
    state = {name: value.numpy() for name, value in conv.state_dict().items()}
    branches = [
        normalised(dilated_conv(features, state[f"paths.{i}.0.weight"], stride, i + 1), state, f"paths.{i}.1")
        for i in range(kernel.branches)
    ]
    squeezed = np.sum(branches, axis=0).mean(axis=(2, 3))
    compact = normalised(squeezed @ state["gate.fc1.weight"].T, state, "gate.bn")
    rows = np.split(state["gate.fc2.weight"], kernel.branches)  # branch-major: A, then B, ...
    exponentials = [np.exp(compact @ row.T) for row in rows]
    total = np.sum(exponentials, axis=0)
    selected = [
        branch * (part / total)[:, :, None, None] for branch, part in zip(branches, exponentials, strict=True)
    ]
    return np.asarray(np.sum(selected, axis=0))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("branches", "groups"), [(2, 1), (2, 4), (3, 2)])
def test_convolution_computes_the_paper_s_formulas(stride: int, branches: int, groups: int) -> None:
    """Split, fuse and select equal equations 1 to 6 computed by hand, for any M, G and stride."""
    torch.manual_seed(branches)
    kernel = SelectiveKernel(branches=branches, groups=groups, reduction=4, minimum=3)
    conv = SelectiveKernelConv(8, 16, stride, kernel=kernel).double().eval()
    randomise(conv)
    features = torch.randn(2, 8, 7, 6, dtype=torch.float64)
    with torch.inference_mode():
        actual = conv(features).numpy()
    np.testing.assert_allclose(actual, expected(conv, features.numpy(), stride, kernel), rtol=1e-9, atol=1e-9)


def test_gates_of_a_channel_sum_to_one_over_the_branches() -> None:
    """The gate returns [N, M * C], branch-major, and is a softmax over M."""
    conv = SelectiveKernelConv(8, 8, kernel=SelectiveKernel(branches=3, groups=2)).eval()
    gates = conv.gate(torch.randn(4, 8, 5, 5))
    assert gates.shape == (4, 24)
    torch.testing.assert_close(gates.reshape(4, 3, 8).sum(1), torch.ones(4, 8))


@pytest.mark.parametrize(("channels", "width"), [(128, 32), (256, 32), (512, 32), (1024, 64)])
def test_hidden_width_is_the_larger_of_share_and_limit(channels: int, width: int) -> None:
    """With r = 16 and L = 32, d is 32, 32, 32 and 64 in the four stages of SKNet-50."""
    assert SelectiveKernel().hidden_width(channels) == width
    with torch.device("meta"):
        gate = SelectiveKernelConv(channels, channels).gate
    assert gate.fc1.weight.shape == (width, channels)
    assert gate.fc2.weight.shape == (2 * channels, width)


@pytest.mark.parametrize("name", ["branches", "groups", "reduction", "minimum"])
def test_settings_below_one_are_refused(name: str) -> None:
    """The message names the setting."""
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        SelectiveKernel(**{name: 0})


@pytest.mark.parametrize(("in_channels", "out_channels"), [(33, 64), (64, 33)])
def test_groups_that_do_not_divide_the_channels_are_refused(in_channels: int, out_channels: int) -> None:
    """The message shows both numbers of channels and the groups."""
    message = f"groups must divide in_channels={in_channels} and out_channels={out_channels}, got 32"
    with pytest.raises(ValueError, match=message):
        SelectiveKernelConv(in_channels, out_channels)


def test_stride_below_one_is_refused() -> None:
    """The message names the parameter."""
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        SelectiveKernelConv(32, 32, 0)
