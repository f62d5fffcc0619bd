"""What an evaluation found, as values: for a page, for machines, and for the archive's card."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_store.errors import InputError
from model_store.files import write_atomically
from model_store.metrics import Calibration, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An image that got no answer, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """An image that got a wrong answer, and its probability."""

    path: str
    label: str
    given: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often images of one class got another."""

    label: str
    given: str
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What the measurement took, files' reading left out.

    Attributes:
        images_per_second: From files in memory to answers.
        decode_ms: Median over the batches, from the files to the net's input.
        inference_ms: Median over the batches, of the forward pass.
        batch: Images in a batch; the last one may have fewer.
        device: As torch writes it.
        threads: CPU threads of the forward pass.
        recipe: Form in which the net ran.
        torch: Its version.
    """

    images_per_second: float
    decode_ms: float
    inference_ms: float
    batch: int
    device: str
    threads: int
    recipe: str
    torch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What came out. Shares and calibration are of the images that got an answer.

    Attributes:
        archive: The file.
        model: Its name.
        version: Its version.
        contents_sha256: Of the archive.
        data: What the images are called.
        images: How many got an answer.
        failures: Those that got none.
        ignored: What the data's folder holds besides, as `Dataset.ignored`.
        absent: Labels that no image has.
        top1: How often the likeliest class is right.
        top5: How often the right class is among the five likeliest; None with up to five classes.
        per_class: By label; None: no image of it got an answer.
        confusion: Counts, a row per true class, a column per given one; None with more than 30 classes.
        confusions: The most frequent mistakes, in falling order.
        calibration: What probabilities are worth.
        mistakes: Every wrongly classified image, in the data set's order.
        speed: What it took.
        decoder: What decoded the images: of JPEG files, and of all others with its version.
        handler: Version of the archive's handler.
    """

    archive: str
    model: str
    version: str
    contents_sha256: str
    data: str
    images: int
    failures: tuple[Failure, ...]
    ignored: tuple[str, ...]
    absent: tuple[str, ...]
    top1: Share
    top5: Share | None
    per_class: dict[str, Share | None]
    confusion: tuple[tuple[int, ...], ...] | None
    confusions: tuple[Confusion, ...]
    calibration: Calibration
    mistakes: tuple[Mistake, ...]
    speed: Speed
    decoder: str
    handler: str

    def as_dict(self) -> dict[str, Any]:
        """All but the mistakes, which have a file of their own, as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "mistakes"}

    def as_card(self) -> dict[str, Any]:
        """The keys `evaluation` and `speed` of an archive's card."""
        shares = {"top1": self.top1, "top5": self.top5}
        figures = {
            key: value
            for name, share in shares.items()
            if share is not None
            for key, value in ((name, share.value), (f"{name}_interval_95", list(share.interval_95)))
        }
        evaluation = {
            "data": self.data,
            "images": self.images,
            "without_answer": len(self.failures),
            **figures,
            "ece": self.calibration.ece,
            "brier": self.calibration.brier,
            "nll": self.calibration.nll,
            "decoder": self.decoder,
            "handler": self.handler,
        }
        return {"evaluation": evaluation, "speed": asdict(self.speed)}


def write_mistakes(path: Path, mistakes: Sequence[Mistake]) -> None:
    """Write a CSV file with the columns path, label, given, probability.

    Raises:
        InputError: It cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("path", "label", "given", "probability"))
    writer.writerows((one.path, one.label, one.given, one.probability) for one in mistakes)
    try:
        # A file's name need not be UTF-8; "surrogateescape" gives such a name its own bytes back.
        write_atomically(path, text.getvalue().encode("utf-8", errors="surrogateescape"))
    except OSError as error:
        raise InputError(f"errors: cannot write {str(path)!r}: {error.strerror}") from error
