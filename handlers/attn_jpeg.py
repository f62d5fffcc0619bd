"""A faster reader of plain JPEG files: simplejpeg, where it is installed.

Pillow and simplejpeg call the same library, libjpeg-turbo, with the same settings, and differ in what they do
around it: simplejpeg writes straight into an array, where Pillow fills an image that is then copied out. What
one build of the library makes of a file, another might not: so a few pictures are decoded by both when the
handler starts, and simplejpeg is used only where each comes out the same to the bit.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from .attn_wire import Buffer, Pixels

# (file, width, height) -> uint8 [height,width,3], decoded at the scale that gives this size; None: it cannot.
JpegReader: TypeAlias = Callable[[Buffer, int, int], Pixels | None]

_PROBE_SIZE: Final = (83, 61)  # blocks are cut at both edges
_SUBSAMPLINGS: Final = (0, 1, 2)  # 4:4:4, 4:2:2 and 4:2:0, as Pillow numbers them
_SCALES: Final = (1, 2, 4, 8)


class DecoderError(RuntimeError):
    """A decoder cannot be used here; the message says why."""


def open_simplejpeg() -> JpegReader:
    """Make a reader.

    Raises:
        DecoderError: simplejpeg is not installed, or its pictures are not those of Pillow.
    """
    try:
        module = importlib.import_module("simplejpeg")
    except ImportError as error:
        raise DecoderError(f"cannot be imported: {error}") from error
    reader = _reader(module)
    for blob in _probes():
        for scale in _SCALES:
            expected = _by_pillow(blob, scale)
            found = reader(blob, expected.shape[1], expected.shape[0])
            if found is None or not np.array_equal(found, expected):
                raise DecoderError("its pictures differ from those of this Pillow")
    return reader


def _reader(module: Any) -> JpegReader:  # noqa: ANN401  simplejpeg may be missing, and has no types
    def read(blob: Buffer, width: int, height: int) -> Pixels | None:
        pixels: Pixels = np.empty((height, width, 3), np.uint8)
        try:
            # The array is as large as what Pillow read in the header allows, so that a file which tells
            # the two of them different sizes overruns nothing.
            found: Pixels = module.decode_jpeg(blob, "RGB", min_height=height, min_width=width, buffer=pixels)
        except Exception:  # noqa: BLE001  whatever it dislikes, Pillow reads next, and judges
            return None
        return found if found.shape == pixels.shape else None

    return read


def _probes() -> Iterator[bytes]:
    """Small JPEG files: shapes and grain, in each subsampling of colours, baseline and progressive."""
    width, height = _PROBE_SIZE
    down, across = np.mgrid[:height, :width]
    grain = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    shapes = np.stack([across * 2, down * 3, (across // 8 + down // 8) % 2 * 200], axis=-1)
    picture = Image.fromarray((shapes + grain).clip(0, 255).astype(np.uint8))
    for subsampling in _SUBSAMPLINGS:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=90, subsampling=subsampling, progressive=subsampling == 1)
        yield file.getvalue()


def _by_pillow(blob: bytes, scale: int) -> Pixels:
    image = JpegImageFile(io.BytesIO(blob))
    image.draft(None, (image.width // scale, image.height // scale))
    image.load()
    return np.asarray(image)
