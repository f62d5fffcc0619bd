"""MobileNetV2 with ECA as BangguWu/ECANet has it, named as in the first torchvision releases.

Sandler, Howard, Zhu, Zhmoginov, Chen (2018), "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
arXiv:1801.04381, table 2. The attention is the last part of each block's `conv`.
"""

from torch import Tensor, nn

from tests.model_store.foreign.attentions import ConvECA

# expansion, channels, blocks, stride of the first: table 2 of the paper
_TABLE = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_WIDE = 96  # from so many channels on, its authors take three taps instead of one


def _conv(in_channels: int, out_channels: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU6())


class _Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_conv(in_channels, hidden, 1)]
        layers += [
            _conv(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            ConvECA(1 if out_channels < _WIDE else 3),
        ]
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        branch: Tensor = self.conv(features)
        return features + branch if self.adds else branch


class ECAMobileNetV2(nn.Module):
    """FP32 [N, 3, H, W] to logits [N, classes]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        channels = 32
        parts: list[nn.Module] = [_conv(3, channels, 3, 2)]
        for expansion, width, depth, stride in _TABLE:
            for index in range(depth):
                parts.append(_Block(channels, width, 1 if index else stride, expansion))
                channels = width
        parts.append(_conv(channels, 1280, 1))
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Sequential(nn.Dropout(0.25), nn.Linear(1280, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Classify normalised images."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits
