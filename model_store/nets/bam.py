"""Bottleneck Attention Module.

Park, Woo, Lee, Kweon (2018), "BAM: Bottleneck Attention Module", arXiv:1807.06514.

Built as in the authors' released code, whose weights people have. It differs from the paper's text in two
points: the logits of channels and of places are multiplied, M = sigmoid(Mc * Ms), where equation 2 adds them;
and batch normalisation follows each hidden layer, where equations 3 and 4 have one at the end of each branch.
A BAM stands between the stages of a net, not in its blocks.
"""

from collections import OrderedDict

from torch import Tensor, nn

from model_store.nets.gate import ChannelGate, require_positive
from model_store.nets.se import hidden_width


class PlaceMeanGate(ChannelGate):
    """What BAM does to a channel on average: the mean of M over the places."""

    def forward(self, weights: Tensor) -> Tensor:
        """Map M [N, C, H, W] to [N, C] in (0, 1)."""
        return weights.mean((2, 3))


class BottleneckAttention(nn.Module):
    """BAM: F' = F * (1 + M), with M = sigmoid(Mc * Ms) of the features F [N, C, H, W].

    M differs from place to place. Its gate reports the mean of M over the places, [N, C] in (0, 1), to which
    1 is added; it takes no part in the result.

    Args:
        channels: C.
        reduction: r, 1 to C; both branches have floor(C / r) hidden units.
        dilation: d, of the 3x3 convolutions over the places.

    Raises:
        ValueError: a number is below 1, or r > C.

    Example:
        >>> import torch
        >>> BottleneckAttention(64)(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 64, 7, 7])
    """

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        require_positive(dilation=dilation)
        hidden = hidden_width(channels, reduction)
        self.channel = _channel_branch(channels, hidden)
        self.spatial = _spatial_branch(channels, hidden, dilation)
        self.sigmoid = nn.Sigmoid()
        self.gate = PlaceMeanGate(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Refine F [N, C, H, W], of any float type; the result has the same shape and type."""
        channel: Tensor = self.channel(features.mean((2, 3)))  # Mc [N, C]
        weights: Tensor = self.sigmoid(channel[:, :, None, None] * self.spatial(features))
        self.gate(weights)
        return features * (1 + weights)


def _channel_branch(channels: int, hidden: int) -> nn.Sequential:
    """Return Mc: the channels' means [N, C] to logits [N, C]."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            fc1=nn.Linear(channels, hidden),
            bn=nn.BatchNorm1d(hidden),
            relu=nn.ReLU(inplace=True),
            fc2=nn.Linear(hidden, channels),
        )
    )


def _spatial_branch(channels: int, hidden: int, dilation: int) -> nn.Sequential:
    """Return Ms: features [N, C, H, W] to logits [N, 1, H, W]."""

    def wide() -> nn.Conv2d:
        return nn.Conv2d(hidden, hidden, kernel_size=3, padding=dilation, dilation=dilation)

    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv0=nn.Conv2d(channels, hidden, kernel_size=1),
            bn0=nn.BatchNorm2d(hidden),
            relu0=nn.ReLU(inplace=True),
            conv1=wide(),
            bn1=nn.BatchNorm2d(hidden),
            relu1=nn.ReLU(inplace=True),
            conv2=wide(),
            bn2=nn.BatchNorm2d(hidden),
            relu2=nn.ReLU(inplace=True),
            conv3=nn.Conv2d(hidden, 1, kernel_size=1),
        )
    )
