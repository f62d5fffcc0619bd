"""Encoded image -> RGB: JPEG, PNG, WebP, BMP and the first frame of a GIF, through Pillow.

The format is decided by the file's first bytes, and only that format's reader ever sees the file. Byte and
pixel limits are checked before anything is decompressed. What a viewer would show is what the net sees: EXIF
orientation is applied, transparency is shown on white, 16-bit grey is scaled to 8 bits.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from .attn_wire import Buffer

INVALID: Final = 3  # gRPC's INVALID_ARGUMENT
EXHAUSTED: Final = 8  # gRPC's RESOURCE_EXHAUSTED

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


class ImageError(ValueError):
    """One image cannot be used: its sender's fault. `code` is gRPC's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """What one image may cost.

    Attributes:
        max_image_bytes: Length of the encoded file, bytes.
        max_image_pixels: Width times height that the file declares.
    """

    max_image_bytes: int = 20_000_000
    max_image_pixels: int = 50_000_000

    def __post_init__(self) -> None:
        """Refuse limits that are no positive integers.

        Raises:
            ValueError: The message names the limit, its value and the rule.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{field.name}: must be an integer of at least 1, got {value!r}")

    @classmethod
    def of_config(cls, config: Mapping[str, object]) -> ImageLimits:
        """Read the `handler:` block of an archive's model-config.yaml; what it leaves out keeps its default.

        Raises:
            ValueError: A key is unknown or its value breaks the rule.
        """
        block = config.get("handler")
        if block is None:
            return cls()
        known = {field.name for field in fields(cls)}
        if not isinstance(block, dict) or not known.issuperset(block):
            raise ValueError(f"handler: in model-config.yaml takes {', '.join(sorted(known))}; got {block!r}")
        return cls(**block)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    """First bytes of a kind of file; `tail` stands at `offset`."""

    name: str
    head: bytes
    tail: bytes = b""
    offset: int = 0

    def matches(self, blob: bytes) -> bool:
        return blob.startswith(self.head) and blob.startswith(self.tail, self.offset)


_READERS: Final[dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
}
_KINDS: Final = (
    _Signature(name="JPEG", head=b"\xff\xd8\xff"),
    _Signature(name="PNG", head=b"\x89PNG\r\n\x1a\n"),
    _Signature(name="WebP", head=b"RIFF", tail=b"WEBP", offset=8),
    _Signature(name="GIF", head=b"GIF87a"),
    _Signature(name="GIF", head=b"GIF89a"),
    _Signature(name="BMP", head=b"BM"),
    # Kinds that are refused; the list only serves the message.
    _Signature(name="TIFF", head=b"II*\0"),
    _Signature(name="TIFF", head=b"MM\0*"),
    _Signature(name="AVIF", head=b"", tail=b"ftypavif", offset=4),
    _Signature(name="HEIF", head=b"", tail=b"ftyphei", offset=4),
    _Signature(name="HEIF", head=b"", tail=b"ftypmif1", offset=4),
    _Signature(name="JPEG 2000", head=b"\0\0\0\x0cjP  "),
    _Signature(name="JPEG 2000", head=b"\xff\x4f\xff\x51"),
    _Signature(name="JPEG XL", head=b"\xff\x0a"),
    _Signature(name="JPEG XL", head=b"\0\0\0\x0cJXL "),
    _Signature(name="ICO", head=b"\0\0\1\0"),
    _Signature(name="PSD", head=b"8BPS"),
    _Signature(name="PDF", head=b"%PDF"),
    _Signature(name="EPS", head=b"%!PS"),
    _Signature(name="SVG", head=b"<svg"),
    _Signature(name="XML", head=b"<?xml"),
    _Signature(name="HTML", head=b"<!"),
    _Signature(name="HTML", head=b"<html"),
    _Signature(name="gzip", head=b"\x1f\x8b"),
    _Signature(name="ZIP", head=b"PK\3\4"),
    _Signature(name="NumPy", head=b"\x93NUMPY"),
)


def decode(blob: Buffer, limits: ImageLimits, *, least_side: int | None = None) -> Image.Image:
    """Decode one image.

    Args:
        blob: The encoded file.
        limits: What it may cost.
        least_side: When given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size (libjpeg's own scaling),
            as long as its shorter side keeps this many pixels. None: the full size.

    Returns:
        An image in mode RGB, upright.

    Raises:
        ImageError: Code 3 when the bytes are no usable image, 8 when they exceed a limit.
    """
    if len(blob) > limits.max_image_bytes:
        raise ImageError(
            EXHAUSTED,
            f"image: {len(blob)} bytes; at most {limits.max_image_bytes} (max_image_bytes) are allowed",
        )
    kind = _kind(bytes(blob[:16]))
    try:
        return _decoded(_READERS[kind](io.BytesIO(blob)), limits, least_side)
    except ImageError:
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise ImageError(EXHAUSTED, f"image: this {kind} takes too much memory: {error}") from error
    except Exception as error:
        # A reader fed with hostile bytes may raise anything; whatever it is, this image is unusable.
        raise ImageError(INVALID, f"image: cannot decode this {kind}: {error}") from error


def check_pixels(width: int, height: int, limits: ImageLimits) -> None:
    """Refuse a picture that has more pixels than allowed.

    Raises:
        ImageError: Code 8.
    """
    if width * height > limits.max_image_pixels:
        raise ImageError(
            EXHAUSTED,
            f"image: {width} x {height} pixels; "
            f"at most {limits.max_image_pixels} (max_image_pixels) are allowed",
        )


def _kind(head: bytes) -> str:
    allowed = ", ".join(_READERS)
    if not head:
        raise ImageError(INVALID, f"image: no bytes; must be one of {allowed}")
    name = next((kind.name for kind in _KINDS if kind.matches(head)), None)
    if name in _READERS:
        return name
    seen = f"seems to be {name}" if name else f"the first bytes {head[:8]!r} are of no known image format"
    raise ImageError(INVALID, f"image: {seen}; must be one of {allowed}")


def _decoded(image: ImageFile.ImageFile, limits: ImageLimits, least_side: int | None) -> Image.Image:
    check_pixels(image.width, image.height, limits)
    if least_side is not None:
        image.draft(None, (least_side, least_side))
    image.load()
    rgb = _to_rgb(image)
    turn = _TURNS.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001 # viewers ignore broken EXIF, whatever the parser makes of it
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _eight_bit(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, _WHITE), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey to 8-bit grey: scaled by 257, since Pillow's own conversion clips everything above 255."""
    levels = np.asarray(image)
    grey = ((levels.astype(np.int64).clip(0, 65535) + 128) // 257).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[levels == transparent] = 255
    return Image.fromarray(grey)
