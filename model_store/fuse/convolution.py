"""What a fused net is made of where there is no attention: TorchScript modules that call oneDNN.

TorchScript reads these classes, so their code keeps to its subset of Python. A file holds the plain weights;
`__setstate__` brings them into the processor's own layout, which is no part of the file, once, at loading.
"""

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_store.fuse.regroup import regrouped

Numbers: TypeAlias = list[int]

_State: TypeAlias = tuple[Tensor, Tensor, Numbers, Numbers, Numbers, int, Numbers, str, list[float], bool]


class Convolution(nn.Module):
    """A convolution with bias and its activation, in one pass.

    Args:
        conv: its weights [O, I / groups, h, w], already with the batch normalisation that follows it; it pads
            with zeros, by numbers.
        activation: what oneDNN calls it; "none": none follows.
        limits: the activation's numbers, such as the limits of "hardtanh".
        input_shape: [N, I, H, W] for which the layout of the weights is chosen; others are computed, too.
        dtype: of weights and features.
    """

    packed: Tensor
    bias: Tensor
    padding: Numbers
    stride: Numbers
    dilation: Numbers
    groups: int
    input_shape: Numbers
    activation: str
    limits: list[float]

    def __init__(
        self, conv: nn.Conv2d, activation: str, limits: list[float], input_shape: Numbers, dtype: torch.dtype
    ) -> None:
        super().__init__()
        weight, groups = regrouped(conv.weight.detach(), conv.groups)
        self.__setstate__(
            (
                weight.to(dtype),
                bias_of(conv).to(dtype),
                [int(number) for number in conv.padding],
                list(conv.stride),
                list(conv.dilation),
                groups,
                input_shape,
                activation,
                limits,
                False,
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, I, H, W], channels_last, to [N, O, H', W'], channels_last."""
        limits: list[
            int | float | complex | None
        ] = []  # the operator takes any number or none: no other type
        for limit in self.limits:
            limits.append(limit)  # noqa: PERF402 # TorchScript's lists do not change their type otherwise
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001 # it has no public name
            features,
            self.packed,
            self.bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
            self.activation,
            limits,
            None,
        )
        return output

    @torch.jit.export
    def __getstate__(self) -> _State:
        return (
            self.packed.to_dense(),
            self.bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
            self.input_shape,
            self.activation,
            self.limits,
            self.training,
        )

    @torch.jit.export
    def __setstate__(self, state: _State) -> None:
        self.bias = state[1]
        self.padding = state[2]
        self.stride = state[3]
        self.dilation = state[4]
        self.groups = state[5]
        self.input_shape = state[6]
        self.activation = state[7]
        self.limits = state[8]
        self.training = state[9]
        self.packed = torch.ops.mkldnn._reorder_convolution_weight(  # noqa: SLF001 # it has no public name
            state[0], self.padding, self.stride, self.dilation, self.groups, self.input_shape
        )


class Sum(nn.Module):
    """A convolution, plus a residual, and ReLU where one follows, in one pass that writes over the residual.

    Args:
        conv: without activation.
        activation: "relu", or None.
    """

    def __init__(self, conv: Convolution, activation: str | None) -> None:
        super().__init__()
        self.conv = conv
        self.activation = activation
        self.overwrites = False

    def forward(self, residual: Tensor, features: Tensor) -> Tensor:
        """Map a residual [N, O, H', W'] and features [N, I, H, W] to [N, O, H', W'], all channels_last.

        Where the residual is needed later (`overwrites` is false), a copy is written over.
        """
        if not self.overwrites:
            residual = residual.clone(memory_format=torch.channels_last)
        conv = self.conv
        output: Tensor = torch.ops.mkldnn._convolution_pointwise_(
            residual,
            features,
            conv.packed,
            conv.bias,
            conv.padding,
            conv.stride,
            conv.dilation,
            conv.groups,
            "add",
            1.0,
            self.activation,
            [],
            None,
        )
        return output


class PackedLinear(nn.Module):
    """A fully connected layer and its activation, in one pass.

    Args:
        weight: [O, I].
        bias: [O].
        activation: what oneDNN calls it; "none": none follows.
        dtype: of weights and features.
    """

    packed: Tensor
    bias: Tensor
    activation: str

    def __init__(self, weight: Tensor, bias: Tensor, activation: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.__setstate__((weight.to(dtype).contiguous(), bias.to(dtype), activation, False))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [..., I] of any type to [..., O] of the type of the weights."""
        output: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 # it has no public name
            features.to(self.bias.dtype), self.packed, self.bias, self.activation, [], None
        )
        return output

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, Tensor, str, bool]:
        return (self.packed.to_dense(), self.bias, self.activation, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, Tensor, str, bool]) -> None:
        self.bias = state[1]
        self.activation = state[2]
        self.training = state[3]
        self.packed = torch.ops.mkldnn._reorder_linear_weight(state[0])  # noqa: SLF001 # it has no public name


class PlaneMean(nn.Module):
    """The mean of each plane. The pooling adds in FP32, and is several times as quick as `mean((2, 3))`."""

    def __init__(self, *, keepdim: bool) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, C, H, W] to [N, C], or to [N, C, 1, 1]."""
        means = plane_means(features)
        if self.keepdim:
            return means
        return means.flatten(1)


def plane_means(features: Tensor) -> Tensor:
    """Return the means [N, C, 1, 1] of the planes of features [N, C, H, W]."""
    return F.avg_pool2d(features, [features.size(2), features.size(3)])


def bias_of(layer: nn.Module) -> Tensor:
    """Return the biases [O] of a convolution or a fully connected layer: zeros where it has none."""
    weight = layer.get_parameter("weight")
    bias = getattr(layer, "bias", None)
    return weight.new_zeros(len(weight)) if bias is None else bias.detach()
