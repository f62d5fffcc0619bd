"""Squeeze-and-Excitation.

Hu, Shen, Albanie, Sun, Wu (2017), "Squeeze-and-Excitation Networks", arXiv:1709.01507 (equations of v4).

Deviations: none in the mathematics. The paper writes the two layers without biases, and its ablations have
none, while its released models have them: `bias` chooses. Both layers see a single pixel, so fully connected
layers and 1x1 convolutions compute the same: `form` chooses between the two layouts of the weights.
"""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor, nn

from model_store.nets.gate import ChannelGate, ChannelScale, require_positive


def hidden_width(channels: int, reduction: int) -> int:
    """Return the units between the two layers, floor(C / r).

    Raises:
        ValueError: a number is below 1, or r > C, which would leave no unit and gates stuck at their biases.
    """
    require_positive(channels=channels, reduction=reduction)
    if reduction > channels:
        raise ValueError(f"reduction must be at most the number of channels, {channels}, got {reduction}")
    return channels // reduction


class LinearGate(ChannelGate):
    """s = sigmoid(W2 relu(W1 z)), equation 3, by fully connected layers: W1 [C/r, C], W2 [C, C/r]."""

    def __init__(self, channels: int, reduction: int, *, bias: bool) -> None:
        super().__init__(channels)
        hidden = hidden_width(channels, reduction)
        self.fc1 = nn.Linear(channels, hidden, bias=bias)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(hidden, channels, bias=bias)
        self.sigmoid = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Map u [N, C, H, W] to s [N, C] in (0, 1)."""
        squeezed = features.mean((2, 3))  # equation 2
        gates: Tensor = self.sigmoid(self.fc2(self.relu(self.fc1(squeezed))))
        return gates


class ConvGate(ChannelGate):
    """The same gate by 1x1 convolutions: W1 [C/r, C, 1, 1], W2 [C, C/r, 1, 1]."""

    def __init__(self, channels: int, reduction: int, *, bias: bool) -> None:
        super().__init__(channels)
        hidden = hidden_width(channels, reduction)
        self.fc1 = nn.Conv2d(channels, hidden, kernel_size=1, bias=bias)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, channels, kernel_size=1, bias=bias)
        self.sigmoid = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Map u [N, C, H, W] to s [N, C] in (0, 1)."""
        squeezed = features.mean((2, 3), keepdim=True)  # equation 2
        gates: Tensor = self.sigmoid(self.fc2(self.relu(self.fc1(squeezed))))
        return gates.flatten(1)


FORMS: Mapping[str, type[LinearGate | ConvGate]] = MappingProxyType({"linear": LinearGate, "conv": ConvGate})


class SqueezeExcitation(ChannelScale):
    """The SE block: squeeze (equation 2), excitation (3) and scale (4) of features [N, C, H, W].

    Args:
        channels: C.
        reduction: r, 1 to C; the hidden width is floor(C / r).
        bias: whether both layers have biases.
        form: "linear" or "conv", the layout of the weights.

    Raises:
        ValueError: a number out of its range, or an unknown form.

    Example:
        >>> import torch
        >>> SqueezeExcitation(64, reduction=16)(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 64, 7, 7])
    """

    def __init__(
        self, channels: int, reduction: int = 16, *, bias: bool = True, form: str = "linear"
    ) -> None:
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
        super().__init__(FORMS[form](channels, reduction, bias=bias))
