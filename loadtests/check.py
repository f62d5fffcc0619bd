"""Whether a reply is right.

What is certain is checked on every reply; whether the net sees the right digit is a matter of its accuracy,
and judged over all replies at the end.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from loadtests.wire import Answer, Question

CLASSES: Final = tuple("0123456789")
SUM_TOLERANCE: Final = 1e-4  # float32 softmax over ten classes is off by less than 1e-6; JSON loses nothing


def fault(answer: Answer, question: Question) -> str:
    """What is wrong with an answer; "" when nothing is.

    A question with a corrupt image must be refused, so any answer to it is wrong.
    """
    if question.corrupt is not None:
        name = question.samples[question.corrupt].name
        return f"image {question.corrupt} is corrupt ({name}), but was answered"
    if (answer.request_id, answer.model) != (question.request_id, question.model):
        asked = f"{question.request_id} of {question.model}"
        return f"asked as {asked}, answered as {answer.request_id} of {answer.model}"
    expected = (len(question.samples), len(CLASSES))
    if answer.probabilities.shape != expected:
        return f"probabilities have the shape {answer.probabilities.shape}, expected {expected}"
    if not np.isfinite(answer.probabilities).all():
        return "probabilities are not all finite"
    sums = answer.probabilities.sum(axis=1)
    if np.abs(sums - 1).max() > SUM_TOLERANCE:
        return f"probabilities of an image sum to {sums[np.abs(sums - 1).argmax()]:.6f}, expected 1"
    best = tuple(CLASSES[index] for index in answer.probabilities.argmax(axis=1))
    return (
        "" if answer.labels == best else f"labels are {answer.labels}, the most probable classes are {best}"
    )


def refusal_fault(message: str, question: Question) -> str:
    """What is wrong with a refusal because of a bad image (INVALID_ARGUMENT, 400); "" when nothing is."""
    if question.corrupt is None:
        return f"refused, though no image is corrupt: {message}"
    if f"[{question.corrupt}]" not in message:
        return f"image {question.corrupt} is corrupt, but the refusal does not name it: {message}"
    return ""


def right(answer: Answer, question: Question) -> int:
    """How many images got their label."""
    return sum(given == sample.label for given, sample in zip(answer.labels, question.samples, strict=True))
