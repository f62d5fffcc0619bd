"""RGB image -> the net's input: resize as the archive's recipe says, then normalise.

Resizing is Pillow's, which averages over all source pixels (antialiased), as the nets were trained with. Two
short cuts cost no more than a few of 256 levels (tests hold the figures): a JPEG much larger than needed is
decoded at a fraction of its size, and any large image is first shrunk by a whole factor (by attn_rgb while it
becomes RGB, or here); both keep at least REDUCING_GAP times the target, the rest is done exactly. A centre
crop is cut out of the resize's source (`box`), so pixels that the crop drops are never computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from PIL import Image
from torch import Tensor

# A JPEG of 1280x960 for 256 pixels then takes 0.6 of the time. With 2.0 it would gain nothing, with 1.0 the
# distance from the exact resize doubles.
REDUCING_GAP: Final = 1.5

INTERPOLATIONS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an image becomes the net's input.

    Attributes:
        size: (H, W) of the net's input.
        method: `stretch`: to `size`, whatever the proportions; `shorter_side`: the shorter side to
            `resize[0]`, then the centre of `size`.
        resize: (H, W) that the method resizes to.
        interpolation: `bilinear` or `bicubic`.
        mean: Per channel (RGB), of values scaled to 0..1.
        std: As `mean`.
    """

    size: tuple[int, int]
    method: str
    resize: tuple[int, int]
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Refuse a recipe that cannot be followed.

        Raises:
            ValueError: The message names the key, its value and the rule.
        """
        if self.method not in METHODS:
            raise ValueError(f"resize.method: must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.interpolation not in INTERPOLATIONS:
            rule = ", ".join(INTERPOLATIONS)
            raise ValueError(f"resize.interpolation: must be one of {rule}, got {self.interpolation!r}")
        if self.method == "shorter_side" and max(self.size) > self.resize[0]:
            raise ValueError(f"resize.size: must not be below size {self.size}, got {self.resize}")
        if min(self.std) <= 0:
            raise ValueError(f"std: must be above 0, got {self.std}")

    @property
    def least_side(self) -> int:
        """Pixels that the shorter side of a decoded image must keep for an accurate resize."""
        return math.ceil(max(self.resize) * REDUCING_GAP)


def fit(image: Image.Image, recipe: Recipe, *, reducing_gap: float | None = REDUCING_GAP) -> Image.Image:
    """Resize (and crop) an RGB image to the net's input size.

    Args:
        image: Mode RGB, any size.
        recipe: What to do.
        reducing_gap: None: the plain, exact resize; else how much the whole-factor shrink must leave.

    Returns:
        An RGB image of recipe.size.
    """
    height, width = recipe.size
    return image.resize(
        (width, height),
        INTERPOLATIONS[recipe.interpolation],
        box=METHODS[recipe.method](image.size, recipe),
        reducing_gap=reducing_gap,
    )


def _whole(size: tuple[int, int], _recipe: Recipe) -> tuple[float, float, float, float]:
    return 0.0, 0.0, float(size[0]), float(size[1])


def _centre(size: tuple[int, int], recipe: Recipe) -> tuple[float, float, float, float]:
    """The part of the source that a resize of the shorter side, and then a centre crop, would keep.

    The sizes are rounded as torchvision's Resize and CenterCrop round them, because published weights were
    evaluated with these.
    """
    width, height = size
    target = recipe.resize[0]
    shorter = min(size)
    resized = (int(target * width / shorter), int(target * height / shorter))
    left = round((resized[0] - recipe.size[1]) / 2)
    top = round((resized[1] - recipe.size[0]) / 2)
    x, y = width / resized[0], height / resized[1]
    # Rounding may leave the last bit beyond the edge, which Pillow refuses.
    return left * x, top * y, min((left + recipe.size[1]) * x, width), min((top + recipe.size[0]) * y, height)


METHODS: Final[dict[str, Callable[[tuple[int, int], Recipe], tuple[float, float, float, float]]]] = {
    "stretch": _whole,
    "shorter_side": _centre,
}


def normalise(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(pixels / 255 - mean) / std, channels first.

    Args:
        pixels: uint8 [N,H,W,3].
        mean: Per channel, of values scaled to 0..1.
        std: As `mean`.

    Returns:
        float32 [N,3,H,W], contiguous, on the device of `pixels`.
    """
    centre = torch.tensor(mean, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
    spread = torch.tensor(std, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
    channels_first = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return channels_first.div_(255).sub_(centre).div_(spread)
