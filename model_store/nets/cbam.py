"""Convolutional Block Attention Module.

Woo, Park, Lee, Kweon (2018), "CBAM: Convolutional Block Attention Module", arXiv:1807.06521.

Built as in the authors' released code, whose weights people have. It differs from the paper's text in two
points: the 7x7 convolution sees the maximum over channels first and the mean second (equation 3 has them the
other way round), and a batch normalisation follows it instead of a bias. The shapes of the weights are the
same either way, so other implementations' weights must be reordered.
"""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model_store.nets.gate import ChannelGate, require_positive
from model_store.nets.se import hidden_width


class SharedExcitationGate(ChannelGate):
    """Mc = sigmoid(MLP(mean) + MLP(max)), equation 2; the two squeezes share W0 [C/r, C] and W1 [C, C/r].

    Args:
        channels: C.
        hidden: units between the two layers, C / r.
        bias: whether both layers have biases.

    Raises:
        ValueError: a number is below 1.
    """

    def __init__(self, channels: int, hidden: int, *, bias: bool) -> None:
        super().__init__(channels)
        require_positive(hidden=hidden)
        self.fc1 = nn.Linear(channels, hidden, bias=bias)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(hidden, channels, bias=bias)
        self.sigmoid = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Map F [N, C, H, W] to Mc [N, C] in (0, 1)."""
        of_mean = self.fc2(self.relu(self.fc1(features.mean((2, 3)))))
        of_maximum = self.fc2(self.relu(self.fc1(features.amax((2, 3)))))
        gates: Tensor = self.sigmoid(of_mean + of_maximum)
        return gates

    def _resized(self, shapes: Mapping[str, tuple[int, ...]]) -> ChannelGate | None:
        """Read the hidden width and the biases."""
        match shapes.get("fc1.weight"):
            case (hidden, _):
                return SharedExcitationGate(self.channels, hidden, bias="fc1.bias" in shapes)
        return None


class ConvolutionalBlockAttention(nn.Module):
    """CBAM: features [N, C, H, W] times Mc channel by channel, and that times Ms place by place (equation 1).

    Its gate is Mc, which is exactly what the features are multiplied by first; the weights of the places,
    Ms [N, 1, H, W], are not among the gates.

    Args:
        channels: C.
        reduction: r, 1 to C; the hidden width of Mc is floor(C / r).
        bias: whether both layers of Mc have biases, as in the authors' code.

    Raises:
        ValueError: a number is below 1, or r > C.

    Example:
        >>> ConvolutionalBlockAttention(64)(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 64, 7, 7])
    """

    def __init__(self, channels: int, reduction: int = 16, *, bias: bool = True) -> None:
        super().__init__()
        self.gate = SharedExcitationGate(channels, hidden_width(channels, reduction), bias=bias)
        self.spatial = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv=nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False),
                bn=nn.BatchNorm2d(1, momentum=0.01),  # the authors' momentum
                sigmoid=nn.Sigmoid(),
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """Refine F [N, C, H, W], of any float type; the result has the same shape and type."""
        channels: Tensor = self.gate(features)
        refined = features * channels[:, :, None, None]
        summary = torch.cat((refined.amax(1, keepdim=True), refined.mean(1, keepdim=True)), dim=1)
        places: Tensor = self.spatial(summary)
        return refined * places
