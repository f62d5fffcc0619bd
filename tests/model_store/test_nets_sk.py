"""The selective kernel convolution against its formulas."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from model_store.nets.sk import SelectiveKernel, SelectiveKernelConv
from tests.model_store.formulas import (
    Array,
    answer,
    assert_refits,
    convolved,
    normalised,
    shapes_of,
    state_of,
    trained,
)

PAPER = ((3, 1), (3, 2), (3, 3))


def expected(
    conv: SelectiveKernelConv, inputs: Sequence[Array], stride: int, kernels: Sequence[tuple[int, int]]
) -> Array:
    """Equations 1 to 6 of the paper, in numpy; `inputs` are what each branch sees."""
    state = state_of(conv)
    convolutions = [
        convolved(seen, state[f"paths.{i}.0.weight"], stride, dilation)
        for i, (seen, (_size, dilation)) in enumerate(zip(inputs, kernels, strict=True))
    ]
    branches = [
        np.maximum(normalised(values, state, f"paths.{i}.1"), 0) for i, values in enumerate(convolutions)
    ]
    squeezed = np.sum(branches, axis=0).mean(axis=(2, 3))
    compact = np.maximum(normalised(squeezed @ state["gate.fc1.weight"].T, state, "gate.bn"), 0)
    rows = np.split(state["gate.fc2.weight"], len(branches))  # branch-major: A, then B, ...
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
    kernel = SelectiveKernel(branches=branches, groups=groups, reduction=4, minimum=3)
    conv = SelectiveKernelConv(8, 16, stride, kernel=kernel)
    trained(conv)
    features = torch.randn(2, 8, 7, 6, dtype=torch.float64)
    wanted = expected(conv, [features.numpy()] * branches, stride, PAPER[:branches])
    np.testing.assert_allclose(answer(conv, features), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "kernels",
    [((3, 1), (1, 1)), ((3, 1), (5, 1)), ((3, 1), (5, 1), (3, 4))],
    ids=["cifar", "true 5x5", "mixed"],
)
def test_kernels_may_be_given(kernels: tuple[tuple[int, int], ...], stride: int) -> None:
    """Branches of any odd size and dilation compute the same formulas, and none moves or crops the image."""
    kernel = SelectiveKernel(branches=len(kernels), groups=2, minimum=1, reduction=4, kernels=kernels)
    conv = SelectiveKernelConv(8, 16, stride, kernel=kernel)
    trained(conv)
    features = torch.randn(2, 8, 7, 6, dtype=torch.float64)
    wanted = expected(conv, [features.numpy()] * len(kernels), stride, kernels)
    np.testing.assert_allclose(answer(conv, features), wanted, rtol=1e-9, atol=1e-9)
    sizes = [path[0].weight.shape[-1] for path in conv.paths]  # type: ignore[index] # a Sequential
    assert sizes == [size for size, _dilation in kernels]


@pytest.mark.parametrize("branches", [2, 4])
def test_split_gives_each_branch_its_share_of_the_channels(branches: int) -> None:
    """As in timm: the first branch sees the first share, and all of them give all output channels."""
    kernel = SelectiveKernel(branches=branches, groups=1, split=True)
    conv = SelectiveKernelConv(8, 16, kernel=kernel)
    trained(conv)
    features = torch.randn(2, 8, 7, 6, dtype=torch.float64)
    shares = np.split(features.numpy(), branches, axis=1)
    wanted = expected(conv, shares, 1, ((3, 1), (3, 2), (3, 3), (3, 4))[:branches])
    np.testing.assert_allclose(answer(conv, features), wanted, rtol=1e-9, atol=1e-9)
    assert [path[0].weight.shape for path in conv.paths] == [(16, 8 // branches, 3, 3)] * branches  # type: ignore[index] # a Sequential


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


@pytest.mark.parametrize(("channels", "width"), [(256, 16), (512, 32), (1024, 64), (2048, 128)])
def test_a_limit_of_one_leaves_the_share_as_it_is(channels: int, width: int) -> None:
    """With L = 1, d is C / r: as in the released SKNet-101 and the paper's CIFAR nets."""
    assert SelectiveKernel(minimum=1).hidden_width(channels) == width


@pytest.mark.parametrize("name", ["branches", "groups", "reduction", "minimum"])
def test_settings_below_one_are_refused(name: str) -> None:
    """The message names the setting."""
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        replace(SelectiveKernel(), **{name: 0})  # type: ignore[arg-type] # each of the four is a number


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


@pytest.mark.parametrize(
    ("branches", "kernels", "message"),
    [
        (3, ((3, 1), (1, 1)), r"kernels must be as many as the branches, 3, got \(\(3, 1\), \(1, 1\)\)"),
        (2, ((3, 1), (4, 1)), "kernels must have odd sizes, to keep height and width, got 4"),
        (2, ((3, 1), (3, 0)), "dilation must be at least 1, got 0"),
        (2, ((3, 1), (0, 1)), "size must be at least 1, got 0"),
    ],
)
def test_kernels_that_do_not_match_are_refused(
    branches: int, kernels: tuple[tuple[int, int], ...], message: str
) -> None:
    """There is one kernel for each branch, odd and at least 1."""
    with pytest.raises(ValueError, match=message):
        SelectiveKernel(branches=branches, kernels=kernels)


def test_channels_that_cannot_be_split_are_refused() -> None:
    """Each branch needs as many channels as the others."""
    kernel = SelectiveKernel(branches=3, groups=1, split=True)
    with pytest.raises(ValueError, match="branches must divide in_channels=8 to split them, got 3"):
        SelectiveKernelConv(8, 8, kernel=kernel)


@pytest.mark.parametrize("minimum", [1, 3, 64])
def test_gate_takes_its_hidden_width_from_weights(minimum: int) -> None:
    """D is the number of rows of W [d, C], whatever r and L the row of the zoo has."""
    theirs = SelectiveKernelConv(32, 32, kernel=SelectiveKernel(minimum=minimum)).gate
    assert_refits(SelectiveKernelConv(32, 32).gate, theirs)


def test_gate_stays_as_it_is_where_no_hidden_width_fits_better() -> None:
    """The same gate comes back for its own weights, with or without the count of batches, and for others'."""
    gate = SelectiveKernelConv(32, 32).gate
    own = shapes_of(gate)
    assert gate.fitted(own) is gate
    assert gate.fitted({name: shape for name, shape in own.items() if shape}) is gate
    assert gate.fitted(shapes_of(SelectiveKernelConv(64, 64).gate)) is gate
    assert gate.fitted({}) is gate


def test_weights_without_hidden_units_are_refused() -> None:
    """They would select both branches alike for every image."""
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        SelectiveKernelConv(32, 32).gate.fitted({"fc1.weight": (0, 32)})
