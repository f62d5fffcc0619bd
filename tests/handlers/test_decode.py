"""Decoding: every oddity that real images have comes out as a viewer would show it, or is refused by name."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from handlers.attn_decode import Decoder, ImageError, ImageLimits, PixelBudget

if TYPE_CHECKING:
    from tests.handlers.conftest import Encode

DECODER = Decoder(ImageLimits())
ALLOWED = ("JPEG", "PNG", "WebP", "BMP", "GIF")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(size: tuple[int, int], depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG of any declared size, bit depth and colour type, whatever its rows hold."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _colour(blob: bytes) -> tuple[int, ...]:
    """The colour of the top left pixel."""
    image = DECODER.decode(blob)
    assert image.mode == "RGB"
    return tuple(np.asarray(image)[0, 0].tolist())


def _close(found: tuple[int, ...], expected: tuple[int, ...], levels: int = 3) -> bool:
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= levels


@pytest.mark.parametrize("kind", ALLOWED)
def test_all_allowed_formats_are_read(encode: Encode, kind: str) -> None:
    """A colour survives each format, JPEG's rounding aside."""
    assert _close(_colour(encode(kind, (200, 30, 90))), (200, 30, 90))


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 32896, (128, 128, 128)),
        ("I;16", 255, (1, 1, 1)),
    ],
)
def test_png_modes_become_rgb(
    encode: Encode, mode: str, value: int | tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Grey is spread, alpha is shown on white, 16 bits are scaled and not clipped."""
    assert _close(_colour(encode("PNG", Image.new(mode, (5, 4), value))), expected, levels=1)


def test_sixteen_bit_colour_is_scaled() -> None:
    """A 16-bit RGB PNG keeps its colour."""
    row = b"\0" + struct.pack(">3H", 65535, 32896, 257)
    assert _close(_colour(_png((1, 1), 16, 2, row)), (255, 128, 1), levels=1)


def test_transparent_sixteen_bit_grey_is_white() -> None:
    """The grey level that a tRNS chunk names is shown as white, others as they are."""
    image = Image.fromarray(np.array([[1000, 40000]], dtype=np.uint16))
    file = io.BytesIO()
    image.save(file, "PNG", transparency=1000)
    found = np.asarray(DECODER.decode(file.getvalue()))[0, :, 0]
    assert found.tolist() == [255, 156]


def test_palette_colours_and_their_transparency_are_used(encode: Encode) -> None:
    """A palette image shows its colours; the transparent one becomes white."""
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        plain = np.asarray(DECODER.decode(encode(kind, image)))
        assert plain.tolist() == [[[10, 20, 30], [200, 100, 50]]]
        cut_out = np.asarray(DECODER.decode(encode(kind, image, transparency=1)))
        assert cut_out.tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_inverted_cmyk_is_understood(encode: Encode) -> None:
    """Adobe's CMYK JPEG, which stores ink inverted, shows the colour that the inks mix."""
    assert _close(_colour(encode("JPEG", Image.new("CMYK", (16, 16), (0, 200, 200, 30)))), (225, 49, 49))


def test_ycck_is_understood(encode: Encode) -> None:
    """A JPEG whose Adobe marker says YCCK shows the colour that the inks mix."""
    luma, blue, red = Image.new("RGB", (1, 1), (0, 200, 200)).convert("YCbCr").getpixel((0, 0))  # type: ignore[misc]
    stored = Image.new("CMYK", (16, 16), (255 - luma, 255 - blue, 255 - red, 30))
    blob = bytearray(encode("JPEG", stored))
    transform = blob.index(b"Adobe") + 11
    assert blob[transform] == 0
    blob[transform] = 2
    assert _close(_colour(bytes(blob)), (225, 49, 49))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP"])
def test_exif_orientation_is_applied(encode: Encode, kind: str) -> None:
    """All eight orientations come out upright, as EXIF 2.32 section 4.6.4 defines them."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255
    stored = {
        1: upright,
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"exif": exif, "quality": 100, **({"lossless": True} if kind == "WebP" else {})}
        blob = encode(kind, Image.fromarray(np.ascontiguousarray(pixels)), **options)
        found = np.asarray(DECODER.decode(blob)).astype(int)
        assert found.shape == upright.shape, orientation
        assert abs(found - upright).max() <= 4, orientation


def test_broken_exif_is_ignored(encode: Encode) -> None:
    """An image with unreadable EXIF is an image still."""
    assert _colour(encode("PNG", "red", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")) == (255, 0, 0)


def test_only_the_first_frame_of_a_gif_counts(encode: Encode) -> None:
    """An animation is its first frame."""
    blob = encode("GIF", "red", save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")])
    assert _colour(blob) == (254, 0, 0) or _colour(blob) == (255, 0, 0)


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"", "image: no bytes"),
        (b"hello, this is text", "the first bytes b'hello, t' are of no known image format"),
        (b"<svg xmlns='x'/>", "seems to be SVG"),
        (b"%PDF-1.7", "seems to be PDF"),
        (b"\0\0\0\x1cftypavif", "seems to be AVIF"),
        (b"\0\0\0\x18ftypheic", "seems to be HEIF"),
        (b"\x89PNG\r\n\x1a\n", "cannot decode this PNG"),
        (b"\xff\xd8\xff\xe0", "cannot decode this JPEG"),
        (b"BM", "cannot decode this BMP"),
        (b"GIF89a", "cannot decode this GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "cannot decode this WebP"),
    ],
)
def test_what_is_no_image_is_refused_by_name(blob: bytes, words: str) -> None:
    """The message says what the bytes seem to be, and what is allowed."""
    with pytest.raises(ImageError, match="image: ") as refused:
        DECODER.decode(blob)
    assert words in str(refused.value)
    assert refused.value.code == 3


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "JPEG2000"])
def test_other_formats_are_refused_although_pillow_reads_them(encode: Encode, kind: str) -> None:
    """A reader that is not on the list never sees the file."""
    with pytest.raises(ImageError, match=f"seems to be {kind[:4]}.*must be one of JPEG, PNG, WebP, BMP, GIF"):
        DECODER.decode(encode(kind, "red"))


@pytest.mark.parametrize("kind", ALLOWED)
def test_truncated_files_are_refused(encode: Encode, kind: str) -> None:
    """Half a file is no image, never half an image."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blob = encode(kind, Image.fromarray(noise))
    with pytest.raises(ImageError, match=f"cannot decode this {kind}") as refused:
        DECODER.decode(blob[: len(blob) // 2])
    assert refused.value.code == 3


def test_declared_pixels_are_checked_before_decoding() -> None:
    """A file of 70 bytes that declares 60000 x 60000 pixels is refused by its header."""
    with pytest.raises(ImageError, match="60000 x 60000 pixels; at most 40000000") as refused:
        DECODER.decode(_png((60_000, 60_000), 8, 2, b""))
    assert refused.value.code == 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "L", "RGB"])
def test_large_images_are_shrunk_as_they_are_converted(encode: Encode, mode: str) -> None:
    """In any mode, in bands, odd edges included: within 2 levels of shrinking the whole converted image."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (52, 41, 4), dtype=np.uint8))
    picture = coarse.resize((1201, 1503), Image.Resampling.BICUBIC)
    image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    if mode != "I;16":
        image = picture.convert("RGB").convert("P") if mode == "P" else picture.convert(mode)
    blob = encode("PNG", image, **({"transparency": 3} if mode == "P" else {}))
    found = DECODER.decode(blob, least_side=300)
    expected = DECODER.decode(blob).reduce(4)
    assert found.size == (301, 376)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 2


def test_the_whole_of_a_large_image_is_never_composited(
    encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transparent PNG of 7000 x 7000, 200 KB small, is put on white in its reduced size, band by band."""
    blob = encode("PNG", Image.new("RGBA", (7000, 7000), (255, 0, 0, 128)))
    assert len(blob) < 250_000
    composited = []
    composite = Image.alpha_composite

    def noted(below: Image.Image, above: Image.Image) -> Image.Image:
        composited.append(above.width * above.height)
        return composite(below, above)

    monkeypatch.setattr(Image, "alpha_composite", noted)
    image = Decoder(ImageLimits(max_image_pixels=49_000_000)).decode(blob, least_side=384)
    assert image.size == (389, 389)
    assert sum(composited) == 389 * 389
    assert image.getcolors() == [(389 * 389, (255, 127, 127))]


def test_images_that_exceed_the_budget_together_take_turns() -> None:
    """The second waits until the first has given its pixels back."""
    budget = PixelBudget(100)
    taken = threading.Event()

    def take() -> None:
        with budget.taken(50):
            taken.set()

    other = threading.Thread(target=take)
    with budget.taken(40), budget.taken(60):
        other.start()
        assert not taken.wait(0.1)
    other.join(10)
    assert taken.is_set()


def test_a_failed_image_gives_its_pixels_back(encode: Encode) -> None:
    """A limit's worth of pixels can be decoded after an image of that size was refused."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blob = encode("PNG", Image.fromarray(noise))
    decoder = Decoder(ImageLimits(max_image_pixels=64 * 64))
    with pytest.raises(ImageError, match="cannot decode this PNG"):
        decoder.decode(blob[: len(blob) // 2])
    assert decoder.decode(blob).size == (64, 64)


def test_bytes_are_checked_before_anything_else(encode: Encode) -> None:
    """A file over the limit is refused whatever it holds."""
    blob = encode("PNG", "red")
    with pytest.raises(ImageError, match=f"{len(blob)} bytes; at most 10") as refused:
        Decoder(ImageLimits(max_image_bytes=10)).decode(blob)
    assert refused.value.code == 8


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kind=st.sampled_from(ALLOWED), data=st.data())
def test_damaged_files_are_read_or_refused(encode: Encode, kind: str, data: st.DataObject) -> None:
    """Bytes changed anywhere in a file lead to an RGB image or an ImageError, to nothing else."""
    blob = bytearray(encode(kind, Image.linear_gradient("L").resize((20, 20)).convert("RGB")))
    places = st.integers(0, len(blob) - 1)
    for place, value in data.draw(st.dictionaries(places, st.integers(0, 255), max_size=8)).items():
        blob[place] = value
    try:
        image = Decoder(ImageLimits(max_image_pixels=1_000_000)).decode(blob)
    except ImageError:
        return
    assert image.mode == "RGB"


@given(blob=st.binary())
def test_random_bytes_are_refused(blob: bytes) -> None:
    """Noise is an ImageError."""
    with pytest.raises(ImageError):
        DECODER.decode(blob)
