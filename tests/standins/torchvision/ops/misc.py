"""The layer that timm knows by its class."""

from torch import nn


class FrozenBatchNorm2d(nn.Module):
    """Only compared with, never made: no net of the tests is frozen."""
