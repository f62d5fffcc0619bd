"""RGB image -> the net's input: resize as the archive's recipe says, then normalise.

Resizing averages over all source pixels (antialiased), as Pillow does, because the nets were trained so.
torch has the same resize of bytes for CPUs with AVX2, in half of Pillow's time: it is used there unless the
crop drops most of what it would compute. On photographs the two differ by at most one of 256 levels, two
with bicubic (tests hold the figures); on noise that is stretched bicubically by more, since they clip between
passes in another order.

Two short cuts cost no more than a few levels: a JPEG much larger than needed is decoded at a fraction of its
size, and any large image is shrunk by a whole factor while it becomes RGB (attn_rgb); both keep at least
REDUCING_GAP times the target, the rest is done exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from .attn_wire import Pixels

# A JPEG of 1280x960 for 256 pixels then takes 0.6 of the time. With 2.0 it would gain nothing, with 1.0 the
# distance from the exact resize doubles.
REDUCING_GAP: Final = 1.5

INTERPOLATIONS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# torch resizes the whole image, Pillow only what the crop keeps: beyond this ratio Pillow is faster.
MAX_SURPLUS: Final = 3.0

# Without these instructions torch's resize of bytes is slower than Pillow's, and not confined to its thread.
_VECTORISED: Final = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")

# Kinds of device whose antialiased resize takes bytes.
RESIZES_BYTES: Final = ("cpu",)

Picture: TypeAlias = Image.Image | Pixels


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
    """Resize (and crop) an RGB image to the net's input size, by Pillow alone: the reference.

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
        box=_placed(image.size, recipe).box(image.size, recipe),
        reducing_gap=reducing_gap,
    )


def fit_into(slot: Pixels, picture: Picture, recipe: Recipe) -> None:
    """Resize (and crop) as `fit` does, within those one or two levels, straight into a place in a batch.

    Args:
        slot: uint8 [H,W,3] of recipe.size, to be written.
        picture: An image in mode RGB, or uint8 [H,W,3].
        recipe: What to do.
    """
    size = picture.size if isinstance(picture, Image.Image) else (picture.shape[1], picture.shape[0])
    placed = _placed(size, recipe)
    if placed.resized == size == recipe.size[::-1]:
        slot[...] = np.asarray(picture)
    elif _VECTORISED and placed.surplus(recipe) <= MAX_SURPLUS:
        slot[...] = fit_tensor(_tensor(picture), recipe).numpy()
    else:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        slot[...] = np.asarray(fit(image, recipe))


def fit_tensor(pixels: Tensor, recipe: Recipe) -> Tensor:
    """Resize (and crop) as `fit` does, on the device of the pixels.

    Args:
        pixels: uint8 [H,W,3].
        recipe: What to do.

    Returns:
        uint8 [H,W,3] of recipe.size. On a CPU it is the resize of bytes, elsewhere in float32 and rounded.
    """
    height, width = recipe.size
    placed = _placed((pixels.shape[1], pixels.shape[0]), recipe)
    planes = pixels.permute(2, 0, 1)[None]
    whole = functional.interpolate(
        planes if pixels.device.type in RESIZES_BYTES else planes.float(),
        size=placed.resized[::-1],
        mode=recipe.interpolation,
        antialias=True,
    )
    if whole.dtype != torch.uint8:
        whole = whole.round_().clamp_(0, 255).to(torch.uint8)
    kept = whole[0].permute(1, 2, 0)[placed.top : placed.top + height]
    return kept[:, placed.left : placed.left + width]


def _tensor(picture: Picture) -> Tensor:
    """As uint8 [H,W,3]; copied where the memory may not be written, which torch insists on."""
    return torch.from_numpy(np.require(np.asarray(picture), requirements=["C", "W"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """Where the net's input lies in the resized image.

    Attributes:
        resized: (width, height) of the whole image after the resize.
        left: Columns to the left of the crop.
        top: Rows above it.
    """

    resized: tuple[int, int]
    left: int
    top: int

    def box(self, source: tuple[int, int], recipe: Recipe) -> tuple[float, float, float, float]:
        """The part of the source, of this (width, height), that the crop keeps."""
        height, width = recipe.size
        x, y = source[0] / self.resized[0], source[1] / self.resized[1]
        # Rounding may leave the last bit beyond the edge, which Pillow refuses.
        right, bottom = min((self.left + width) * x, source[0]), min((self.top + height) * y, source[1])
        return self.left * x, self.top * y, right, bottom

    def surplus(self, recipe: Recipe) -> float:
        """Pixels of the whole resized image for each that the crop keeps."""
        return math.prod(self.resized) / math.prod(recipe.size)


def _placed(source: tuple[int, int], recipe: Recipe) -> _Placed:
    return METHODS[recipe.method](source, recipe)


def _stretched(_source: tuple[int, int], recipe: Recipe) -> _Placed:
    return _Placed(resized=recipe.size[::-1], left=0, top=0)


def _centred(source: tuple[int, int], recipe: Recipe) -> _Placed:
    """The centre after a resize of the shorter side.

    The sizes are rounded as torchvision's Resize and CenterCrop round them, because published weights were
    evaluated with these.
    """
    target, shorter = recipe.resize[0], min(source)
    width, height = int(target * source[0] / shorter), int(target * source[1] / shorter)
    left, top = round((width - recipe.size[1]) / 2), round((height - recipe.size[0]) / 2)
    return _Placed(resized=(width, height), left=left, top=top)


METHODS: Final[Mapping[str, Callable[[tuple[int, int], Recipe], _Placed]]] = {
    "stretch": _stretched,
    "shorter_side": _centred,
}


def normalise(
    pixels: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """(pixels / 255 - mean) / std, computed in float32 whatever comes out; channels first.

    Args:
        pixels: uint8 [N,H,W,3].
        mean: Per channel, of values scaled to 0..1.
        std: As `mean`.
        dtype: Of the result.
        memory_format: Of the result: contiguous_format or channels_last.

    Returns:
        [N,3,H,W] on the device of `pixels`. Its values are the same in every memory format.
    """
    device = pixels.device
    centre = torch.tensor(mean, dtype=torch.float32, device=device)
    spread = torch.tensor(std, dtype=torch.float32, device=device)
    if memory_format == torch.channels_last:
        # Whole rows of interleaved channels: with three values as the inner dimension nothing is vectorised.
        count, height, width, channels = pixels.shape
        rows = pixels.reshape(count, height, width * channels).to(torch.float32)
        rows.div_(255).sub_(centre.repeat(width)).div_(spread.repeat(width))
        return rows.to(dtype).view(count, height, width, channels).permute(0, 3, 1, 2)
    # Bytes are sorted into planes before they grow to floats, which moves a quarter of the memory.
    planes = pixels.permute(0, 3, 1, 2).contiguous().to(torch.float32)
    return planes.div_(255).sub_(centre.view(3, 1, 1)).div_(spread.view(3, 1, 1)).to(dtype)
