"""Decoders beside Pillow: used only where they give the same picture, and never instead of a refusal."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from handlers.attn_decode import Decoder, ImageError, ImageLimits
from handlers.attn_decoders import choose_decoder
from handlers.attn_gpu_jpeg import GpuJpegs
from handlers.attn_preprocess import Recipe, fit

if TYPE_CHECKING:
    from tests.handlers.conftest import Encode

simplejpeg = pytest.importorskip("simplejpeg")
CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)
LIMITS = ImageLimits(max_image_pixels=1_000_000)
STRETCH = Recipe(
    size=(20, 30), method="stretch", resize=(20, 30), interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
)


def _picture(width: int, height: int, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def _fast() -> Decoder:
    return Decoder(LIMITS, choose_decoder("simplejpeg", CPU).jpeg)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    least_side=st.one_of(st.none(), st.integers(1, 120)),
    quality=st.integers(30, 98),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
)
def test_simplejpeg_gives_pillows_bits(
    encode: Encode, *, size: tuple[int, int], least_side: int | None, **options: int
) -> None:
    """Of any size, scale, quality and subsampling: the very picture that Pillow's reader gives."""
    blob = encode("JPEG", _picture(*size), **options)
    found = _fast().read(blob, least_side=least_side)
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, np.asarray(Decoder(LIMITS).decode(blob, least_side=least_side)))


def test_what_is_no_plain_jpeg_stays_with_pillow(encode: Encode) -> None:
    """Grey, CMYK, EXIF-turned and very large JPEG files, and all other formats, come out of Pillow."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = _picture(40, 30)
    for blob in (
        encode("JPEG", picture.convert("L")),
        encode("JPEG", picture.convert("CMYK")),
        encode("JPEG", picture, exif=exif),
        encode("JPEG", _picture(2000, 600)),
        encode("PNG", picture),
    ):
        decoder = Decoder(ImageLimits(), choose_decoder("simplejpeg", CPU).jpeg)
        found = decoder.read(blob)
        assert isinstance(found, Image.Image)
        assert np.array_equal(np.asarray(found), np.asarray(Decoder(ImageLimits()).decode(blob)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_files_come_to_the_same_end(encode: Encode, data: st.DataObject) -> None:
    """Bytes changed or cut anywhere: the same picture as Pillow's, or the same code and message."""
    blob = bytearray(encode("JPEG", _picture(40, 30)))
    for place, value in data.draw(
        st.dictionaries(st.integers(0, len(blob) - 1), st.integers(0, 255), max_size=6)
    ).items():
        blob[place] = value
    end = data.draw(st.integers(0, len(blob)))
    ends = []
    for decoder in (_fast(), Decoder(LIMITS)):
        try:
            ends.append(np.asarray(decoder.decode(blob[:end])).tolist())
        except ImageError as error:
            # An object's address is no part of what is said.
            ends.append((error.code, str(error).partition(" at 0x")[0]))
    assert ends[0] == ends[1]


def test_limits_hold_before_it_sees_the_file(encode: Encode) -> None:
    """What declares too many pixels is refused by its header, and never given to the faster reader."""
    seen = []
    decoder = Decoder(ImageLimits(max_image_pixels=100), lambda *file: seen.append(file))
    with pytest.raises(ImageError, match="40 x 30 pixels; at most 100") as refused:
        decoder.decode(encode("JPEG", _picture(40, 30)))
    assert refused.value.code == 8
    assert seen == []


def test_auto_takes_simplejpeg_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """And Pillow, with a reason, where it is not, also when it was asked for by name."""
    assert choose_decoder("auto", CPU).name == "simplejpeg"
    assert choose_decoder("pillow", CPU).jpeg is None
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    for wish in ("auto", "simplejpeg"):
        choice = choose_decoder(wish, CPU)
        assert (choice.name, choice.jpeg, choice.gpu) == ("pillow", None, None)
        assert choice.reasons[0].startswith("simplejpeg: cannot be imported: ")


def test_a_library_that_draws_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """One level in one pixel is enough: the classes must not depend on what is installed."""

    def decode_jpeg(*args: object, **options: object) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(*args, **options)
        pixels[0, 0, 0] ^= 1
        return pixels

    monkeypatch.setitem(sys.modules, "simplejpeg", SimpleNamespace(decode_jpeg=decode_jpeg))
    choice = choose_decoder("auto", CPU)
    assert choice.name == "pillow"
    assert choice.reasons == ("simplejpeg: its pictures differ from those of this Pillow",)


class Codec:
    """A stand-in for `nvidia.nvimgcodec`, which hands out CPU tensors that Pillow decoded."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    class DecodeParams:
        """Its options."""

        def __init__(self, *, apply_exif_orientation: bool, allow_any_depth: bool) -> None:
            assert not apply_exif_orientation
            assert not allow_any_depth

    def Decoder(self, *, device_id: int, options: str) -> Codec:  # noqa: N802  the library's name
        """Its decoder: this object again."""
        assert (device_id, options) == (0, ":fancy_upsampling=1")
        return self

    def decode(self, blobs: Sequence[bytes], *, params: Any, cuda_stream: int) -> list[Any]:  # noqa: ANN401
        """One picture each; None for what Pillow refuses, as the library does."""
        assert isinstance(params, Codec.DecodeParams)
        assert cuda_stream == 0
        self.asked.append(len(blobs))
        return [self._decoded(blob) for blob in blobs]

    @staticmethod
    def _decoded(blob: bytes) -> torch.Tensor | None:
        try:
            return torch.from_numpy(np.array(Image.open(io.BytesIO(blob)).convert("RGB")))
        except OSError:
            return None


def test_the_gpus_decoder_falls_back_with_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, or without the library, the next best decoder serves and says why."""
    choice = choose_decoder("nvimgcodec", CPU)
    assert choice.name == "simplejpeg"
    assert choice.reasons == ("nvimgcodec: decodes on a GPU, and this worker runs on cpu",)
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", None)
    missing = choose_decoder("nvimgcodec", CUDA)
    assert missing.name == "simplejpeg"
    assert missing.reasons[0].startswith("nvimgcodec: cannot be imported: ")
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", SimpleNamespace())
    broken = choose_decoder("nvimgcodec", CUDA)
    assert broken.reasons[0].startswith("nvimgcodec: does not start: ")


def test_the_gpus_decoder_is_opened_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by name, on a GPU, with the library there."""
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", Codec())
    choice = choose_decoder("nvimgcodec", CUDA)
    assert (choice.name, choice.reasons) == ("nvimgcodec", ())
    assert choice.gpu is not None


def test_the_gpus_pictures_are_resized_by_the_recipe(encode: Encode) -> None:
    """As Pillow resizes them, within a level; what the library gives up on stays None."""
    picture = _picture(64, 48)
    found = GpuJpegs(Codec(), CPU).read([encode("JPEG", picture, quality=95), b"nothing"], STRETCH)
    expected = fit(Decoder(LIMITS).decode(encode("JPEG", picture, quality=95)), STRETCH, reducing_gap=None)
    assert found[0] is not None
    assert np.abs(found[0].numpy().astype(int) - np.asarray(expected)).max() <= 1
    assert found[1] is None


def test_a_failing_gpu_decoder_leaves_all_to_the_cpu(
    encode: Encode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its exception is logged, not raised."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    codec = Codec()
    monkeypatch.setattr(codec, "decode", fail)
    found = GpuJpegs(codec, CPU).read([encode("JPEG", _picture(64, 48))], STRETCH)
    assert found == [None]
    assert "nvImageCodec failed on 1 files" in caplog.text
