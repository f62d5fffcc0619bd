"""Residual nets under torchvision's names, with room for an attention of any project.

Written from the papers and from the projects' descriptions, with plain layers, so that they know nothing of
the nets that they are compared with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Maker: TypeAlias = Callable[[int], nn.Module]
"""Channels -> what keeps the shape [N, C, H, W]."""

SpatialMaker: TypeAlias = Callable[[int, int], nn.Module]
"""(width, stride) -> what stands for a bottleneck's 3x3 convolution, its normalisation and its ReLU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one project's residual net is.

    Attributes:
        depths: blocks of each stage.
        basic: two 3x3 convolutions a block; else a bottleneck.
        groups: of a bottleneck's 3x3 convolution.
        base_width: channels of one group in the first stage.
        attention: the attribute that holds the attention of a block, and its maker; None: there is none.
        spatial: replaces a bottleneck's 3x3 convolution; None: nothing does.
        between: the attributes `NAME1`, `NAME2`, ... after each stage but the last; None: nothing is there.
        first_planes: the width of the first stage; it doubles from stage to stage.
        small_images: a 3x3 convolution instead of the 7x7 one and its pooling.
    """

    depths: Sequence[int]
    basic: bool = False
    groups: int = 1
    base_width: int = 64
    attention: tuple[str, Maker] | None = None
    spatial: SpatialMaker | None = None
    between: tuple[str, Maker] | None = None
    first_planes: int = 64
    small_images: bool = False

    @property
    def expansion(self) -> int:
        """Channels that come out of a block, for one of its planes."""
        return 1 if self.basic else 4


class Block(nn.Module):
    """relu(attention(branch(x)) + shortcut(x)), the stride on a 3x3 convolution."""

    def __init__(self, plan: Plan, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        out_channels = planes * plan.expansion
        if plan.basic:
            self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, padding=1, bias=False)
            self.conv2: nn.Module = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(planes), nn.BatchNorm2d(planes)
        else:
            width = int(planes * plan.base_width / 64) * plan.groups
            self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            if plan.spatial is None:
                self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=plan.groups, bias=False)
                self.bn2 = nn.BatchNorm2d(width)
            else:
                self.conv2 = plan.spatial(width, stride)
            self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out_channels)
        if plan.attention is not None:
            name, make = plan.attention
            self.add_module(name, make(out_channels))
        if stride > 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out_channels))
        self.plan = plan

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, C_in, H, W] to [N, C_out, H / stride, W / stride]."""
        branch = functional.relu(self.bn1(self.conv1(features)))
        branch = self.conv2(branch)
        if self.plan.spatial is None:
            branch = self.bn2(branch)
        if not self.plan.basic:
            branch = self.bn3(self.conv3(functional.relu(branch)))
        if self.plan.attention is not None:
            branch = self.get_submodule(self.plan.attention[0])(branch)
        return functional.relu(
            branch + (self.downsample(features) if hasattr(self, "downsample") else features)
        )


class ResNet(nn.Module):
    """Stem, stages and classifier: FP32 [N, 3, H, W] to logits [N, classes]."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        channels = plan.first_planes
        if plan.small_images:
            self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(3, channels, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        for stage, depth in enumerate(plan.depths):
            planes = plan.first_planes * 2**stage
            blocks = []
            for index in range(depth):
                stride = 2 if stage and not index else 1
                blocks.append(Block(plan, channels, planes, stride))
                channels = planes * plan.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            if plan.between is not None and stage + 1 < len(plan.depths):
                name, make = plan.between
                self.add_module(f"{name}{stage + 1}", make(channels))
        self.fc = nn.Linear(channels, classes)
        self.plan = plan

    def forward(self, images: Tensor) -> Tensor:
        """Classify normalised images."""
        features = functional.relu(self.bn1(self.conv1(images)))
        if not self.plan.small_images:
            features = functional.max_pool2d(features, 3, 2, padding=1)
        for stage in range(1, len(self.plan.depths) + 1):
            features = self.get_submodule(f"layer{stage}")(features)
            if self.plan.between is not None and stage < len(self.plan.depths):
                features = self.get_submodule(f"{self.plan.between[0]}{stage}")(features)
        logits: Tensor = self.fc(torch.flatten(functional.adaptive_avg_pool2d(features, 1), 1))
        return logits
