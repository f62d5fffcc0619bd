"""scikit-learn's handwritten digits as the images that a user would send.

1,797 real scans of 8x8 grey values 0..16 (UCI Optical Recognition of Handwritten Digits), ten classes.
Training sees exactly what serving sees: each scan is rendered once to RGB pixels, and from there takes the
serving recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from model_store.errors import InputError
from model_store.signature import InputRecipe

LABELS: Final = tuple("0123456789")
SOURCE: Final = "scikit-learn load_digits (UCI Optical Recognition of Handwritten Digits, test set)"
RENDERED_SIDE: Final = 32  # pixels
TRAINING, VALIDATION, HELD_OUT = 1077, 180, 540
SPLIT_SEED: Final = 0
_WHITE_IN_SCAN: Final = 16
_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the split.

    Attributes:
        pixels: UINT8 [n,32,32,3].
        labels: INT64 [n], the digits.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """The three disjoint, stratified parts: fit on one, choose the epoch by another, report on the third."""

    training: Part
    validation: Part
    held_out: Part


def load_split() -> Digits:
    """Render all scans and split them, always in the same way."""
    scans, labels = load_digits(return_X_y=True)
    pixels = np.stack([render(scan) for scan in scans.reshape(-1, 8, 8)])
    order = np.arange(len(labels))
    rest, held_out = train_test_split(order, test_size=HELD_OUT, stratify=labels, random_state=SPLIT_SEED)
    training, validation = train_test_split(
        rest, test_size=VALIDATION, stratify=labels[rest], random_state=SPLIT_SEED
    )
    return Digits(
        training=Part(pixels=pixels[training], labels=labels[training]),
        validation=Part(pixels=pixels[validation], labels=labels[validation]),
        held_out=Part(pixels=pixels[held_out], labels=labels[held_out]),
    )


def render(scan: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The picture of a scan: white ink on black, grey repeated to RGB, enlarged by Pillow's bilinear filter.

    Args:
        scan: [8,8], values 0..16.

    Returns:
        UINT8 [32,32,3].
    """
    grey = np.round(scan * (255 / _WHITE_IN_SCAN)).astype(np.uint8)
    size = (RENDERED_SIDE, RENDERED_SIDE)
    enlarged = Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(enlarged.convert("RGB"))


def to_inputs(pixels: NDArray[np.uint8], recipe: InputRecipe) -> torch.Tensor:
    """What the net is given for these pictures: the serving recipe.

    Args:
        pixels: UINT8 [n,S,S,3]: square, so that stretching and centre cropping agree.
        recipe: Of the net.

    Returns:
        FP32 [n,3,H,W].

    Raises:
        InputError: The recipe crops, which the digits do not need.
    """
    if recipe.resize.size != recipe.size:
        raise InputError(
            f"input.resize.size: {recipe.resize.size} must equal input.size {recipe.size} for the digits"
        )
    height, width = recipe.size
    method = _FILTERS[recipe.resize.interpolation]
    resized = np.stack([np.asarray(Image.fromarray(one).resize((width, height), method)) for one in pixels])
    scaled = torch.from_numpy(resized).permute(0, 3, 1, 2).contiguous() / 255
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (recipe.mean, recipe.std))
    return (scaled - mean) / std


def write_samples(folder: Path, *, per_class: int = 3) -> list[Path]:
    """Write held-out pictures as `LABEL-N.png`, N from 1.

    Args:
        folder: Made if missing; files of the same names are overwritten.
        per_class: Pictures of each digit.

    Returns:
        The paths, sorted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held_out = load_split().held_out
    written = []
    for digit in range(len(LABELS)):
        chosen = np.flatnonzero(held_out.labels == digit)[:per_class]
        for number, index in enumerate(chosen, start=1):
            path = folder / f"{digit}-{number}.png"
            Image.fromarray(held_out.pixels[index]).save(path)
            written.append(path)
    return written
