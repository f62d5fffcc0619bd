"""MobileNetV2, which takes a channel attention.

Sandler, Howard, Zhu, Zhmoginov, Chen (2018), "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
arXiv:1801.04381.
The attention stands as in Wang et al. (2019), arXiv:1910.03151: after the last normalisation of each block,
before the sum, in the blocks without a sum, too.

Parts are named and shaped as in torchvision, so that the weights of its plain net load unchanged.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from model_store.nets.gate import require_positive
from model_store.nets.residual import AttentionFactory
from model_store.nets.resnet import initialise

STEM_WIDTH: Final = 32
LAST_WIDTH: Final = 1280
DROPOUT: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Blocks of one width: a line of table 2 of the paper.

    Attributes:
        expansion: t, how many times wider than its input a block is inside.
        channels: c, that come out of each block.
        depth: n, the number of blocks.
        stride: s, of the first block; the others have 1.
    """

    expansion: int
    channels: int
    depth: int
    stride: int


STAGES: Final = tuple(
    Stage(expansion=t, channels=c, depth=n, stride=s)
    for t, c, n, s in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
)


class InvertedResidual(nn.Module):
    """A block attention(F(x)) + x, with F wide inside and narrow at its ends.

    F is a 1x1 convolution that widens (left out where it would not), a 3x3 one that sees each channel by
    itself, and a 1x1 one that narrows, without activation after it ("linear"). There is a sum only where the
    block keeps the shape.

    Args:
        in_channels: of the features that go in.
        stage: the block's expansion and the channels that come out; its depth and stride are not used.
        stride: of the 3x3 convolution.
        attention: made for the channels that come out; None: none is.
    """

    def __init__(
        self, in_channels: int, stage: Stage, stride: int, attention: AttentionFactory | None = None
    ) -> None:
        super().__init__()
        hidden = in_channels * stage.expansion
        layers = [conv_norm_relu6(in_channels, hidden, 1)] if hidden != in_channels else []
        layers.append(conv_norm_relu6(hidden, hidden, 3, stride=stride, groups=hidden))
        layers.append(nn.Conv2d(hidden, stage.channels, kernel_size=1, bias=False))
        layers.append(nn.BatchNorm2d(stage.channels))
        self.conv = nn.Sequential(*layers)
        self.attention = nn.Identity() if attention is None else attention(stage.channels)
        self.has_sum = stride == 1 and in_channels == stage.channels

    def forward(self, features: Tensor) -> Tensor:
        """Map `features` [N, in_channels, H, W] to [N, channels, ceil(H / stride), ceil(W / stride)]."""
        output: Tensor = self.attention(self.conv(features))
        return output + features if self.has_sum else output


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetV2:
    """A recipe of MobileNetV2 at width 1.0; `build` makes one.

    Attributes:
        attention: made for the channels that each of the 17 blocks gives; None: none is.
    """

    attention: AttentionFactory | None = None

    def build(self, classes: int) -> nn.Sequential:
        """Make the net with fresh weights: normalised images FP32 [N, 3, H, W] to logits [N, classes].

        Raises:
            ValueError: `classes` is below 1.
        """
        require_positive(classes=classes)
        classifier = nn.Linear(LAST_WIDTH, classes)
        nn.init.normal_(classifier.weight, std=0.01)
        nn.init.zeros_(classifier.bias)
        net = nn.Sequential(
            OrderedDict[str, nn.Module](
                features=nn.Sequential(
                    conv_norm_relu6(3, STEM_WIDTH, 3, stride=2),
                    *self._blocks(),
                    conv_norm_relu6(STAGES[-1].channels, LAST_WIDTH, 1),
                ),
                avgpool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                classifier=nn.Sequential(nn.Dropout(DROPOUT), classifier),
            )
        )
        net.apply(initialise)
        return net

    def _blocks(self) -> Iterator[InvertedResidual]:
        """Give the blocks in forward order."""
        channels = STEM_WIDTH
        for stage in STAGES:
            for index in range(stage.depth):
                yield InvertedResidual(channels, stage, 1 if index else stage.stride, self.attention)
                channels = stage.channels


def conv_norm_relu6(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1
) -> nn.Module:
    """Return a convolution without bias that keeps the size but for the stride, normalisation and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )
