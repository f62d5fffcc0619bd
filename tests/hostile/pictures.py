"""Pictures that are broken, lie about their size, or are only odd, made in code; and what each must come to.

As a program it decodes all of them in this process and tells what came of each, and what it took:
`python -m tests.hostile.pictures`.
"""

from __future__ import annotations

import io
import json
import random
import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from handlers.attn_decode import Decoder, ImageError, ImageLimits

OK, INVALID, EXHAUSTED = 0, 3, 8  # gRPC's codes
SIDE = 32
FLIPS = 12
SEED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A file, and the codes that its sender may be given."""

    name: str
    content: bytes
    codes: frozenset[int]


def pictures() -> Iterator[Picture]:
    """All of them."""
    for codes, made in (
        ({OK}, _modes()), ({OK}, _orientations()), ({OK}, _polyglots()), ({OK}, _moving()),
        ({INVALID}, _other_formats()), ({INVALID}, _empty()), ({EXHAUSTED}, _enormous()),
        ({OK, INVALID}, _texts()), ({OK, INVALID}, _cut()), ({OK, INVALID, EXHAUSTED}, _flipped()),
    ):  # fmt: skip
        for name, content in made:
            yield Picture(name=name, content=content, codes=frozenset(codes))


def encoded(kind: str, image: Image.Image, **options: object) -> bytes:
    """A file of that kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gradient(mode: str = "RGB") -> Image.Image:
    """A picture in which every part is different."""
    row = np.arange(SIDE, dtype=np.uint8) * 7
    pixels = np.stack(
        [row + np.zeros((SIDE, 1), np.uint8), row[:, None] + row, row[:, None] * 2 + row], axis=-1
    )
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def png(width: int, height: int, rows: bytes = b"", *, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of any declared size, whatever its rows hold."""
    return png_of(width, height, chunk(b"IDAT", zlib.compress(rows, 9)), depth=depth, colour=colour)


def png_of(width: int, height: int, chunks: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG with these chunks between the first and the last."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(megabytes: int) -> bytes:
    """So many of them, compressed to a thousandth."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


def _all_kinds() -> dict[str, bytes]:
    return {kind: encoded(kind, gradient()) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP")}


def _modes() -> Iterator[tuple[str, bytes]]:
    for kind, modes in {
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
        "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
        "WEBP": ("RGB", "RGBA"),
        "GIF": ("1", "L", "P"),
        "BMP": ("1", "L", "P", "RGB"),
    }.items():
        for mode in modes:
            yield f"{kind} {mode}", encoded(kind, gradient(mode))
    deep = Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 60)
    yield "PNG I;16", encoded("PNG", deep)
    yield "PNG 16-bit RGBA", png(4, 4, (b"\0" + bytes(32)) * 4, depth=16, colour=6)
    yield "PNG P with tRNS", encoded("PNG", gradient("P"), transparency=b"\0\x80\xff")
    yield "PNG L with tRNS", encoded("PNG", gradient("L"), transparency=7)
    yield "JPEG progressive CMYK", encoded("JPEG", gradient("CMYK"), progressive=True)


def _orientations() -> Iterator[tuple[str, bytes]]:
    for orientation in (*range(10), 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("JPEG", "PNG", "WEBP"):
            yield f"{kind} orientation {orientation}", encoded(kind, gradient(), exif=exif)
    for name, exif_bytes in {
        "nonsense": b"Exif\0\0" + b"\xff" * 40,
        "empty": b"Exif\0\0",
        "cut": b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        "a loop": b"Exif\0\0II*\0\x08\0\0\0\x00\x00\x08\0\0\0",
        "of far offsets": b"Exif\0\0II*\0\x08\0\0\0\x01\x00\x12\x01\x02\x00\xff\xff\xff\xff\xff\xff\xff\xff",
    }.items():
        yield f"EXIF {name}", encoded("JPEG", gradient(), exif=exif_bytes)


def _polyglots() -> Iterator[tuple[str, bytes]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("MAR-INF/MANIFEST.json", "{}")
    for kind, content in _all_kinds().items():
        yield f"{kind} and ZIP", content + archive.getvalue()
        yield f"{kind} and HTML", content + b"<script>alert(1)</script>"


def _moving() -> Iterator[tuple[str, bytes]]:
    frames = [Image.new("RGB", (SIDE, SIDE), (number, 0, 0)) for number in range(100)]
    for kind in ("GIF", "WEBP", "PNG"):
        yield (
            f"{kind} of 100 frames",
            encoded(kind, frames[0], save_all=True, append_images=frames[1:], duration=10),
        )


def _other_formats() -> Iterator[tuple[str, bytes]]:
    for kind in ("TIFF", "ICO", "PPM", "PCX", "TGA", "PDF", "EPS", "JPEG2000"):
        yield kind, encoded(kind, gradient())
    yield "SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "PDF around a JPEG", b"%PDF-1.4\n" + encoded("JPEG", gradient())
    yield "GIF and script", b"GIF89a/*" + bytes(50) + b"*/=1;alert(1)//"


def _empty() -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "a byte", b"\xff"
    for kind, content in _all_kinds().items():
        yield f"{kind} beginning", content[:12]
        yield f"{kind} beginning and zeros", content[:12] + bytes(1000)
    for size in ((0, 0), (0, 5), (5, 0)):
        yield f"PNG of {size}", png(*size)
    bmp = bytearray(encoded("BMP", gradient()))
    bmp[18:26] = struct.pack("<ii", 0, 0)
    yield "BMP of (0, 0)", bytes(bmp)


def _enormous() -> Iterator[tuple[str, bytes]]:
    yield "PNG of 900 megapixels", png(30_000, 30_000)
    yield "PNG of 2^31-1", png(2**31 - 1, 2**31 - 1)
    bmp = bytearray(encoded("BMP", gradient()))
    bmp[18:26] = struct.pack("<ii", 50_000, 50_000)
    yield "BMP of 50000 x 50000", bytes(bmp)
    gif = bytearray(encoded("GIF", gradient()))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield "GIF of 65535 x 65535", bytes(gif)
    jpeg = bytearray(encoded("JPEG", gradient()))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_535, 65_535)
    yield "JPEG of 65535 x 65535", bytes(jpeg)
    yield "20 megabytes", encoded("PNG", gradient()) + bytes(20_000_000)


def _texts() -> Iterator[tuple[str, bytes]]:
    """Small pictures with large words beside them."""
    rows = (b"\0" + bytes(3 * 4)) * 4
    data, bomb = chunk(b"IDAT", zlib.compress(rows)), zeros(100)
    for kind, head in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")):
        yield f"PNG with a bomb in {kind.decode()}", png_of(4, 4, chunk(kind, head + bomb) + data)
    many = b"".join(chunk(b"tEXt", b"k%d\0" % number + bytes(1000)) for number in range(2000))
    yield "PNG with 2000 texts", png_of(4, 4, many + data)
    yield "PNG with more rows than it says", png_of(4, 4, chunk(b"IDAT", zeros(50)))
    yield "PNG with fewer rows", png(1000, 1000, rows)


def _cut() -> Iterator[tuple[str, bytes]]:
    for kind, content in _all_kinds().items():
        for part in range(1, 12):
            yield f"{kind} cut at {part}/12", content[: len(content) * part // 12]
        yield f"{kind} without its last byte", content[:-1]


def _flipped() -> Iterator[tuple[str, bytes]]:
    chance = random.Random(SEED)  # noqa: S311  only to differ
    for kind, content in _all_kinds().items():
        for number in range(FLIPS):
            flipped = bytearray(content)
            for _ in range(1 + number % 4):
                flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
            yield f"{kind} flipped {number}", bytes(flipped)


def _code(decoder: Decoder, content: bytes) -> int:
    try:
        assert decoder.decode(content, least_side=SIDE).mode == "RGB"
    except ImageError as error:
        return error.code
    return OK


def main() -> None:
    """Tell, as JSON, what came of each, the slowest in seconds and the peak of memory in bytes."""
    decoder, codes, slowest = Decoder(ImageLimits()), {}, 0.0
    made = list(pictures())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for picture in made:
        started = time.monotonic()
        codes[picture.name] = _code(decoder, picture.content)
        slowest = max(slowest, time.monotonic() - started)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"codes": codes, "slowest_s": slowest, "grown_bytes": grown * 1024}))  # noqa: T201  its output


if __name__ == "__main__":
    main()
