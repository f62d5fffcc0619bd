"""Concurrent spatial and channel Squeeze & Excitation.

Roy, Navab, Wachinger (2018), "Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional
Networks", arXiv:1803.02579.

The paper adds the two recalibrated features; its authors' code takes the larger of the two, element by
element. `combine` chooses; the code's way is the default. Both layers of the channel branch and the
convolution of the spatial branch have biases, as in the code.
"""

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from model_store.nets.gate import require_choice
from model_store.nets.se import ExcitationGate, hidden_width

Combine: TypeAlias = Literal["max", "add"]
"""How the two recalibrated features become one: the larger of the two, or their sum."""


class SpatialChannelSE(nn.Module):
    """scSE: cSE, u_c times sigmoid(W2 relu(W1 z)), and sSE, u_(i,j) times sigmoid(w . u_(i,j) + b), combined.

    Its gate is cSE's, which is exactly what the features of that branch are multiplied by; the weights of the
    places, [N, 1, H, W], are not among the gates.

    Args:
        channels: C.
        reduction: r, 1 to C; cSE's hidden width is floor(C / r). The paper found 2 best.
        combine: "max" or "add".

    Raises:
        ValueError: a number is below 1, r > C, or an unknown `combine`.

    Example:
        >>> SpatialChannelSE(64)(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 64, 7, 7])
    """

    def __init__(self, channels: int, reduction: int = 2, combine: Combine = "max") -> None:
        require_choice("combine", combine, get_args(Combine))
        super().__init__()
        self.gate = ExcitationGate(channels, hidden_width(channels, reduction), bias=True)
        self.combine: Combine = combine
        self.spatial = nn.Sequential(nn.Conv2d(channels, 1, kernel_size=1), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        """Recalibrate U [N, C, H, W], of any float type; the result has the same shape and type."""
        channels: Tensor = self.gate(features)
        places: Tensor = self.spatial(features)
        by_channel, by_place = features * channels[:, :, None, None], features * places
        if self.combine == "max":
            return torch.maximum(by_channel, by_place)
        return by_channel + by_place
