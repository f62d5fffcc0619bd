"""Which replies count as right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtests.traffic.check import fault, judged, refusal_fault, right
from loadtests.traffic.questions import Answer, Question, Refusal, Subject
from loadtests.traffic.sample import Sample

SUBJECT = Subject(
    name="digits_se",
    labels=tuple("0123456789"),
    input_size=(16, 16),
    max_batch=16,
    served_by=("digits_se",),
)
TRIAL = replace(SUBJECT, name="trial", served_by=("digits_se", "digits_sk"))


def sample(label: str) -> Sample:
    """An image."""
    return Sample(name=label, label=label, encoded=b"...")


QUESTION = Question(request_id="q1", model="digits_se", samples=(sample("3"), sample("7")))
CORRUPT = replace(QUESTION, refusal=Refusal(outcome="client_error", text="image [1]: image: no bytes"))


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
    assert fault(answer(3, 7), QUESTION, SUBJECT) == ""
    assert fault(answer(3, 1), QUESTION, SUBJECT) == ""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (changed(request_id="q9"), "asked as q1 of digits_se, answered as q9 of digits_se"),
        (changed(model="digits_eca"), "asked as q1 of digits_se, answered as q1 of digits_eca"),
        (answer(3), r"probabilities have the shape \(1, 10\), expected \(2, 10\)"),
        (changed(probabilities=np.full((2, 9), 1 / 9, np.float32)), r"shape \(2, 9\)"),
        (changed(probabilities=np.full((2, 10), np.nan, np.float32)), "not all finite"),
        (changed(probabilities=answer(3, 7).probabilities * 1.01), "sum to 1.01"),
        (changed(probabilities=answer(3, 7).probabilities * [[1], [0.99]]), "sum to 0.99"),
        (
            changed(probabilities=np.array([[1.5, -0.5] + [0.0] * 8] * 2, np.float32)),
            "a probability is -0.5",
        ),
        (changed(probabilities=answer(7, 3).probabilities), "the most probable classes are"),
        (changed(labels=("3",)), "labels are"),
    ],
)
def test_each_flaw_is_a_fault(wrong: Answer, message: str) -> None:
    """Exchanged, misshaped, not finite, not a distribution, or at odds with itself."""
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(fault(wrong, QUESTION, SUBJECT))


def test_any_arm_may_answer_for_an_experiment() -> None:
    """But no other model, and the experiment itself is none."""
    asked = replace(QUESTION, model="trial")
    for name in ("digits_se", "digits_sk"):
        assert fault(changed(model=name), asked, TRIAL) == ""
    for name in ("digits_eca", "trial"):
        assert f"answered as q1 of {name}" in fault(changed(model=name), asked, TRIAL)


def test_labels_are_the_models_own() -> None:
    """In the order of its probabilities."""
    subject = replace(SUBJECT, labels=("cat", "dog"))
    pets = Answer(
        request_id="q1",
        model="digits_se",
        probabilities=np.array([[0.25, 0.75], [0.5, 0.5]], np.float32),
        labels=("dog", "cat"),
    )
    assert fault(pets, QUESTION, subject) == ""
    assert "labels are" in fault(replace(pets, labels=("cat", "dog")), QUESTION, subject)


def test_an_answer_where_a_refusal_is_right_is_a_fault() -> None:
    """Whatever it says."""
    assert fault(answer(3, 7), CORRUPT, SUBJECT) == (
        "answered, but should have been refused with 'image [1]: image: no bytes'"
    )


def test_a_refusal_is_right_when_it_is_the_one_expected() -> None:
    """Its outcome and its words; not of another image, for another reason, or where an answer is due."""
    words = "image [1]: image: no bytes; must be one of JPEG, PNG"
    assert refusal_fault("client_error", words, CORRUPT) == ""
    assert refusal_fault("shed", words, CORRUPT).startswith("shed: image [1]: image: no bytes;")
    for other in (words.replace("1", "0"), words.replace("no bytes", "cannot decode this PNG")):
        assert refusal_fault("client_error", other, CORRUPT) == (
            f"client_error: {other}; expected client_error with 'image [1]: image: no bytes'"
        )
    assert refusal_fault("client_error", words, QUESTION) == f"client_error: {words}"


def test_right_counts_images() -> None:
    """Each image that got its label counts; one without a label never does."""
    assert [right(answer(*digits), QUESTION) for digits in ((3, 7), (3, 1), (7, 3))] == [2, 1, 0]
    unknown = replace(QUESTION, samples=(sample(""), sample("7")))
    assert right(changed(labels=("", "7")), unknown) == 1


def test_only_labels_that_the_model_knows_are_judged() -> None:
    """A digit is neither right nor wrong for a net that tells cats from dogs."""
    assert judged(QUESTION, SUBJECT) == 2
    assert judged(replace(QUESTION, samples=(sample(""), sample("7"))), SUBJECT) == 1
    assert judged(QUESTION, replace(SUBJECT, labels=("cat", "dog"))) == 0
