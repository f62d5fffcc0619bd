"""Channel attention in a fused net, in as few passes over memory as can be.

A residual block is relu(s * u + r), with u = W x + b a 1x1 convolution, s [N, C] its gates, r the residual.
Without attention it is a single pass. There are two ways to have the gates in it:

- `WeightedSum`: s * (W x + b) = (s W) x + s b, so each image gets weights of its own, and its block remains a
  single pass, which writes over its slice of r. It costs a pass over W, C * I numbers an image.
- `ScaledSum`: the convolution writes u, then r + s * u and its ReLU are two more passes, over C * H * W
  numbers an image.

So the first is better where maps are large and weights few, which is so in the early stages of a net;
`PLACES_PER_CHANNEL` is the place of the crossing.
"""

import torch
from torch import Tensor, nn

from model_store.fuse.convolution import bias_of, plane_means

PLACES_PER_CHANNEL = 4
"""H * W / I from which `WeightedSum` is used. Measured in bfloat16 for 8 images and for one: at 56x56 places
of 64 channels (ratio 49) it takes 0.8 of `ScaledSum`'s time, at 28x28 of 128 (6) as long or a little less, at
14x14 of 256 (0.8) 1.3 times as long."""


class Scale(nn.Module):
    """Features times their gates.

    Args:
        head: from means to gates.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.overwrites = False

    def forward(self, features: Tensor, squeezed: Tensor) -> Tensor:
        """Scale features [N, C, H, W] by the gates that come from `squeezed` [N, I, h, w].

        Where the features are not needed later (`overwrites`), the result takes their place.
        """
        gates = self.head(means_of(squeezed))[:, :, None, None]
        return features.mul_(gates) if self.overwrites else features * gates


class ScaledSum(nn.Module):
    """Features times their gates, plus a residual, and ReLU where one follows.

    Args:
        head: from means to gates.
        relu: whether one follows.
    """

    def __init__(self, head: nn.Module, *, relu: bool) -> None:
        super().__init__()
        self.head = head
        self.relu = relu
        self.overwrites = False

    def forward(self, residual: Tensor, features: Tensor, squeezed: Tensor) -> Tensor:
        """Return residual + gates * features, [N, C, H, W]; the gates come from `squeezed` [N, I, h, w].

        Where the residual is not needed later (`overwrites`), the result takes its place.
        """
        gates = self.head(means_of(squeezed))[:, :, None, None]
        if self.overwrites:
            output = residual.addcmul_(features, gates)
        else:
            output = torch.addcmul(residual, features, gates)
        return output.relu_() if self.relu else output


class WeightedSum(nn.Module):
    """A 1x1 convolution whose weights are multiplied by the gates, plus a residual, and ReLU.

    Args:
        head: from means of the convolution's input to gates.
        conv: its weights, with batch normalisation and bias.
        activation: "relu", or None.
        dtype: of weights and features.
    """

    def __init__(self, head: nn.Module, conv: nn.Conv2d, activation: str | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.head = head
        self.weight = nn.Buffer(conv.weight.detach().to(dtype))
        self.bias = nn.Buffer(bias_of(conv).to(dtype))
        self.activation = activation
        self.overwrites = False

    def forward(self, residual: Tensor, features: Tensor) -> Tensor:
        """Map a residual [N, C, H, W] and features [N, I, H, W] to [N, C, H, W], all channels_last.

        Where the residual is not needed later (`overwrites`), the result takes its place.
        """
        gates = self.head(means_of(features))
        weights = self.weight * gates[:, :, None, None, None]
        biases = self.bias * gates
        if not self.overwrites:
            residual = residual.clone(memory_format=torch.channels_last)
        for image in range(features.size(0)):
            torch.ops.mkldnn._convolution_pointwise_(
                residual.narrow(0, image, 1),
                features.narrow(0, image, 1),
                weights[image],
                biases[image],
                [0, 0],
                [1, 1],
                [1, 1],
                1,
                "add",
                1.0,
                self.activation,
                [],
                None,
            )
        return residual


class Selection(nn.Module):
    """The SK convolution with two branches: b + s * (a - b), with s the gates of the first.

    Args:
        first: of the branch a, with its ReLU.
        second: of b.
        head: from the means of a + b to s.
        split: whether each branch sees only its half of the input channels.
    """

    def __init__(self, first: nn.Module, second: nn.Module, head: nn.Module, *, split: bool) -> None:
        super().__init__()
        self.first = first
        self.second = second
        self.head = head
        self.split = split

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, I, H, W], channels_last, to [N, C, H', W'], channels_last."""
        seen = [features, features]
        if self.split:
            half = features.size(1) // 2
            seen = [
                features.narrow(1, start, half).contiguous(memory_format=torch.channels_last)
                for start in [0, half]
            ]
        first = self.first(seen[0])
        second = self.second(seen[1])
        gates = self.head(means_of(first).add_(means_of(second)))  # mean(a + b), without a + b
        output: Tensor = second.lerp_(first, gates[:, :, None, None])
        return output


def means_of(features: Tensor) -> Tensor:
    """Return the means [N, C] of the planes of features [N, C, H, W]."""
    return plane_means(features).flatten(1)
