"""The images that load tests send."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loadtests.bench.photos import photos
from loadtests.corpus import Corpus, CorpusError, read_corpus


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


def test_every_sample_comes_as_png_and_as_jpeg_with_its_label(corpus: Corpus) -> None:
    """LABEL-N.png is read, once as it is and once as JPEG; other files are left alone."""
    assert [(sample.name, sample.label) for sample in corpus.good] == [
        *(
            ("3-1.png", "3"),
            ("3-1.jpg", "3"),
            ("7-2.png", "7"),
            ("7-2.jpg", "7"),
            ("7-3.png", "7"),
            ("7-3.jpg", "7"),
        ),
    ]
    assert [Image.open(io.BytesIO(sample.encoded)).format for sample in corpus.good] == ["PNG", "JPEG"] * 3


def test_the_jpeg_shows_what_the_png_shows(corpus: Corpus) -> None:
    """Encoding anew changes no pixel by more than a few levels."""
    png, jpeg = (
        np.asarray(Image.open(io.BytesIO(sample.encoded)).convert("L"), int) for sample in corpus.good[2:4]
    )
    assert np.abs(png - jpeg).max() <= 4


def test_no_decoder_reads_what_is_corrupt(corpus: Corpus) -> None:
    """Every corrupt file fails in Pillow, and has no label."""
    assert len(corpus.corrupt) == 5
    for sample in corpus.corrupt:
        assert sample.label == ""
        with pytest.raises((OSError, SyntaxError)):
            Image.open(io.BytesIO(sample.encoded)).load()


def test_a_draw_with_a_corrupt_image_has_exactly_one(corpus: Corpus) -> None:
    """It stands at any place among good ones."""
    chance = random.Random(0)  # noqa: S311  the same draws every time
    draws = [corpus.draw_with_corrupt(3, chance) for _ in range(50)]
    places = [[index for index, sample in enumerate(draw) if not sample.label] for draw in draws]
    assert {len(found) for found in places} == {1}
    assert {found[0] for found in places} == {0, 1, 2}


def test_a_folder_without_samples_says_how_to_make_them(tmp_path: Path) -> None:
    """The error names the folder and the command."""
    with pytest.raises(CorpusError, match=f"{tmp_path}.*attnserve build --demo --samples {tmp_path}"):
        read_corpus(tmp_path)


def test_photographs_are_distinct_and_the_same_every_time() -> None:
    """The bench sends real JPEGs of the size asked for, the same ones in every run."""
    first = photos(8, (500, 375))
    assert first == photos(8, (500, 375))
    assert len(set(first)) == 8
    assert {Image.open(io.BytesIO(photo)).size for photo in first} == {(500, 375)}
    assert all(20_000 < len(photo) < 150_000 for photo in first)
