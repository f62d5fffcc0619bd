"""Measures an archive on labelled images, through the very code that serves it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
import PIL
import torch

from model_store import metrics
from model_store.dataset import Dataset, LabelledImage
from model_store.errors import InputError
from model_store.evaluation import Confusion, Evaluation, Failure, Mistake, Speed
from model_store.metrics import Scores
from model_store.served import ServedArchive, ServedBatch

BATCH: Final = 8
MATRIX_CLASSES: Final = 30  # a confusion matrix of more is read by nobody
CONFUSIONS: Final = 10


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What the batches so far have brought."""

    answered: list[LabelledImage] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    decode_us: list[int] = field(default_factory=list)
    inference_us: list[int] = field(default_factory=list)
    seconds: float = 0.0


def evaluate(
    served: ServedArchive,
    dataset: Dataset,
    *,
    data: str,
    batch: int = BATCH,
    on_batch: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Classify every image and compare with its label.

    Args:
        served: The open archive.
        dataset: Read with the archive's labels.
        data: What to call the data set.
        batch: Images in a batch, at least 1.
        on_batch: Told after each batch how many images it had.

    Raises:
        InputError: `batch` is below 1, or no image got an answer.
        ArchiveError: A forward pass failed.
    """
    if batch < 1:
        raise InputError(f"batch: {batch} must be at least 1")
    tally = _Tally()
    for first in range(0, len(dataset.images), batch):
        images = dataset.images[first : first + batch]
        _answer(served, images, tally)
        on_batch(len(images))
    if not tally.answered:
        first_failure = tally.failures[0]
        raise InputError(
            f"data: none of the {len(dataset.images)} images got an answer; "
            f"the first, {first_failure.path!r}: {first_failure.reason}"
        )
    return _evaluation(served, dataset, tally, data=data, batch=batch)


def _answer(served: ServedArchive, images: Sequence[LabelledImage], tally: _Tally) -> None:
    """Classify one batch."""
    files = [_contents(image.path) for image in images]
    readable = [image for image, file in zip(images, files, strict=True) if isinstance(file, bytes)]
    tally.failures += [
        Failure(path=str(image.path), reason=file)
        for image, file in zip(images, files, strict=True)
        if isinstance(file, str)
    ]
    if not readable:
        return
    started = perf_counter()
    found = served.run([file for file in files if isinstance(file, bytes)])
    tally.seconds += perf_counter() - started
    tally.decode_us.append(found.decode_us)
    tally.inference_us.append(found.inference_us)
    tally.failures += [
        Failure(path=str(readable[number].path), reason=why) for number, why in sorted(found.failures.items())
    ]
    _score(found, readable, tally)


def _contents(path: Path) -> bytes | str:
    """The file, or why it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _score(found: ServedBatch, images: Sequence[LabelledImage], tally: _Tally) -> None:
    answered = [number for number in range(len(images)) if number not in found.failures]
    if not answered:
        return
    truth = np.array([images[number].label for number in answered], dtype=np.int64)
    tally.answered += [images[number] for number in answered]
    tally.scores.append(metrics.score(found.logits[answered], found.probabilities[answered], truth))


def _evaluation(
    served: ServedArchive, dataset: Dataset, tally: _Tally, *, data: str, batch: int
) -> Evaluation:
    labels, scores = served.labels, metrics.joined(tally.scores)
    classes = len(labels)
    matrix = metrics.confusion(scores, classes).tolist() if classes <= MATRIX_CLASSES else None
    return Evaluation(
        archive=served.inspection.path,
        model=served.signature["name"],
        version=served.signature["version"],
        contents_sha256=served.inspection.contents_sha256,
        data=data,
        images=len(scores),
        failures=tuple(tally.failures),
        ignored=tuple(map(str, dataset.ignored)),
        absent=dataset.absent,
        top1=metrics.top(scores, 1),
        top5=metrics.top(scores, metrics.TOP) if classes > metrics.TOP else None,
        per_class=dict(zip(labels, metrics.per_class(scores, classes), strict=True)),
        confusion=None if matrix is None else tuple(map(tuple, matrix)),
        confusions=tuple(
            Confusion(label=labels[truth], given=labels[given], images=images)
            for truth, given, images in metrics.frequent_confusions(scores, CONFUSIONS)
        ),
        calibration=metrics.calibration(scores),
        mistakes=_mistakes(labels, scores, tally.answered),
        speed=_speed(served, tally, batch),
        decoder=f"{served.decoder}, Pillow {PIL.__version__}",
        handler=served.handler_version,
    )


def _mistakes(
    labels: Sequence[str], scores: Scores, answered: Sequence[LabelledImage]
) -> tuple[Mistake, ...]:
    return tuple(
        Mistake(
            path=str(answered[number].path),
            label=labels[scores.truth[number]],
            given=labels[scores.given[number]],
            probability=float(scores.confidence[number]),
        )
        for number in np.flatnonzero(scores.rank).tolist()
    )


def _speed(served: ServedArchive, tally: _Tally, batch: int) -> Speed:
    return Speed(
        images_per_second=len(tally.answered) / tally.seconds,
        decode_ms=statistics.median(tally.decode_us) / 1000,
        inference_ms=statistics.median(tally.inference_us) / 1000,
        batch=batch,
        device=served.device,
        threads=served.threads,
        recipe=served.recipe,
        torch=torch.__version__,
    )
