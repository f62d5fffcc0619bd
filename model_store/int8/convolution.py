"""The convolutions of a quantised net: TorchScript modules that call oneDNN on bytes.

TorchScript reads these classes, so their code keeps to its subset of Python. As in `model_store.fuse`, a file
holds the plain weights, and loading it brings them into the processor's own layout.
"""

from typing import TypeAlias

import torch
from torch import Tensor, nn

from model_store.fuse.attention import Selection
from model_store.fuse.convolution import Convolution, Numbers
from model_store.int8.layers import light
from model_store.int8.ranges import Range, quantised_weight

_State: TypeAlias = tuple[Tensor, Tensor, Tensor, Numbers, Numbers, Numbers, int, Numbers, float, int, bool]


class ByteWeights(nn.Module):
    """The weights of a convolution of bytes, in the processor's own layout.

    Args:
        conv: in FP32, whose weights these are.
        given: range of its input.
    """

    packed: Tensor
    scales: Tensor
    zeros: Tensor
    bias: Tensor
    padding: Numbers
    stride: Numbers
    dilation: Numbers
    groups: int
    input_shape: Numbers
    scale: float
    zero: int

    def __init__(self, conv: Convolution, given: Range) -> None:
        super().__init__()
        weight, scales = quantised_weight(conv.packed.to_dense())
        form = (conv.padding, conv.stride, conv.dilation, conv.groups, conv.input_shape)
        self.__setstate__((weight, scales, conv.bias.float(), *form, given.scale, given.zero, False))

    @torch.jit.unused
    def range(self) -> Range:
        """Return the range of the input."""
        return Range(scale=self.scale, zero=self.zero)

    @torch.jit.unused
    def is_pointwise(self) -> bool:
        """Tell whether each place is mapped by itself, and all of them."""
        sides = list(self.packed.to_dense().shape[2:])
        return sides == self.stride == [1, 1] and self.padding == [0, 0] and self.groups == 1

    @torch.jit.unused
    def matrix(self) -> Tensor:
        """Return the weights [O, I] of a 1x1 convolution in FP32."""
        return self.packed.to_dense().flatten(1) * self.scales[:, None]

    @torch.jit.export
    def __getstate__(self) -> _State:
        return (
            self.packed.to_dense(),
            self.scales,
            self.bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
            self.input_shape,
            self.scale,
            self.zero,
            self.training,
        )

    @torch.jit.export
    def __setstate__(self, state: _State) -> None:
        self.scales = state[1]
        self.bias = state[2]
        self.padding = state[3]
        self.stride = state[4]
        self.dilation = state[5]
        self.groups = state[6]
        self.input_shape = state[7]
        self.scale = state[8]
        self.zero = state[9]
        self.training = state[10]
        self.zeros = torch.zeros([self.scales.size(0)], dtype=torch.int32)
        self.packed = torch.ops.onednn.qconv_prepack(
            state[0],
            self.scales,
            self.scale,
            self.zero,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.input_shape,
        )


class ByteConvolution(nn.Module):
    """A convolution of bytes and its activation, in one pass.

    Args:
        weights: its weights.
        conv: whose activation it has.
        result: range of its output; None: its output is BF16.
    """

    limits: list[float]

    def __init__(self, weights: ByteWeights, conv: Convolution, result: Range | None) -> None:
        super().__init__()
        self.weights = weights
        self.activation = conv.activation
        self.limits = conv.limits
        self.scale = 1.0 if result is None else result.scale
        self.zero = 0 if result is None else result.zero
        self.bytes = result is not None

    def forward(self, features: Tensor) -> Tensor:
        """Map UINT8 [N, I, H, W] to UINT8 or BF16 [N, O, H', W'], all channels_last."""
        limits: list[int | float | complex | None] = []  # the operator's type for numbers
        for limit in self.limits:
            limits.append(limit)  # noqa: PERF402 # TorchScript's lists do not change their type otherwise
        weights = self.weights
        output: Tensor = torch.ops.onednn.qconv2d_pointwise(
            features,
            weights.scale,
            weights.zero,
            weights.packed,
            weights.scales,
            weights.zeros,
            weights.bias,
            weights.stride,
            weights.padding,
            weights.dilation,
            weights.groups,
            self.scale,
            self.zero,
            torch.uint8 if self.bytes else torch.bfloat16,
            self.activation,
            limits,
            "",
        )
        return output


