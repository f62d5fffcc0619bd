"""Whether a reply is right.

What is certain is checked on every reply; whether the net sees the right thing in an image is a matter of its
accuracy, and judged over all replies at the end.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from loadtests.traffic.questions import Answer, Question, Subject

SUM_TOLERANCE: Final = 1e-4  # a float32 softmax is off by far less; JSON loses nothing


def fault(answer: Answer, question: Question, subject: Subject) -> str:
    """What is wrong with an answer; "" when nothing is.

    A question that must be refused has no right answer.
    """
    if question.refusal:
        return f"answered, but should have been refused with {question.refusal.text!r}"
    return _wrong_address(answer, question, subject) or _wrong_numbers(answer, question, subject)


def refusal_fault(outcome: str, message: str, question: Question) -> str:
    """What is wrong with a reply that is no answer; "" when it is the refusal that was expected.

    Args:
        outcome: The gateway's label, as `tally.grpc_outcome` or `tally.HTTP_OUTCOMES` give it.
        message: What it said.
        question: That was asked.
    """
    expected = question.refusal
    if expected is None:
        return f"{outcome}: {message}"
    if outcome != expected.outcome or expected.text not in message:
        return f"{outcome}: {message}; expected {expected.outcome} with {expected.text!r}"
    return ""


def right(answer: Answer, question: Question) -> int:
    """How many images got their label; those without one never do."""
    return sum(
        given == sample.label != "" for given, sample in zip(answer.labels, question.samples, strict=True)
    )


def judged(question: Question, subject: Subject) -> int:
    """How many images have a label that the model knows."""
    return sum(sample.label in subject.labels for sample in question.samples)


def _wrong_address(answer: Answer, question: Question, subject: Subject) -> str:
    if answer.request_id == question.request_id and answer.model in subject.served_by:
        return ""
    asked = f"{question.request_id} of {question.model}"
    return f"asked as {asked}, answered as {answer.request_id} of {answer.model}"


def _wrong_numbers(answer: Answer, question: Question, subject: Subject) -> str:
    expected = (len(question.samples), len(subject.labels))
    if answer.probabilities.shape != expected:
        return f"probabilities have the shape {answer.probabilities.shape}, expected {expected}"
    if not np.isfinite(answer.probabilities).all():
        return "probabilities are not all finite"
    if answer.probabilities.min() < 0:
        return f"a probability is {answer.probabilities.min():.6g}, expected at least 0"
    sums = answer.probabilities.sum(axis=1)
    if np.abs(sums - 1).max() > SUM_TOLERANCE:
        return f"probabilities of an image sum to {sums[np.abs(sums - 1).argmax()]:.6f}, expected 1"
    best = tuple(subject.labels[index] for index in answer.probabilities.argmax(axis=1))
    return (
        "" if answer.labels == best else f"labels are {answer.labels}, the most probable classes are {best}"
    )
