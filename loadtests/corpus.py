"""The images that the load tests send: handwritten digits with a known label, and files that are no image.

The digits are the held-out ones that `attnserve build --demo --samples FOLDER` writes as LABEL-N.png.
"""

from __future__ import annotations

import io
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

JPEG_QUALITY: Final = 95
_FILE_NAME: Final = re.compile(r"(?P<label>[0-9])-[0-9]+\.png")


class CorpusError(Exception):
    """There are no samples to send; the message says how to make them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One encoded image.

    Attributes:
        name: Where it comes from, for messages.
        label: The right answer; "" where the only right answer is a refusal.
        encoded: The file's bytes.
    """

    name: str
    label: str
    encoded: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What there is to draw from.

    Attributes:
        good: Images with a label.
        corrupt: Bytes that no decoder can read.
    """

    good: tuple[Sample, ...]
    corrupt: tuple[Sample, ...]

    def draw(self, count: int, chance: random.Random) -> tuple[Sample, ...]:
        """Images with a label, the same one perhaps twice."""
        return tuple(chance.choices(self.good, k=count))

    def draw_with_corrupt(self, count: int, chance: random.Random) -> tuple[Sample, ...]:
        """Images with a label, but for one at a random place that is corrupt."""
        samples = list(self.draw(count, chance))
        samples[chance.randrange(count)] = chance.choice(self.corrupt)
        return tuple(samples)


def read_corpus(folder: Path) -> Corpus:
    """Read every LABEL-N.png of a folder, and encode each as JPEG, too.

    Raises:
        CorpusError: There is none.
    """
    good: list[Sample] = []
    for path in sorted(folder.glob("*.png")):
        if found := _FILE_NAME.fullmatch(path.name):
            png = path.read_bytes()
            good.append(Sample(name=path.name, label=found["label"], encoded=png))
            good.append(Sample(name=f"{path.stem}.jpg", label=found["label"], encoded=_as_jpeg(png)))
    if not good:
        raise CorpusError(
            f"samples: {folder} holds no LABEL-N.png; `attnserve build --demo --samples {folder}` writes them"
        )
    return Corpus(good=tuple(good), corrupt=_corrupt(good))


def _as_jpeg(png: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _corrupt(good: list[Sample]) -> tuple[Sample, ...]:
    png, jpeg = good[0].encoded, good[1].encoded
    files = {
        "half a PNG": png[: len(png) // 2],
        "half a JPEG": jpeg[: len(jpeg) // 2],
        "a PNG of noise": png[:8] + bytes(range(256)),
        "text": b"this is no image",
        "nothing": b"",
    }
    return tuple(Sample(name=name, label="", encoded=encoded) for name, encoded in files.items())
