"""Files that must be refused: those that are no image, and small ones that announce a huge picture.

What the gateway must say of each is what `handlers/attn_decode.py` says.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final

from PIL import Image

from loadtests.traffic.sample import Sample

SIDE: Final = 30_000  # of the pictures that are announced; the gateway decodes 40 million pixels at most
_PNG_SIZE_AT: Final = 16  # behind the signature, and the length and name of the first chunk
_PNG_HEADER: Final = slice(12, 29)  # that chunk's name and content, which its check sum covers
_GIF_SIZE_AT: Final = 6
_BMP_SIZE_AT: Final = 18
_JPEG_FRAME: Final = b"\xff\xc0"  # marker of a baseline frame; 3 bytes stand before its size


def corrupt() -> tuple[Sample, ...]:
    """Bytes that no decoder can read."""
    png, jpeg, gif, bmp = (_image(format_) for format_ in ("PNG", "JPEG", "GIF", "BMP"))
    files = (
        ("half a PNG", png[: len(png) // 2], "cannot decode this PNG"),
        ("half a JPEG", jpeg[: len(jpeg) // 2], "cannot decode this JPEG"),
        ("half a GIF", gif[: len(gif) // 2], "cannot decode this GIF"),
        ("half a BMP", bmp[: len(bmp) // 2], "cannot decode this BMP"),
        ("a PNG of noise", png[:8] + bytes(range(256)), "cannot decode this PNG"),
        ("a TIFF", _image("TIFF"), "seems to be TIFF"),
        ("text", b"this is no image", "the first bytes b'this is ' are of no known image format"),
        ("nothing", b"", "no bytes"),
    )
    return tuple(
        Sample(name=name, label="", encoded=encoded, refusal=refusal) for name, encoded, refusal in files
    )


def oversized() -> tuple[Sample, ...]:
    """Small files whose header announces `SIDE` times `SIDE` pixels."""
    files = {
        "PNG": _huge_png(_image("PNG")),
        "JPEG": _huge_jpeg(_image("JPEG")),
        "GIF": _patched(_image("GIF"), _GIF_SIZE_AT, struct.pack("<HH", SIDE, SIDE)),
        "BMP": _patched(_image("BMP"), _BMP_SIZE_AT, struct.pack("<ii", SIDE, SIDE)),
    }
    return tuple(
        Sample(
            name=f"a {name} that announces {SIDE} x {SIDE} pixels",
            label="",
            encoded=encoded,
            refusal=f"{SIDE} x {SIDE} pixels",
        )
        for name, encoded in files.items()
    )


def _image(format_: str) -> bytes:
    """A gradient of 32 x 32 pixels: enough of it for half of a file to hold a part."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(buffer, format_)
    return buffer.getvalue()


def _huge_png(png: bytes) -> bytes:
    patched = _patched(png, _PNG_SIZE_AT, struct.pack(">II", SIDE, SIDE))
    return _patched(patched, _PNG_HEADER.stop, struct.pack(">I", zlib.crc32(patched[_PNG_HEADER])))


def _huge_jpeg(jpeg: bytes) -> bytes:
    size_at = jpeg.index(_JPEG_FRAME) + len(_JPEG_FRAME) + 3
    return _patched(jpeg, size_at, struct.pack(">HH", SIDE, SIDE))


def _patched(blob: bytes, at: int, piece: bytes) -> bytes:
    return blob[:at] + piece + blob[at + len(piece) :]
