"""Pictures of a page, made small: a page has few colours."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

MOST_BYTES: Final = 150_000
COLOURS: Final = (256, 128, 64, 32)


def shrunk(png: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """A PNG of the same size in pixels, with as many colours of a palette as its size in bytes allows.

    Args:
        png: Of whatever mode.
        most_bytes: It has fewer; with the fewest colours, whatever it takes.
    """
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    found = b""
    for colours in COLOURS:
        file = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        found = file.getvalue()
        if len(found) < most_bytes:
            break
    return found
