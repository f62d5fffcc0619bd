"""SE's own nets as Cadene/pretrained-models.pytorch names them: `layer0`, `se_module`, `last_linear`.

They follow the released Caffe definitions: the pooling of the stem is not padded but rounds up, and an
SE-ResNet has a bottleneck's stride on the first 1x1 convolution.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which net of the family.

    Attributes:
        kind: of the blocks: "resnet" (SE-ResNet), "resnext" (SE-ResNeXt 32x4d), "senet" (SENet-154).
        depths: blocks of each stage.
    """

    kind: Literal["resnet", "resnext", "senet"]
    depths: Sequence[int]


class _SE(nn.Module):
    """1x1 convolutions `fc1` and `fc2` with biases, r = 16."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(features, 1)
        return features * torch.sigmoid(self.fc2(functional.relu(self.fc1(pooled))))


class _Block(nn.Module):
    def __init__(self, kind: str, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        first, width, groups = {
            "resnet": (planes, planes, 1),
            "resnext": (planes * 2, planes * 2, 32),  # 32 groups of 4 channels where there are 64 planes
            "senet": (planes * 2, planes * 4, 64),
        }[kind]
        out_channels = planes * 4
        on_first, on_second = (stride, 1) if kind == "resnet" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, first, 1, on_first, bias=False)
        self.conv2 = nn.Conv2d(first, width, 3, on_second, padding=1, groups=groups, bias=False)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(c) for c in (first, width, out_channels))
        self.se_module = _SE(out_channels)
        self.downsample: nn.Module | None = None
        if stride > 1 or in_channels != out_channels:
            size = 3 if kind == "senet" and stride > 1 else 1
            conv = nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out_channels))

    def forward(self, features: Tensor) -> Tensor:
        branch = functional.relu(self.bn1(self.conv1(features)))
        branch = functional.relu(self.bn2(self.conv2(branch)))
        branch = self.se_module(self.bn3(self.conv3(branch)))
        return functional.relu(branch + (features if self.downsample is None else self.downsample(features)))


class SENet(nn.Module):
    """FP32 [N, 3, H, W] to logits [N, classes]."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        sizes = [(3, 64, 3, 2), (64, 64, 3, 1), (64, 128, 3, 1)] if plan.kind == "senet" else [(3, 64, 7, 2)]
        stem: OrderedDict[str, nn.Module] = OrderedDict()
        for index, (taken, given, size, stride) in enumerate(sizes, start=1):
            stem[f"conv{index}"] = nn.Conv2d(taken, given, size, stride, padding=size // 2, bias=False)
            stem[f"bn{index}"] = nn.BatchNorm2d(given)
            stem[f"relu{index}"] = nn.ReLU()
        stem["pool"] = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.layer0 = nn.Sequential(stem)
        channels = sizes[-1][1]
        for stage, depth in enumerate(plan.depths):
            blocks = []
            for index in range(depth):
                stride = 2 if stage and not index else 1
                blocks.append(_Block(plan.kind, channels, 64 * 2**stage, stride))
                channels = 64 * 2**stage * 4
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.last_linear = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify normalised images."""
        features = self.layer0(images)
        for stage in range(1, 5):
            features = self.get_submodule(f"layer{stage}")(features)
        logits: Tensor = self.last_linear(functional.adaptive_avg_pool2d(features, 1).flatten(1))
        return logits
