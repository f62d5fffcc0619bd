"""How good a classifier's answers are: shares with intervals, confusions, and what its confidence is worth.

Answers are reduced image by image (`score`), so that a large data set never has to be held as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

BINS: Final = 15
TOP: Final = 5
_Z_95: Final = 1.959963984540054  # the 97.5 % point of the normal distribution

Ints: TypeAlias = NDArray[np.int64]
Doubles: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What the figures need of each of N answers.

    Attributes:
        truth: INT64 [N], the class of the image.
        given: INT64 [N], the class with the largest logit; the first among equals.
        rank: INT64 [N], of the true class by its logit, from 0; equals in the order of the classes.
        confidence: FP64 [N], the probability of `given`.
        squared_error: FP64 [N], the sum over the classes of (probability - 1 if true else 0)^2, 0..2.
        log_loss: FP64 [N], minus the natural logarithm of the true class's probability.
    """

    truth: Ints
    given: Ints
    rank: Ints
    confidence: Doubles
    squared_error: Doubles
    log_loss: Doubles

    def __len__(self) -> int:
        """Number of answers."""
        return len(self.truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many right of so many.

    Attributes:
        right: 0..images.
        images: At least 1.
        value: right / images.
        interval_95: Wilson's interval of it.
    """

    right: int
    images: int
    value: float
    interval_95: tuple[float, float]

    @classmethod
    def of(cls, right: int, images: int) -> Share:
        """The share with its interval."""
        return cls(
            right=right, images=images, value=right / images, interval_95=wilson_interval(right, images)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bar of a reliability diagram: the answers with a confidence in (lower, upper].

    Attributes:
        lower: Open end.
        upper: Closed end.
        images: How many answers.
        confidence: Their mean confidence; None when there is none.
        accuracy: The share of them that is right; None when there is none.
    """

    lower: float
    upper: float
    images: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far probabilities can be taken at their word.

    Attributes:
        ece: Expected calibration error, 0..1 (C. Guo et al., "On Calibration of Modern Neural Networks",
            ICML 2017, equation 3; bins of equal width).
        brier: Mean squared error summed over the classes, 0..2 (G. W. Brier, Monthly Weather Review 78,
            1950).
        nll: Mean negative log-likelihood in nats (Guo et al., equation 6, divided by n).
        bins: The reliability diagram behind `ece`.
    """

    ece: float
    brier: float
    nll: float
    bins: tuple[Bin, ...]


def score(logits: NDArray[np.float32], probabilities: NDArray[np.float32], truth: Ints) -> Scores:
    """Reduce answers to what the figures need.

    Args:
        logits: FP32 [N,K], finite. They decide the order of the classes and the log loss: two probabilities
            that are equal in FP32, as 1 and 1 or 0 and 0, may stand for different logits.
        probabilities: FP32 [N,K], as they are served.
        truth: INT64 [N], 0..K-1.
    """
    rows = np.arange(len(truth))
    exact = logits.astype(np.float64)
    own = exact[rows, truth][:, None]
    earlier = np.arange(logits.shape[1]) < truth[:, None]
    given = exact.argmax(axis=1)
    served = probabilities.astype(np.float64)
    errors = served.copy()
    errors[rows, truth] -= 1
    largest = exact.max(axis=1)
    total = largest + np.log(np.exp(exact - largest[:, None]).sum(axis=1))
    return Scores(
        truth=truth,
        given=given,
        rank=((exact > own) | ((exact == own) & earlier)).sum(axis=1),
        confidence=served[rows, given],
        squared_error=(errors**2).sum(axis=1),
        log_loss=total - own[:, 0],
    )


def joined(parts: Sequence[Scores]) -> Scores:
    """The scores of all parts, in order; at least one part."""
    return Scores(
        truth=np.concatenate([part.truth for part in parts]),
        given=np.concatenate([part.given for part in parts]),
        rank=np.concatenate([part.rank for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        squared_error=np.concatenate([part.squared_error for part in parts]),
        log_loss=np.concatenate([part.log_loss for part in parts]),
    )


def top(scores: Scores, count: int) -> Share:
    """How often the true class is among the `count` likeliest."""
    return Share.of(int((scores.rank < count).sum()), len(scores))


def per_class(scores: Scores, classes: int) -> tuple[Share | None, ...]:
    """For each class how many of its images got it; None for a class without images."""
    images = np.bincount(scores.truth, minlength=classes).tolist()
    right = np.bincount(scores.truth[scores.rank == 0], minlength=classes).tolist()
    return tuple(Share.of(hit, count) if count else None for hit, count in zip(right, images, strict=True))


def confusion(scores: Scores, classes: int) -> Ints:
    """Counts INT64 [K,K]: one row per true class, one column per given class."""
    cells = scores.truth * classes + scores.given
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def frequent_confusions(scores: Scores, most: int) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: (true class, given class, how often), at most `most`, in falling order.

    Equally frequent ones stand in the order of their classes.
    """
    wrong = scores.rank > 0
    pairs = np.stack([scores.truth[wrong], scores.given[wrong]])
    (truths, givens), counts = np.unique(pairs, axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(int(truths[i]), int(givens[i]), int(counts[i])) for i in order]


def calibration(scores: Scores, bins: int = BINS) -> Calibration:
    """Expected calibration error, Brier score, log-likelihood and the reliability diagram of so many bins."""
    bars = _bars(scores.confidence, scores.rank == 0, bins)
    gaps = sum(
        one.images * abs(one.accuracy - one.confidence)
        for one in bars
        if one.accuracy is not None and one.confidence is not None
    )
    return Calibration(
        ece=gaps / len(scores),
        brier=float(scores.squared_error.mean()),
        nll=float(scores.log_loss.mean()),
        bins=bars,
    )


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (E. B. Wilson, JASA 22, 1927).

    Args:
        right: Successes, 0..total.
        total: Trials, at least 1.

    Returns:
        (lower, upper), within 0..1.
    """
    share = right / total
    shrink = 1 + _Z_95**2 / total
    centre = (share + _Z_95**2 / (2 * total)) / shrink
    half = _Z_95 / shrink * math.sqrt(share * (1 - share) / total + _Z_95**2 / (4 * total**2))
    # Rounding must not push a bound beyond the share itself: 10 of 10 ends at 1.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def _bars(confidence: Doubles, right: NDArray[np.bool_], bins: int) -> tuple[Bin, ...]:
    edges = np.linspace(0, 1, bins + 1)
    # Closed at the upper end, as in the paper; rounding may lift a confidence a little above 1.
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    return tuple(
        _bar(
            float(edges[place]), float(edges[place + 1]), confidence[places == place], right[places == place]
        )
        for place in range(bins)
    )


def _bar(lower: float, upper: float, confidence: Doubles, right: NDArray[np.bool_]) -> Bin:
    images = len(confidence)
    return Bin(
        lower=lower,
        upper=upper,
        images=images,
        confidence=float(confidence.mean()) if images else None,
        accuracy=float(right.mean()) if images else None,
    )
