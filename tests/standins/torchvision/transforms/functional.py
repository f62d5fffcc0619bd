"""The names of interpolations, which are the keys of a table of timm's."""

from enum import Enum


class InterpolationMode(Enum):
    """Named and valued as in torchvision."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"
