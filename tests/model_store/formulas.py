"""What the tests of attention blocks share: the layers of their formulas in plain numpy, FP64."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_store.nets.gate import ChannelGate

Array: TypeAlias = NDArray[np.float64]
State: TypeAlias = Mapping[str, Array]


def trained(block: nn.Module, seed: int = 0) -> nn.Module:
    """Give a block random weights and statistics, all that training would move, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    block.double().eval()
    for name, value in block.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=generator)
        elif value.is_floating_point():
            value.normal_(0, 0.5, generator=generator)
    return block


def state_of(block: nn.Module) -> dict[str, Array]:
    """Every weight and statistic of a block by its name."""
    return {name: value.detach().numpy() for name, value in block.state_dict().items()}


def answer(block: nn.Module, features: Tensor) -> Array:
    """What the block itself makes of features."""
    with torch.inference_mode():
        result: Array = block(features).numpy()
    return result


def sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-logits)))


def perceptron(squeezed: Array, state: State, prefix: str = "gate.") -> Array:
    """W2 relu(W1 z + b1) + b2 of z [N, C], with b1 and b2 zero where there are none."""
    first, second = (
        state[f"{prefix}{name}.weight"].reshape(len(state[f"{prefix}{name}.weight"]), -1)
        for name in ("fc1", "fc2")
    )
    hidden = np.maximum(squeezed @ first.T + state.get(f"{prefix}fc1.bias", 0), 0)
    return np.asarray(hidden @ second.T + state.get(f"{prefix}fc2.bias", 0))


def normalised(values: Array, state: State, name: str) -> Array:
    """Batch normalisation by running statistics, over axis 1."""
    shape = (1, -1) + (1,) * (values.ndim - 2)
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale = state[f"{name}.weight"] / np.sqrt(variance + 1e-5)
    return np.asarray(
        (values - mean.reshape(shape)) * scale.reshape(shape) + state[f"{name}.bias"].reshape(shape)
    )


def convolved(features: Array, weight: Array, stride: int = 1, dilation: int = 1) -> Array:
    """Convolve as a sum over the taps, padded so that a stride of 1 keeps the size.

    Args:
        features: [N, C_in, H, W].
        weight: [C_out, C_in / G, k, k] with k odd, which implies the groups G.
        stride: of both directions.
        dilation: distance between neighbouring taps.
    """
    count, channels, height, width = features.shape
    size = weight.shape[-1]
    groups = channels // weight.shape[1]
    edge = dilation * (size // 2)
    padded = np.pad(features, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    total: Array = np.zeros(())
    for row, column in np.ndindex(size, size):
        top, left = row * dilation, column * dilation
        window = padded[:, :, top : top + height : stride, left : left + width : stride]
        parts = window.reshape(count, groups, -1, *window.shape[2:])
        total = total + np.einsum("goi,ngihw->ngohw", grouped[..., row, column], parts)
    return total.reshape(count, -1, *total.shape[3:])


def shapes_of(gate: ChannelGate) -> dict[str, tuple[int, ...]]:
    """The shapes of a gate's weights, as a checkpoint of it would show them."""
    return {name: tuple(value.shape) for name, value in gate.state_dict().items()}


def assert_refits(gate: ChannelGate, other: ChannelGate) -> None:
    """Fit `gate` to the weights of `other`: it must load them all, and then compute what `other` computes."""
    trained(other)
    fitted = gate.eval().fitted(shapes_of(other))
    assert fitted is not gate
    assert not fitted.training, "a fitted gate keeps the mode of the one that it replaces"
    fitted.double().load_state_dict(other.state_dict())
    features = torch.randn(3, gate.channels, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(fitted(features), other(features), rtol=1e-12, atol=1e-12)
