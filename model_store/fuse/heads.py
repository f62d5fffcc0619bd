"""From the means of planes to gates: the small arithmetic of a channel attention.

Convolution, batch normalisation and mean are linear, so where features are a 1x1 convolution's, the gates
can be had from the means of what goes into it: mean(W x + b) = W mean(x) + b. What goes in is mostly several
times narrower than what comes out. `merged` gives the layers for that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_store.fuse.convolution import PackedLinear, bias_of
from model_store.nets.eca import BandGate
from model_store.nets.gate import ChannelGate
from model_store.nets.se import ExcitationGate
from model_store.nets.sk import SelectionGate


class BandLayer(nn.Module):
    """sigmoid(conv1d_k(z)), in FP32: k sums of C numbers are quicker than a convolution of so few."""

    taps: list[float]

    def __init__(self, taps: list[float]) -> None:
        super().__init__()
        self.taps = taps

    def forward(self, means: Tensor) -> Tensor:
        """Map means [N, C] to gates [N, C]."""
        half = len(self.taps) // 2
        channels = means.size(1)
        padded = F.pad(means.float(), [half, half])
        logits = padded.narrow(1, 0, channels) * self.taps[0]
        for index in range(1, len(self.taps)):
            logits.add_(padded.narrow(1, index, channels), alpha=self.taps[index])
        return logits.sigmoid_().to(means.dtype)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrix:
    """sigmoid(W z + b), with W [C, I], b [C]."""

    weight: Tensor
    bias: Tensor

    def layers(self, dtype: torch.dtype) -> nn.Module:
        """Return the module from means [N, I] to gates [N, C], both of this type."""
        return PackedLinear(self.weight, self.bias, "sigmoid", dtype)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Excitation:
    """sigmoid(W2 relu(W1 z + b1) + b2): the gates of SE, and of SK's first branch of two."""

    weight1: Tensor
    bias1: Tensor
    weight2: Tensor
    bias2: Tensor

    shrinks: ClassVar[bool] = True  # merging makes W1 narrower, as I < C: it always pays

    def layers(self, dtype: torch.dtype) -> nn.Module:
        """Return the module from means [N, I] to gates [N, C], both of this type."""
        return nn.Sequential(
            PackedLinear(self.weight1, self.bias1, "relu", dtype),
            PackedLinear(self.weight2, self.bias2, "sigmoid", dtype),
        )

    def merged(self, weight: Tensor, bias: Tensor) -> "Excitation":
        """Return the head for means of x, where z = W x + b, W [C, I]."""
        return Excitation(
            weight1=self.weight1 @ weight,
            bias1=self.weight1 @ bias + self.bias1,
            weight2=self.weight2,
            bias2=self.bias2,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Band:
    """sigmoid(conv1d_k(z)): the gates of ECA, with k taps [1, 1, k]."""

    taps: Tensor

    shrinks: ClassVar[bool] = False  # merging makes k numbers C x I: it pays only where maps are much larger

    def layers(self, dtype: torch.dtype) -> nn.Module:
        """Return the module from means [N, C] to gates [N, C], both of this type."""
        del dtype  # it takes any
        return BandLayer([float(tap) for tap in self.taps.flatten()])

    def merged(self, weight: Tensor, bias: Tensor) -> Matrix:
        """Return the head for means of x, where z = W x + b, W [C, I]."""
        both = torch.cat((weight, bias[:, None]), dim=1)  # the band slides along C, for each column alike
        slid = F.conv1d(both.t()[:, None], self.taps, padding=self.taps.size(2) // 2)[:, 0].t()
        return Matrix(weight=slid[:, :-1].contiguous(), bias=slid[:, -1].contiguous())


Head: TypeAlias = Excitation | Band
"""What maps means [N, C] of the features to gates [N, C], and can be merged with a convolution."""


def _of_excitation(gate: ChannelGate) -> Head | None:
    """Return SE's head; None where the squeeze is a maximum, which is not linear."""
    if not isinstance(gate, ExcitationGate) or gate.squeeze != "mean":
        return None
    (weight1, bias1), (weight2, bias2) = _layer(gate.fc1), _layer(gate.fc2)
    return Excitation(weight1=weight1, bias1=bias1, weight2=weight2, bias2=bias2)


def _of_band(gate: ChannelGate) -> Head | None:
    """Return ECA's head."""
    return Band(taps=gate.conv.weight.detach()) if isinstance(gate, BandGate) else None


HEADS: Final[Mapping[type[ChannelGate], Callable[[ChannelGate], Head | None]]] = MappingProxyType(
    {ExcitationGate: _of_excitation, BandGate: _of_band}
)
"""Kind of gate -> its head. The gates of other kinds are traced, and run as they are."""


def head_of(gate: ChannelGate) -> Head | None:
    """Return what stands for a gate; None where the table has nothing for it."""
    make = HEADS.get(type(gate))
    return None if make is None else make(gate)


def selection_head(gate: SelectionGate) -> Excitation:
    """Return the head that gives the first of two branches its gates.

    The softmax of two logits is the sigmoid of their difference, so W2 has C rows instead of 2 C; the batch
    normalisation of the hidden layer is folded into it.
    """
    scale, shift = _affine(gate.bn)
    weight1, bias1 = _layer(gate.fc1)
    weight2, bias2 = _layer(gate.fc2)
    first, second = slice(None, gate.channels), slice(gate.channels, None)
    return Excitation(
        weight1=weight1 * scale[:, None],
        bias1=bias1 * scale + shift,
        weight2=weight2[first] - weight2[second],
        bias2=bias2[first] - bias2[second],
    )


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return a and b of what a batch normalisation computes in use: a x + b."""
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    scale = norm.weight.detach() / torch.sqrt(variance + norm.eps)
    return scale, norm.bias.detach() - mean * scale


def _layer(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weights [O, I] and biases [O] of a fully connected layer or a 1x1 convolution."""
    return layer.get_parameter("weight").detach().flatten(1), bias_of(layer)
