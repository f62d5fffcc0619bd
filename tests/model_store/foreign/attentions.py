"""The attentions of several projects, under the names that they have there.

Sources: moskomule/senet.pytorch, BangguWu/ECANet, Jongchan/attention-module, the SKNet of many third parties
(M lists of layers), and the small classes that articles about these papers print.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def _gated(features: Tensor, gates: Tensor) -> Tensor:
    """Rescale [N, C, H, W] by logits [N, C]."""
    return features * torch.sigmoid(gates)[:, :, None, None]


def _pooled(features: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C]."""
    return functional.adaptive_avg_pool2d(features, 1).flatten(1)


class FcSE(nn.Module):
    """moskomule's SE: `fc.0` and `fc.2`, without biases."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Rescale the channels."""
        return _gated(features, self.fc(_pooled(features)))


class ExcitationSE(nn.Module):
    """An article's SE: 1x1 convolutions `excitation.0` and `excitation.2`, without biases."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        self.excitation = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Rescale the channels."""
        return features * torch.sigmoid(self.excitation(functional.adaptive_avg_pool2d(features, 1)))


class TwoLayerSE(nn.Module):
    """Another article's SE: `fc1` and `fc2`, without biases unless asked for."""

    def __init__(self, channels: int, reduction: int = 16, *, bias: bool = False) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // reduction, bias=bias)
        self.fc2 = nn.Linear(channels // reduction, channels, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """Rescale the channels."""
        return _gated(features, self.fc2(functional.relu(self.fc1(_pooled(features)))))


class ConvECA(nn.Module):
    """ECA as its authors and the articles have it: `conv` alone, k taps that slide along the channels."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=(kernel_size - 1) // 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Rescale the channels."""
        return _gated(features, self.conv(_pooled(features)[:, None])[:, 0])


class _MeanAndMaxGate(nn.Module):
    """CBAM's channels: one perceptron, `mlp.1` and `mlp.3`, sees their means and their maxima."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = channels // reduction
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        mean, largest = (
            functional.adaptive_avg_pool2d(features, 1),
            functional.adaptive_max_pool2d(features, 1),
        )
        return _gated(features, self.mlp(mean) + self.mlp(largest))


class _PlaceGate(nn.Module):
    """CBAM's places: a 7x7 convolution of the channels' maximum and mean, `spatial.conv` and `spatial.bn`."""

    def __init__(self, *, mean_first: bool) -> None:
        super().__init__()
        self.spatial = nn.Sequential()
        self.spatial.add_module("conv", nn.Conv2d(2, 1, 7, padding=3, bias=False))
        self.spatial.add_module("bn", nn.BatchNorm2d(1))
        self.mean_first = mean_first

    def forward(self, features: Tensor) -> Tensor:
        maps = [features.amax(1, keepdim=True), features.mean(1, keepdim=True)]
        if self.mean_first:
            maps.reverse()
        return features * torch.sigmoid(self.spatial(torch.cat(maps, 1)))


class CBAM(nn.Module):
    """The authors' CBAM: `ChannelGate`, then `SpatialGate`.

    Args:
        channels: C.
        mean_first: the order of the two maps that the paper's text gives; its code has the maximum first.
    """

    def __init__(self, channels: int, *, mean_first: bool = False) -> None:
        super().__init__()
        self.ChannelGate = _MeanAndMaxGate(channels, 16)
        self.SpatialGate = _PlaceGate(mean_first=mean_first)

    def forward(self, features: Tensor) -> Tensor:
        """Rescale the channels, then the places."""
        rescaled: Tensor = self.SpatialGate(self.ChannelGate(features))
        return rescaled


class BAM(nn.Module):
    """The authors' BAM: `channel_att` times `spatial_att` (the paper adds them), squashed, plus 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        layers = [
            ("channel_att", "gate_c", "gate_c_fc_0", nn.Linear(channels, hidden)),
            ("channel_att", "gate_c", "gate_c_bn_1", nn.BatchNorm1d(hidden)),
            ("channel_att", "gate_c", "relu", nn.ReLU()),
            ("channel_att", "gate_c", "gate_c_fc_final", nn.Linear(hidden, channels)),
            ("spatial_att", "gate_s", "gate_s_conv_reduce0", nn.Conv2d(channels, hidden, 1)),
            ("spatial_att", "gate_s", "gate_s_bn_reduce0", nn.BatchNorm2d(hidden)),
            ("spatial_att", "gate_s", "relu", nn.ReLU()),
        ]
        for index in range(2):
            conv = nn.Conv2d(hidden, hidden, 3, padding=4, dilation=4)
            layers.append(("spatial_att", "gate_s", f"gate_s_conv_di_{index}", conv))
            layers.append(("spatial_att", "gate_s", f"gate_s_bn_di_{index}", nn.BatchNorm2d(hidden)))
            layers.append(("spatial_att", "gate_s", f"relu_di_{index}", nn.ReLU()))
        layers.append(("spatial_att", "gate_s", "gate_s_conv_final", nn.Conv2d(hidden, 1, 1)))
        for half, chain, name, layer in layers:
            if not hasattr(self, half):
                self.add_module(half, nn.Module())
                self.get_submodule(half).add_module(chain, nn.Sequential())
            self.get_submodule(f"{half}.{chain}").add_module(name, layer)

    def forward(self, features: Tensor) -> Tensor:
        """Add a share of each value to it."""
        channels = self.get_submodule("channel_att.gate_c")(_pooled(features))[:, :, None, None]
        places = self.get_submodule("spatial_att.gate_s")(features)
        return features * (1 + torch.sigmoid(channels * places))


class ListsSK(nn.Module):
    """A third party's SK: `convs.M` branches, `fc` and one layer `fcs.M` for each branch.

    Args:
        channels: C.
        stride: of every branch.
        groups: G.
        bias: whether the layers `fcs` have biases, which the paper's have not.
    """

    def __init__(self, channels: int, stride: int, *, groups: int = 32, bias: bool = False) -> None:
        super().__init__()
        hidden = max(channels // 16, 32)
        self.convs = nn.ModuleList()
        self.fcs = nn.ModuleList()
        for dilation in (1, 2):
            conv = nn.Conv2d(channels, channels, 3, stride, dilation, dilation, groups, bias=False)
            self.convs.append(nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU()))
            self.fcs.append(nn.Conv2d(hidden, channels, 1, bias=bias))
        self.fc = nn.Sequential(nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        """Let the branches compete for each channel."""
        branches = [conv(features) for conv in self.convs]
        compact = self.fc(functional.adaptive_avg_pool2d(sum(branches), 1))
        shares = torch.stack([layer(compact) for layer in self.fcs]).softmax(0)
        return (torch.stack(branches) * shares).sum(0)
