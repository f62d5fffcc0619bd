"""Squeeze-and-Excitation.

Hu, Shen, Albanie, Sun, Wu (2017), "Squeeze-and-Excitation Networks", arXiv:1709.01507 (equations of v4).

Deviations: none in the mathematics. The paper writes the two layers without biases, and its ablations have
none, while its released models have them: `bias` chooses. Both layers see a single pixel, so fully connected
layers and 1x1 convolutions compute the same: `form` chooses between the two layouts of the weights. The
paper's table 11 compares the squeeze by the mean, its standard, with the one by the maximum: `squeeze`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from torch import Tensor, nn

from model_store.nets.gate import ChannelGate, ChannelScale, require_choice, require_positive

Squeeze: TypeAlias = Literal["mean", "max"]
"""What a channel's plane becomes: its mean (equation 2) or its largest value."""


def hidden_width(channels: int, reduction: int, minimum: int = 1) -> int:
    """Return the units between the two layers, floor(C / r), but no fewer than `minimum`.

    Raises:
        ValueError: a number is below 1, or r > C, which would leave no unit and gates stuck at their biases.
    """
    require_positive(channels=channels, reduction=reduction, minimum=minimum)
    if reduction > channels:
        raise ValueError(f"reduction must be at most the number of channels, {channels}, got {reduction}")
    return max(channels // reduction, minimum)


def _linear(inputs: int, outputs: int, bias: bool) -> nn.Module:  # noqa: FBT001 # one signature for both
    """Return a fully connected layer."""
    return nn.Linear(inputs, outputs, bias=bias)


def _conv(inputs: int, outputs: int, bias: bool) -> nn.Module:  # noqa: FBT001 # as above
    """Return a 1x1 convolution."""
    return nn.Conv2d(inputs, outputs, kernel_size=1, bias=bias)


FORMS: Mapping[str, Callable[[int, int, bool], nn.Module]] = MappingProxyType(
    {"linear": _linear, "conv": _conv}
)
_FORM_OF_RANK: Mapping[int, str] = MappingProxyType({2: "linear", 4: "conv"})


class ExcitationGate(ChannelGate):
    """s = sigmoid(W2 relu(W1 z)), equation 3, with z the squeezed features; W1 [C/r, C], W2 [C, C/r].

    Args:
        channels: C.
        hidden: units between the two layers, C / r.
        bias: whether both layers have biases.
        form: "linear", or "conv", whose W1 is [C/r, C, 1, 1] and W2 [C, C/r, 1, 1].
        squeeze: how z comes from the features.

    Raises:
        ValueError: a number is below 1, or the form or the squeeze is unknown.
    """

    def __init__(
        self, channels: int, hidden: int, *, bias: bool, form: str = "linear", squeeze: Squeeze = "mean"
    ) -> None:
        super().__init__(channels)
        require_positive(hidden=hidden)
        require_choice("form", form, FORMS)
        require_choice("squeeze", squeeze, get_args(Squeeze))
        self.form = form
        self.squeeze: Squeeze = squeeze
        self.fc1 = FORMS[form](channels, hidden, bias)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = FORMS[form](hidden, channels, bias)
        self.sigmoid = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Map u [N, C, H, W] to s [N, C] in (0, 1)."""
        squeezed = features.amax((2, 3)) if self.squeeze == "max" else features.mean((2, 3))
        if self.form == "conv":
            squeezed = squeezed[:, :, None, None]
        gates: Tensor = self.sigmoid(self.fc2(self.relu(self.fc1(squeezed))))
        return gates.flatten(1)

    def _resized(self, shapes: Mapping[str, tuple[int, ...]]) -> ChannelGate | None:
        """Read the hidden width, the biases and the form."""
        shape = shapes.get("fc1.weight", ())
        form = _FORM_OF_RANK.get(len(shape))
        if form is None:
            return None
        bias = "fc1.bias" in shapes
        return ExcitationGate(self.channels, shape[0], bias=bias, form=form, squeeze=self.squeeze)


class SqueezeExcitation(ChannelScale):
    """The SE block: squeeze (equation 2), excitation (3) and scale (4) of features [N, C, H, W].

    Args:
        channels: C.
        reduction: r, 1 to C; the hidden width is floor(C / r).
        bias: whether both layers have biases.
        form: "linear" or "conv", the layout of the weights.
        squeeze: "mean" or "max" of each channel.
        minimum: the lower limit of the hidden width; it does not admit r > C.

    Raises:
        ValueError: a number out of its range, or an unknown form or squeeze.

    Example:
        >>> import torch
        >>> SqueezeExcitation(64, reduction=16)(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 64, 7, 7])
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        *,
        bias: bool = True,
        form: str = "linear",
        squeeze: Squeeze = "mean",
        minimum: int = 1,
    ) -> None:
        hidden = hidden_width(channels, reduction, minimum)
        super().__init__(ExcitationGate(channels, hidden, bias=bias, form=form, squeeze=squeeze))
