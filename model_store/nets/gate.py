"""What every channel-attention block has in common: one module that yields the gates.

Rules of this package, on which the `attention` output of a net relies:

- an attention block holds exactly one `ChannelGate`;
- what that gate returns is exactly what the block multiplies its features by. Where a block goes on to weigh
  places, too (CBAM, scSE, BAM), it says what its gate stands for.

So hooks on a net's `ChannelGate` modules, in forward order, see all of its attention, whatever the paper.
"""

from collections.abc import Collection, Mapping

from torch import Tensor, nn


class ChannelGate(nn.Module):
    """Base of the modules that turn features [N, C, H, W] into gates [N, branches * C], branch-major.

    Branch-major: the first C columns belong to the first branch.

    Args:
        channels: C, at least 1.
        branches: how many feature maps compete for a channel: 1 where a gate only scales (SE, ECA), M for SK.

    Raises:
        ValueError: a number is below 1.
    """

    channels: int
    branches: int

    def __init__(self, channels: int, branches: int = 1) -> None:
        super().__init__()
        require_positive(channels=channels, branches=branches)
        self.channels = channels
        self.branches = branches

    def fitted(self, shapes: Mapping[str, tuple[int, ...]]) -> "ChannelGate":
        """Return a gate of this kind for weights of these shapes: its settings are read from them.

        What one kind of attention leaves open (hidden width, kernel size, biases) shows in the shapes of its
        weights, so a checkpoint need not be told which were chosen.

        Args:
            shapes: the shape of each weight, under this gate's own names for them.

        Returns:
            This very gate where it fits already, or where no settings would make it fit; else a fresh one.

        Raises:
            ValueError: the weights ask for a setting that this kind refuses: no hidden unit, an even kernel.
        """
        if _fits(self, shapes):
            return self
        candidate = self._resized(shapes)
        if candidate is None or not _fits(candidate, shapes):
            return self
        return candidate.train(self.training)

    def _resized(self, shapes: Mapping[str, tuple[int, ...]]) -> "ChannelGate | None":
        """Return a gate of this kind with the settings that `shapes` show; None where they show none."""
        del shapes
        return None


class ChannelScale(nn.Module):
    """Features rescaled channel by channel: y_c = s_c * u_c.

    Args:
        gate: maps features [N, C, H, W] to s [N, C].
    """

    def __init__(self, gate: ChannelGate) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, features: Tensor) -> Tensor:
        """Rescale u [N, C, H, W], of any float type; the result has the same shape and type."""
        gates: Tensor = self.gate(features)
        return features * gates[:, :, None, None]


def require_positive(**numbers: int) -> None:
    """Refuse the first of the named numbers that is below 1.

    Raises:
        ValueError: naming the parameter, its value and the rule.
    """
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def require_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Refuse a value that is not among the choices.

    Raises:
        ValueError: naming the parameter, its value and the choices.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _fits(gate: ChannelGate, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell whether these are the shapes of a gate's weights: of all of them, and of no others."""
    own = {name: tuple(value.shape) for name, value in gate.state_dict().items()}
    # A normalisation layer's count of batches is the only scalar, and many checkpoints leave it out.
    return {n: s for n, s in own.items() if s} == {n: tuple(s) for n, s in shapes.items() if s}
