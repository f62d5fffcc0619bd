"""Photographs of a size, as JPEG: crops of the two that scikit-learn carries, each different."""

from __future__ import annotations

import io
import random
from typing import Final

from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_image

SOURCES: Final = ("china.jpg", "flower.jpg")  # 640 x 427
QUALITY: Final = 90
SEED: Final = 20


def photos(count: int, size: tuple[int, int]) -> tuple[bytes, ...]:
    """Make `count` photographs, the same ones every time.

    Args:
        count: How many.
        size: Width and height in pixels; at most that of the sources.
    """
    chance = random.Random(SEED)
    sources = [Image.fromarray(load_sample_image(name)) for name in SOURCES]
    return tuple(_photo(sources[number % len(sources)], size, chance) for number in range(count))


def _photo(source: Image.Image, size: tuple[int, int], chance: random.Random) -> bytes:
    left, top = (chance.randint(0, whole - part) for whole, part in zip(source.size, size, strict=True))
    crop = source.crop((left, top, left + size[0], top + size[1]))
    if chance.random() < 0.5:  # noqa: PLR2004  half of them
        crop = ImageOps.mirror(crop)
    buffer = io.BytesIO()
    ImageEnhance.Brightness(crop).enhance(chance.uniform(0.8, 1.2)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
