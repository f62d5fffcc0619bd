"""Recipes with a file of their own: who makes them, and the real images that one is calibrated with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from model_store.dataset import SUFFIXES
from model_store.errors import CalibrationError, InputError
from model_store.fuse import fused
from model_store.int8 import Samples, quantised
from model_store.recipe_table import RecipeName
from model_store.recipes import Maker
from model_store.signature import InputRecipe

MOST: Final = 512
"""Images that are read: more of them hardly move the largest values."""

_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def makers(samples: Samples | None) -> dict[RecipeName, Maker]:
    """Return what makes each recipe that has a file of its own; without images there is no cpu-int8."""
    found: dict[RecipeName, Maker] = {"cpu-fused": lambda net, size: fused(net, input_size=size)}
    if samples is not None:
        found["cpu-int8"] = lambda net, size: quantised(net, input_size=size, samples=samples)
    return found


def samples_for(folder: Path | None, recipe: InputRecipe, *, trained: bool) -> Samples | None:
    """Return the images of a folder; None where none is given.

    Raises:
        InputError: as `read_samples`.
        CalibrationError: as `read_samples`, or the net is untrained.
    """
    if folder is None:
        return None
    if not trained:
        raise CalibrationError("calibration: needs trained weights: random ones have no classes to keep")
    return read_samples(folder, recipe)


def read_samples(folder: Path, recipe: InputRecipe) -> Samples:
    """Prepare the images of a folder, at any depth, as the archive's recipe says; labels are not needed.

    Of more than `MOST` images, as many are taken, evenly spread over the sorted names: folders of classes
    thereby all have their share.

    Raises:
        InputError: there is no such folder, or a file in it is no image.
        CalibrationError: it holds too few; the message gives the number and the rule.
    """
    if not folder.is_dir():
        raise InputError(f"calibration: {str(folder)!r} must be a folder of images")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise CalibrationError(f"calibration: {str(folder)!r} holds no image ({', '.join(SUFFIXES)})")
    step = max(len(paths) / MOST, 1.0)
    chosen = [paths[int(number * step)] for number in range(min(len(paths), MOST))]
    return Samples.of(torch.stack([_prepared(path, recipe) for path in chosen]))


def _prepared(path: Path, recipe: InputRecipe) -> torch.Tensor:
    """Return an image as FP32 [3, H, W]."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise InputError(f"calibration: {str(path)!r} cannot be read as an image: {error}") from error
    pixels = torch.from_numpy(np.array(_resized(image, recipe))).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (recipe.mean, recipe.std))
    return (pixels - mean) / std


def _resized(image: Image.Image, recipe: InputRecipe) -> Image.Image:
    """Follow the recipe, with sides rounded as torchvision's Resize and CenterCrop do, and as workers do."""
    target, interpolation = recipe.resize.size, _FILTERS[recipe.resize.interpolation]
    if recipe.resize.method == "stretch":
        return image.resize(target[::-1], interpolation)
    across, down = (int(target[0] * side / min(image.size)) for side in image.size)
    resized = image.resize((across, down), interpolation)
    left, top = round((across - recipe.size[1]) / 2), round((down - recipe.size[0]) / 2)
    return resized.crop((left, top, left + recipe.size[1], top + recipe.size[0]))
