"""What load tests send: pictures with a label, photographs, and files that must be refused."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handlers.attn_decode import Decoder, ImageError, ImageLimits
from loadtests.bench.photos import photos
from loadtests.traffic.corpus import LARGEST_SIDE, MOST_PICTURES, Corpus, CorpusError, read_corpus
from loadtests.traffic.photographs import FORMS, SIZES, photographs
from loadtests.traffic.sample import Sample
from loadtests.traffic.unusable import corrupt, oversized

DECODER = Decoder(ImageLimits())
UNUSABLE = (*corrupt(), *oversized())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three digits as the builder names them, and files that are none of ours."""
    for number, label in enumerate("377"):
        grey = np.full((32, 32), 40 * number + 20, np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{label}-{number + 1}.png")
    (tmp_path / "notes.txt").write_text("no image")
    Image.new("L", (4, 4)).save(tmp_path / "cat.png")
    return tmp_path


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    """What is read from there."""
    return read_corpus(folder)


def shown(sample: Sample) -> Image.Image:
    """What is in a file."""
    return Image.open(io.BytesIO(sample.encoded))


def test_every_digit_comes_as_png_and_as_jpeg_with_its_label(corpus: Corpus) -> None:
    """LABEL-N.png is read, once as it is and once as JPEG; other files are left alone."""
    assert [(sample.name, sample.label, shown(sample).format) for sample in corpus.labelled] == [
        (f"{name}{form}", name[0], format_)
        for name in ("3-1.png", "7-2.png", "7-3.png")
        for form, format_ in (("", "PNG"), (" as JPEG", "JPEG"))
    ]


def test_the_jpeg_shows_what_the_png_shows(corpus: Corpus) -> None:
    """Encoding anew changes no pixel by more than a few levels."""
    png, jpeg = (np.asarray(shown(sample).convert("L"), int) for sample in corpus.labelled[2:4])
    assert np.abs(png - jpeg).max() <= 4


def test_a_folder_for_each_label_is_read_too(tmp_path: Path) -> None:
    """Any file name, in any of the formats, one level deep."""
    for name in ("hot dog/IMG.JPG", "hot dog/b.webp", "other/c.bmp", "other/deep/d.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert {(sample.name, sample.label) for sample in read_corpus(tmp_path).labelled} == {
        ("hot dog/IMG.JPG", "hot dog"),
        ("hot dog/b.webp", "hot dog"),
        ("other/c.bmp", "other"),
    }


def test_pictures_are_what_the_gateway_decodes(tmp_path: Path) -> None:
    """An image that lies on its side is turned as its EXIF data say."""
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    lying = Image.Exif()
    lying[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "x-1.webp", lossless=True, exif=lying)
    (picture,) = read_corpus(tmp_path).pictures
    np.testing.assert_array_equal(picture.pixels, np.rot90(pixels, -1))
    np.testing.assert_array_equal(picture.pixels, np.asarray(DECODER.decode(picture.sample.encoded)))


def test_few_and_small_pictures_are_kept_decoded(tmp_path: Path) -> None:
    """From all over the labels; those of a camera are shrunk."""
    for label in range(100):
        Image.new("1", (4, 4)).save(tmp_path / f"{label:03}-1.bmp")
    Image.new("1", (2000, 1000)).save(tmp_path / "000-0.bmp")
    pictures = read_corpus(tmp_path).pictures
    assert pictures[0].pixels.shape == (LARGEST_SIDE // 2, LARGEST_SIDE, 3)
    assert MOST_PICTURES / 2 < len(pictures) <= MOST_PICTURES
    assert pictures[-1].sample.label > "095"


@pytest.mark.parametrize("sample", UNUSABLE, ids=lambda sample: sample.name)
def test_what_is_unusable_is_refused_in_the_words_that_are_expected(sample: Sample) -> None:
    """Held against the decoder that the gateway's engine runs; none of it has a label, or is large."""
    with pytest.raises(ImageError) as refused:
        DECODER.decode(sample.encoded)
    assert str(refused.value).startswith(f"image: {sample.refusal}")
    assert sample.refusal
    assert sample.label == ""
    assert len(sample.encoded) < 8000


def test_only_what_is_too_large_is_refused_as_such() -> None:
    """RESOURCE_EXHAUSTED (8) against INVALID_ARGUMENT (3)."""

    def code(sample: Sample) -> int:
        with pytest.raises(ImageError) as refused:
            DECODER.decode(sample.encoded)
        return refused.value.code

    assert {code(sample) for sample in corrupt()} == {3}
    assert {code(sample) for sample in oversized()} == {8}


def test_photographs_come_in_several_sizes_and_formats(corpus: Corpus) -> None:
    """The gateway's engine decodes each, and in its size; nobody knows what they show."""
    assert corpus.photographs == photographs()
    assert corpus.left_out == ()
    seen = [(shown(photo).format, shown(photo).size) for photo in corpus.photographs]
    assert set(seen) == {(form.format, size) for form in FORMS for size in SIZES}
    assert {form for form, _ in seen} == {"JPEG", "PNG", "WEBP", "BMP", "GIF"}
    assert len({photo.encoded for photo in corpus.photographs}) == len(FORMS) * len(SIZES)
    for photo, (_, size) in zip(corpus.photographs, seen, strict=True):
        assert photo.label == photo.refusal == ""
        assert DECODER.decode(photo.encoded).size == size


def test_without_scikit_learn_there_are_no_photographs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus says so, and has all the rest."""
    monkeypatch.setitem(sys.modules, "loadtests.bench.photos", None)
    photographs.cache_clear()
    corpus = read_corpus(folder)
    assert corpus.photographs == ()
    assert len(corpus.left_out) == 1
    assert corpus.left_out[0].startswith("no photographs are sent: ")
    assert len(corpus.labelled) == 6


def test_a_folder_without_samples_says_how_to_make_them(tmp_path: Path) -> None:
    """The error names the folder and the command."""
    with pytest.raises(CorpusError, match=f"{tmp_path}.*attnserve build --demo --samples {tmp_path}"):
        read_corpus(tmp_path)


def test_a_sample_that_is_no_image_is_named(folder: Path) -> None:
    """Before any load, rather than as a refusal of the gateway."""
    (folder / "3-9.png").write_bytes(b"nonsense")
    with pytest.raises(CorpusError, match=r"samples: 3-9\.png is no image"):
        read_corpus(folder)


def test_the_benchs_photographs_are_distinct_and_the_same_every_time() -> None:
    """The bench sends real JPEGs of the size asked for, the same ones in every run."""
    first = photos(8, (500, 375))
    assert first == photos(8, (500, 375))
    assert len(set(first)) == 8
    assert {Image.open(io.BytesIO(photo)).size for photo in first} == {(500, 375)}
    assert all(20_000 < len(photo) < 150_000 for photo in first)
