"""Grouped convolutions that a processor's vectors like better."""

import torch
from torch import Tensor

NARROWEST = 8
"""Input channels of a group below which oneDNN's grouped kernels are slower than with twice as many, half of
them zeros. Measured in bfloat16 on 8 images of 128 channels, 56x56: 2.06 ms in groups of 4, 1.62 ms in groups
of 8. Groups of 8 and more gain nothing, and a group of a single channel has a kernel of its own."""


def regrouped(weight: Tensor, groups: int) -> tuple[Tensor, int]:
    """Join narrow groups, with zeros between what does not belong together.

    Args:
        weight: [O, I / groups, h, w].
        groups: how many; each sees I / groups channels.

    Returns:
        Weights and groups of the same convolution.
    """
    outputs, width, height, across = weight.shape
    joined = max(NARROWEST // width, 1)
    if width == 1 or groups % joined:
        return weight, groups
    # [remaining groups, group within, O of a group, I of a group, ...]
    blocks = weight.reshape(groups // joined, joined, -1, width, height, across)
    wide = torch.zeros(*blocks.shape[:3], joined, width, height, across, dtype=weight.dtype)
    for index in range(joined):
        wide[:, index, :, index] = blocks[:, index]
    return wide.reshape(outputs, joined * width, height, across), groups // joined
