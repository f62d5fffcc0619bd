"""Which replies count as right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtests.check import fault, refusal_fault, right
from loadtests.corpus import Sample
from loadtests.wire import Answer, Question


def sample(label: str) -> Sample:
    """An image; corrupt when it has no label."""
    return Sample(name=label or "half a PNG", label=label, encoded=b"...")


QUESTION = Question(request_id="q1", model="digits_se", samples=(sample("3"), sample("7")))
CORRUPT = Question(request_id="q2", model="digits_se", samples=(sample("3"), sample("")))


def answer(*digits: int) -> Answer:
    """A flawless answer to QUESTION that sees these digits."""
    probabilities = np.full((len(digits), 10), 0.01, np.float32)
    probabilities[range(len(digits)), digits] = 0.91
    return Answer(
        request_id="q1", model="digits_se", probabilities=probabilities, labels=tuple(map(str, digits))
    )


def changed(**changes: object) -> Answer:
    """A flawless answer but for some fields."""
    return replace(answer(3, 7), **changes)  # type: ignore[arg-type] # any field


def test_a_flawless_answer_has_no_fault() -> None:
    """Also when the net sees another digit: that is a matter of accuracy."""
    assert fault(answer(3, 7), QUESTION) == ""
    assert fault(answer(3, 1), QUESTION) == ""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (changed(request_id="q9"), "asked as q1 of digits_se, answered as q9 of digits_se"),
        (changed(model="digits_eca"), "asked as q1 of digits_se, answered as q1 of digits_eca"),
        (answer(3), r"probabilities have the shape \(1, 10\), expected \(2, 10\)"),
        (changed(probabilities=np.full((2, 9), 1 / 9, np.float32)), r"shape \(2, 9\)"),
        (changed(probabilities=np.full((2, 10), np.nan, np.float32)), "not all finite"),
        (changed(probabilities=answer(3, 7).probabilities * 1.01), "sum to 1.01"),
        (changed(probabilities=answer(7, 3).probabilities), "the most probable classes are"),
        (changed(labels=("3",)), "labels are"),
    ],
)
def test_each_flaw_is_a_fault(wrong: Answer, message: str) -> None:
    """Exchanged, misshaped, not finite, not a distribution, or at odds with itself."""
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(fault(wrong, QUESTION))


def test_an_answer_to_a_corrupt_image_is_a_fault() -> None:
    """Whatever it says: it should have been refused."""
    assert fault(replace(answer(3, 7), request_id="q2"), CORRUPT) == (
        "image 1 is corrupt (half a PNG), but was answered"
    )


def test_a_refusal_is_right_when_it_names_the_corrupt_image() -> None:
    """Not when it names none, or when nothing was corrupt."""
    assert refusal_fault("image [1]: cannot decode this PNG", CORRUPT) == ""
    assert "does not name it" in refusal_fault("image [0]: cannot decode this PNG", CORRUPT)
    assert "no image is corrupt" in refusal_fault("image [1]: cannot decode this PNG", QUESTION)


def test_right_counts_images() -> None:
    """Each image that got its label counts."""
    assert [right(answer(*digits), QUESTION) for digits in ((3, 7), (3, 1), (7, 3))] == [2, 1, 0]
