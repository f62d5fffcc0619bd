"""Figures of classifiers: what scikit-learn and statsmodels compute, and calibration by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss, top_k_accuracy_score
from statsmodels.stats.proportion import proportion_confint

from model_store.metrics import (
    Scores,
    calibration,
    confusion,
    frequent_confusions,
    joined,
    per_class,
    score,
    top,
    wilson_interval,
)

CLASSES, IMAGES = 12, 400
Example = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


@pytest.fixture(scope="module")
def example() -> Example:
    """Logits that favour the true class a little, their softmax and the truth."""
    random = np.random.default_rng(5)
    truth = random.integers(0, CLASSES, IMAGES)
    logits = random.normal(size=(IMAGES, CLASSES))
    logits[np.arange(IMAGES), truth] += 1.5
    return logits.astype(np.float32), softmax(logits.astype(np.float32), axis=1), truth


@pytest.fixture(scope="module")
def scores(example: Example) -> Scores:
    """The example's scores, made in three batches of different sizes."""
    logits, probabilities, truth = example
    ranges = (slice(0, 7), slice(7, 300), slice(300, None))
    return joined([score(logits[part], probabilities[part], truth[part]) for part in ranges])


@pytest.mark.parametrize("count", [1, 5])
def test_top_k_is_scikit_learns(example: Example, scores: Scores, count: int) -> None:
    """The share of images whose true class is among the k likeliest."""
    expected = top_k_accuracy_score(example[2], example[0], k=count, labels=range(CLASSES))
    assert top(scores, count).value == pytest.approx(expected, abs=1e-12)
    assert top(scores, count).images == IMAGES


def test_log_loss_is_scikit_learns(example: Example, scores: Scores) -> None:
    """The mean negative log-likelihood of the logits' softmax."""
    expected = log_loss(example[2], softmax(example[0].astype(np.float64), axis=1), labels=range(CLASSES))
    assert calibration(scores).nll == pytest.approx(expected, rel=1e-9)


def test_a_hopeless_answer_has_a_finite_log_loss() -> None:
    """A probability that FP32 rounds to 0 still has the logits' own log-likelihood: 200 nats here."""
    logits = np.array([[200.0, 0.0]], np.float32)
    probabilities = np.array([[1.0, 0.0]], np.float32)
    assert calibration(score(logits, probabilities, np.array([1]))).nll == pytest.approx(200)


def test_brier_score_is_scikit_learns(example: Example, scores: Scores) -> None:
    """The squared error summed over all classes."""
    expected = brier_score_loss(example[2], example[1], labels=range(CLASSES), scale_by_half=False)
    assert calibration(scores).brier == pytest.approx(expected, rel=1e-6)


def test_confusion_is_scikit_learns(example: Example, scores: Scores) -> None:
    """Rows are true classes, columns given ones; the most frequent mistakes are its largest other cells."""
    expected = confusion_matrix(example[2], example[0].argmax(axis=1), labels=range(CLASSES))
    np.testing.assert_array_equal(confusion(scores, CLASSES), expected)
    np.fill_diagonal(expected, 0)
    found = frequent_confusions(scores, 4)
    assert [count for *_, count in found] == sorted(expected.ravel(), reverse=True)[:4]
    assert all(expected[truth, given] == count for truth, given, count in found)


def test_each_class_has_its_share(scores: Scores) -> None:
    """Per class, the diagonal of the confusion over its row's sum; a class without images has none."""
    counts = confusion(scores, CLASSES)
    shares = per_class(scores, CLASSES + 1)
    assert shares[CLASSES] is None
    for number in range(CLASSES):
        share = shares[number]
        assert share is not None
        assert (share.right, share.images) == (counts[number, number], counts[number].sum())
        assert share.interval_95 == wilson_interval(share.right, share.images)


def test_without_mistakes_there_are_no_confusions() -> None:
    """Nothing is listed."""
    probabilities = np.eye(3, dtype=np.float32)
    assert frequent_confusions(score(probabilities * 9, probabilities, np.arange(3)), 5) == []


@pytest.mark.parametrize(("right", "total"), [(0, 10), (10, 10), (535, 540), (1, 3), (0, 1)])
def test_the_interval_is_wilsons(right: int, total: int) -> None:
    """It equals statsmodels', and stays within 0..1."""
    expected = proportion_confint(right, total, alpha=0.05, method="wilson")
    assert wilson_interval(right, total) == pytest.approx(expected, abs=1e-12)
    lower, upper = wilson_interval(right, total)
    assert 0 <= lower <= upper <= 1


@pytest.mark.parametrize("total", range(1, 60))
def test_the_interval_reaches_its_share(total: int) -> None:
    """With all right it ends at 1 and with none it begins at 0, by Wilson's formula, whatever is rounded."""
    assert wilson_interval(total, total)[1] == 1
    assert wilson_interval(0, total)[0] == 0


def test_equal_logits_go_to_the_first_class() -> None:
    """Ranks are those of a stable sort, so top-k counts an image once, whatever ties there are."""
    logits = np.zeros((3, 3), np.float32)
    found = score(logits, np.full((3, 3), 1 / 3, np.float32), np.arange(3))
    assert found.rank.tolist() == [0, 1, 2]
    assert found.given.tolist() == [0, 0, 0]


def test_calibration_error_of_a_published_example() -> None:
    """Four answers in three bins: 0.2, as torchmetrics' documentation of MulticlassCalibrationError has it.

    By hand, by Guo et al., equation 3: the bin (1/3, 2/3] has three answers of mean confidence 1.7/3, one of
    them right; the bin (2/3, 1] has one of 0.9, right. 3/4 * |1/3 - 1.7/3| + 1/4 * |1 - 0.9| = 0.2.
    """
    probabilities = np.array(
        [[0.25, 0.20, 0.55], [0.55, 0.05, 0.40], [0.10, 0.30, 0.60], [0.90, 0.05, 0.05]], np.float32
    )
    found = calibration(score(np.log(probabilities), probabilities, np.array([0, 1, 2, 0])), bins=3)
    assert found.ece == pytest.approx(0.2, abs=1e-6)
    assert [one.images for one in found.bins] == [0, 3, 1]
    assert (found.bins[0].confidence, found.bins[0].accuracy) == (None, None)
    assert found.bins[1].confidence == pytest.approx(1.7 / 3, abs=1e-6)
    assert found.bins[1].accuracy == pytest.approx(1 / 3)


def test_bins_are_closed_above_and_fifteen() -> None:
    """As in the paper a confidence of exactly m/15 belongs to bin m, and 1 to the last."""
    confidence = np.array([[0.5, 0.5], [0.0, 1.0], [0.8, 0.2]])
    found = calibration(score(np.log(confidence + 1e-9).astype(np.float32), confidence, np.array([0, 1, 1])))
    assert len(found.bins) == 15
    by_place = {place: one.images for place, one in enumerate(found.bins, start=1) if one.images}
    assert by_place == {8: 1, 12: 1, 15: 1}
    assert [one.upper for one in found.bins] == pytest.approx([m / 15 for m in range(1, 16)])
    assert found.ece == pytest.approx((abs(1 - 0.5) + abs(0 - 0.8) + abs(1 - 1)) / 3)