class ByteSum(nn.Module):
    """A convolution of bytes, plus a residual, and ReLU where one follows; it writes over the residual.

    With a head it is r + s * (W x + b), whose gates s [N, O] go into the scales of the weights, so that the
    weights are the same for each image, and attention costs no pass over the features.

    Args:
        weights: of the convolution.
        head: from means to gates; None: there are none.
        activation: "relu", or None.
        residual: its range.
        result: range of the output.
    """

    def __init__(
        self,
        weights: ByteWeights,
        head: nn.Module | None,
        activation: str | None,
        residual: Range,
        result: Range,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.head = head
        self.activation = activation
        self.residual_scale = residual.scale
        self.residual_zero = residual.zero
        self.scale = result.scale
        self.zero = result.zero
        self.overwrites = False

    def forward(self, residual: Tensor, features: Tensor, means: Tensor | None = None) -> Tensor:
        """Map UINT8 [N, O, H', W'] and [N, I, H, W] to UINT8 [N, O, H', W'], all channels_last.

        Where the residual is needed later (`overwrites` is false), a copy is written over. The gates come
        from the means [N, M].
        """
        if not self.overwrites:
            residual = residual.clone(memory_format=torch.channels_last)
        if self.head is None or means is None:
            return self.add(residual, features, self.weights.scales, self.weights.bias)
        gates = self.head(means).float()
        scales = gates * self.weights.scales
        biases = gates * self.weights.bias
        for image in range(features.size(0)):
            self.add(residual.narrow(0, image, 1), features.narrow(0, image, 1), scales[image], biases[image])
        return residual

    def add(self, residual: Tensor, features: Tensor, scales: Tensor, bias: Tensor) -> Tensor:
        """Write over the residual of images that share their gates."""
        weights = self.weights
        output: Tensor = torch.ops.onednn.qconv2d_pointwise(
            features,
            weights.scale,
            weights.zero,
            weights.packed,
            scales,
            weights.zeros,
            residual,
            bias,
            weights.stride,
            weights.padding,
            weights.dilation,
            weights.groups,
            self.scale,
            self.zero,
            torch.uint8,
            self.residual_scale,
            self.residual_zero,
            "sum",
            1.0,
            self.activation,
            [],
            "",
        )
        return output


class ByteScale(nn.Module):
    """Bytes times their gates: a sum with nothing.

    Args:
        weights: that repeat the features.
        head: from means to gates.
        result: range of the output.
    """

    def __init__(self, weights: ByteWeights, head: nn.Module, result: Range) -> None:
        super().__init__()
        self.sum = ByteSum(weights, head, None, Range(scale=1.0, zero=0), result)
        self.sum.overwrites = True

    def forward(self, features: Tensor, means: Tensor) -> Tensor:
        """Map UINT8 [N, C, H, W] to UINT8, channels_last; the gates come from the means [N, M]."""
        output: Tensor = self.sum(torch.zeros_like(features), features, means)
        return output


def byte_selection(selection: Selection, given: Range) -> Selection:
    """Return the SK convolution with two branches that maps UINT8 [N, I, H, W] to BF16 [N, C, H', W'].

    Args:
        selection: in FP32.
        given: range of the input.
    """
    first, second = (_in_bytes(branch, given) for branch in (selection.first, selection.second))
    return Selection(first, second, light(selection.head), split=selection.split)


def _in_bytes(branch: nn.Module, given: Range) -> ByteConvolution:
    assert isinstance(branch, Convolution), "the branches of a net that is not in bytes yet"  # noqa: S101  ours
    return ByteConvolution(ByteWeights(branch, given), branch, None)
