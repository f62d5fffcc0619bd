"""Images for the tests of the page: digits that are drawn, as files `LABEL-N.png`."""

from __future__ import annotations

import io
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

DIGITS = tuple("0123456789")
EACH = 2  # images of every digit
_SIDE = 32


def write_samples(folder: Path) -> None:
    """Put all samples into a folder that is there."""
    for (label, number), image in _samples().items():
        (folder / f"{label}-{number}.png").write_bytes(image)


def sample(label: str, number: int = 0) -> bytes:
    """A sample's file."""
    return _samples()[label, number]


def another(label: str, seed: int) -> bytes:
    """A picture of a digit that is none of the samples: `digit_of` does not know it."""
    return _drawn(label, EACH + seed)


def digit_of(image: bytes) -> int:
    """What an image shows; of one that is no sample, a digit that follows from its bytes."""
    digest = sha256(image).digest()
    return _known().get(digest, digest[0] % len(DIGITS))


@cache
def _samples() -> dict[tuple[str, int], bytes]:
    return {(label, number): _drawn(label, number) for label in DIGITS for number in range(EACH)}


@cache
def _known() -> dict[bytes, int]:
    return {sha256(image).digest(): int(label) for (label, _), image in _samples().items()}


def _drawn(label: str, number: int) -> bytes:
    noise = np.random.default_rng(number).integers(0, 48, (_SIDE, _SIDE), np.uint8)
    picture = Image.fromarray(noise)
    ImageDraw.Draw(picture).text((9 + number % 3, 1), label, fill=255, font_size=26)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
