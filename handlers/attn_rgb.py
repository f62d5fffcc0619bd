"""A decoded image in any of Pillow's modes -> RGB, upright, and no larger than the recipe needs.

A large image is converted in bands, each of which is shrunk by a whole factor as soon as it is converted, so
that next to the decoded file itself only a band and the small result take memory.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

BAND_PIXELS: Final = 1 << 20  # smaller images are converted at once

_ORIENTATION: Final = 0x0112  # EXIF's tag
_TURNS: Final[dict[object, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE: Final = (255, 255, 255, 255)


def to_rgb(image: Image.Image, least_side: int | None) -> Image.Image:
    """Convert as a viewer shows it: upright, transparency on white, 16-bit grey scaled to 8 bits.

    Args:
        image: Loaded, in any mode.
        least_side: When given, an image of more than BAND_PIXELS may be shrunk by a whole factor, as long as
            its shorter side keeps this many pixels. None: the full size.

    Returns:
        An image in mode RGB.
    """
    factor = 1 if least_side is None else max(1, min(image.size) // least_side)
    if image.width * image.height <= BAND_PIXELS:
        rgb = _converted(image, 1)
    elif image.mode == "RGB" and not image.has_transparency_data:
        rgb = _shrunk(image, factor)  # nothing to convert, so there is nothing to do in bands
    else:
        rgb = _in_bands(image, factor)
    turn = _TURNS.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def is_turned(image: Image.Image) -> bool:
    """Whether its EXIF data say that it is shown other than it is stored."""
    return _orientation(image) in _TURNS


def _in_bands(image: Image.Image, factor: int) -> Image.Image:
    rgb = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    rows = max(1, BAND_PIXELS // image.width // factor)
    for top in range(0, rgb.height, rows):
        bottom = min((top + rows) * factor, image.height)
        band = image.crop((0, top * factor, image.width, bottom))
        rgb.paste(_converted(band, factor), (0, top))
    return rgb


def _converted(image: Image.Image, factor: int) -> Image.Image:
    if image.mode.startswith("I"):
        return _shrunk(_eight_bit(image), factor).convert("RGB")
    if image.has_transparency_data:
        # Shrunk first, which Pillow does on premultiplied colours: the same picture for half the time.
        rgba = _shrunk(image.convert("RGBA"), factor)
        return Image.alpha_composite(Image.new("RGBA", rgba.size, _WHITE), rgba).convert("RGB")
    return _shrunk(image if image.mode == "RGB" else image.convert("RGB"), factor)


def _shrunk(image: Image.Image, factor: int) -> Image.Image:
    return image if factor == 1 else image.reduce(factor)


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey to 8-bit grey: scaled by 257, since Pillow's own conversion clips everything above 255."""
    levels = np.asarray(image)
    grey = ((levels.astype(np.int64).clip(0, 65535) + 128) // 257).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[levels == transparent] = 255
    return Image.fromarray(grey)


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001 # viewers ignore broken EXIF, whatever the parser makes of it
        return None
