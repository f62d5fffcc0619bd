"""What the load tests send: pictures with a known label, photographs, and files that must be refused.

The pictures are the held-out digits that `attnserve build --demo --samples FOLDER` writes as LABEL-N.png, or
anybody's own: files of that name, or a folder for each label.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from loadtests.traffic.photographs import photographs
from loadtests.traffic.sample import Sample
from loadtests.traffic.unusable import corrupt, oversized

JPEG_QUALITY: Final = 95
MOST_PICTURES: Final = 64  # that are kept decoded
LARGEST_SIDE: Final = 256  # of those, in pixels; larger ones are shrunk

_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
_FILE_NAME: Final = re.compile(r"(?P<label>.+)-[0-9]+")

Pixels: TypeAlias = NDArray[np.uint8]


class CorpusError(Exception):
    """There are no samples to send, or one cannot be read; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A sample with a label, decoded: uint8 [H,W,3], RGB."""

    sample: Sample
    pixels: Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What there is to draw from.

    Attributes:
        labelled: Images with a label.
        pictures: Some of them, decoded.
        corrupt: Bytes that no decoder can read.
        oversized: Small files that announce more pixels than anybody decodes.
        photographs: Images of which nobody knows the label.
        left_out: What is missing here and why, in sentences.
    """

    labelled: tuple[Sample, ...]
    pictures: tuple[Picture, ...]
    corrupt: tuple[Sample, ...]
    oversized: tuple[Sample, ...]
    photographs: tuple[Sample, ...] = ()
    left_out: tuple[str, ...] = ()


def read_corpus(folder: Path) -> Corpus:
    """Read the samples of a folder, LABEL-N.png and LABEL/ANY.jpg; each PNG is sent as JPEG, too.

    Raises:
        CorpusError: There is none, or one is no image.
    """
    labelled = tuple(sample for label, path in _files(folder) for sample in _samples(label, path, folder))
    if not labelled:
        raise CorpusError(
            f"samples: {folder} holds no LABEL-N.png and no folder LABEL with images; "
            f"`attnserve build --demo --samples {folder}` writes digits"
        )
    photos, left_out = _photographs()
    return Corpus(
        labelled=labelled,
        pictures=tuple(_picture(sample) for sample in _spread(labelled)),
        corrupt=corrupt(),
        oversized=oversized(),
        photographs=photos,
        left_out=left_out,
    )


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Labels and files, in the same order everywhere."""
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES):
        folders = path.relative_to(folder).parts[:-1]
        if not folders and (found := _FILE_NAME.fullmatch(path.stem)):
            yield found["label"], path
        elif len(folders) == 1:
            yield folders[0], path


def _samples(label: str, path: Path, folder: Path) -> Iterator[Sample]:
    sample = Sample(name=str(path.relative_to(folder)), label=label, encoded=path.read_bytes())
    yield sample
    if path.suffix.lower() == ".png":
        buffer = io.BytesIO()
        _decoded(sample).save(buffer, "JPEG", quality=JPEG_QUALITY)
        yield replace(sample, name=f"{sample.name} as JPEG", encoded=buffer.getvalue())


def _decoded(sample: Sample) -> Image.Image:
    """What a viewer shows, in RGB."""
    try:
        with Image.open(io.BytesIO(sample.encoded)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise CorpusError(f"samples: {sample.name} is no image that can be read: {error}") from error


def _picture(sample: Sample) -> Picture:
    image = _decoded(sample)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return Picture(sample, np.asarray(image))


def _spread(samples: Sequence[Sample]) -> Sequence[Sample]:
    """At most so many as are decoded, from all over the list, since it is sorted by label."""
    return samples[:: math.ceil(len(samples) / MOST_PICTURES)]


def _photographs() -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    try:
        return photographs(), ()
    except ImportError as error:
        return (), (f"no photographs are sent: {error}",)
