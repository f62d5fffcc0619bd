"""Encoded image -> RGB: JPEG, PNG, WebP, BMP and the first frame of a GIF, through Pillow.

The format is decided by the file's first bytes, and only that format's reader ever sees the file. Byte and
pixel limits are checked before anything is decompressed, and a budget bounds what all threads together hold.
A plain JPEG may be read by something faster (attn_jpeg), after Pillow has read and judged its header.
What a viewer would show is what the net sees (attn_rgb).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from threading import Condition
from typing import Final

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from .attn_jpeg import JpegReader
from .attn_preprocess import Picture
from .attn_rgb import BAND_PIXELS, is_turned, to_rgb
from .attn_wire import Buffer, Pixels

INVALID: Final = 3  # gRPC's INVALID_ARGUMENT
EXHAUSTED: Final = 8  # gRPC's RESOURCE_EXHAUSTED


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
        max_image_pixels: Width times height that the file declares. A decoded pixel takes up to 4 bytes, and
            all images that are being decoded at the same time share this number.
    """

    max_image_bytes: int = 20_000_000
    max_image_pixels: int = 40_000_000

    def __post_init__(self) -> None:
        """Refuse limits that are no positive integers.

        Raises:
            ValueError: The message names the limit, its value and the rule.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{field.name}: must be an integer of at least 1, got {value!r}")


class PixelBudget:
    """Pixels that may be held decoded at the same time, over all threads."""

    def __init__(self, pixels: int) -> None:
        self._free = pixels
        self._returned = Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until so many are free, at most the whole budget, and give them back in the end."""
        with self._returned:
            self._returned.wait_for(lambda: pixels <= self._free)
            self._free -= pixels
        try:
            yield
        finally:
            with self._returned:
                self._free += pixels
                self._returned.notify_all()


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


class Decoder:
    """Decodes images within limits; threads may share one."""

    def __init__(self, limits: ImageLimits, jpeg: JpegReader | None = None) -> None:
        """Take the limits, and what reads plain JPEG files; None: Pillow, as all others."""
        self._limits = limits
        self._jpeg = jpeg
        self._budget = PixelBudget(limits.max_image_pixels)

    def decode(self, blob: Buffer, *, least_side: int | None = None) -> Image.Image:
        """Decode one image into one of Pillow's; else as `read`."""
        picture = self.read(blob, least_side=least_side)
        return picture if isinstance(picture, Image.Image) else Image.fromarray(picture)

    def read(self, blob: Buffer, *, least_side: int | None = None) -> Picture:
        """Decode one image.

        Args:
            blob: The encoded file.
            least_side: When given, a large image may come back smaller, as long as its shorter side keeps
                this many pixels: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size (libjpeg's own scaling),
                others are shrunk by a whole factor. None: the full size.

        Returns:
            An upright image in mode RGB, or uint8 [H,W,3], whichever takes no copy.

        Raises:
            ImageError: Code 3 when the bytes are no usable image, 8 when they exceed a limit.
        """
        with self._opened(blob) as image:
            if least_side is not None:
                image.draft(None, (least_side, least_side))
            with self._budget.taken(image.width * image.height):
                pixels = self._read_plain_jpeg(image, blob)
                if pixels is not None:
                    return pixels
                image.load()
                return to_rgb(image, least_side)

    def plain_jpeg_pixels(self, blob: Buffer) -> int | None:
        """How many pixels a JPEG has that needs decoding only: RGB, upright; None: it is none such."""
        try:
            with self._opened(blob) as image:
                return image.width * image.height if _is_plain_jpeg(image) else None
        except ImageError:
            return None

    @contextmanager
    def _opened(self, blob: Buffer) -> Iterator[ImageFile.ImageFile]:
        """The file with its header read and its size allowed; what goes wrong in the block is worded."""
        allowed = self._limits.max_image_bytes
        if len(blob) > allowed:
            raise ImageError(
                EXHAUSTED, f"image: {len(blob)} bytes; at most {allowed} (max_image_bytes) are allowed"
            )
        kind = _kind(bytes(blob[:16]))
        try:
            image = _READERS[kind](io.BytesIO(blob))
            check_pixels(image.width, image.height, self._limits)
            yield image
        except ImageError:
            raise
        except (MemoryError, Image.DecompressionBombError) as error:
            raise ImageError(EXHAUSTED, f"image: this {kind} takes too much memory: {error}") from error
        except Exception as error:
            # A reader fed with hostile bytes may raise anything; whatever it is, this image is unusable.
            raise ImageError(INVALID, f"image: cannot decode this {kind}: {error}") from error

    def _read_plain_jpeg(self, image: ImageFile.ImageFile, blob: Buffer) -> Pixels | None:
        """By the faster reader, at the scale that `image` is set to; None where Pillow has to read it."""
        # A larger one would still have to be shrunk, which to_rgb does.
        if self._jpeg is None or image.width * image.height > BAND_PIXELS or not _is_plain_jpeg(image):
            return None
        return self._jpeg(blob, image.width, image.height)


def _is_plain_jpeg(image: ImageFile.ImageFile) -> bool:
    return isinstance(image, JpegImageFile) and image.mode == "RGB" and not is_turned(image)


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
