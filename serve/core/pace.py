"""How long batches take: what may be expected of the next one, and who is slower than the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# A difference that nobody would notice is no reason to eject an engine, whatever the ratio.
_NOTICEABLE_S = 0.05
_ENOUGH_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """Smoothed mean and mean deviation of a duration, in seconds.

    The estimator and its gains are those of TCP's retransmission timer: RFC 6298, (2.2) and (2.3).
    """

    mean: float
    deviation: float
    samples: int = 1

    @property
    def upper(self) -> float:
        """What a healthy one hardly ever exceeds: RFC 6298, (2.3), mean + 4 deviations."""
        return self.mean + 4 * self.deviation

    def plus(self, sample: float) -> Estimate:
        """After one more."""
        return Estimate(
            mean=self.mean + (sample - self.mean) / 8,
            deviation=self.deviation + (abs(sample - self.mean) - self.deviation) / 4,
            samples=self.samples + 1,
        )


class Pace:
    """Durations of the batches of one version on one engine, by size."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._sizes: dict[int, Estimate] = {}

    def add(self, images: int, seconds: float) -> None:
        """Note a batch that was answered."""
        size = _size(images)
        known = self._sizes.get(size)
        self._sizes[size] = known.plus(seconds) if known else Estimate(seconds, seconds / 2)

    def forget(self) -> None:
        """Measure anew: the engine may not be what it was."""
        self._sizes.clear()

    def get(self, images: int) -> Estimate | None:
        """What is known of batches of about that size: a larger one's figure where there is none."""
        size = _size(images)
        fitting = [known for known in self._sizes if known >= size]
        return self._sizes[min(fitting)] if fitting else None

    def longest(self, images: int) -> float | None:
        """What a batch of that size hardly ever exceeds, in seconds: twice the images, at most twice that."""
        known = self.get(images)
        if known is not None or not self._sizes:
            return known.upper if known else None
        most = max(self._sizes)
        return self._sizes[most].upper * _size(images) / most


def patience(paces: Iterable[Pace], images: int, least_s: float) -> float | None:
    """How long to wait for an answer before another engine is asked as well.

    Args:
        paces: Of the engines that are in good standing.
        images: Of the batch.
        least_s: Lower bound, in seconds.

    Returns:
        Twice what the fastest of them hardly ever exceeds, in seconds; None while nothing is known.
    """
    known = [longest for pace in paces if (longest := pace.longest(images)) is not None]
    return max(least_s, 2 * min(known)) if known else None


def is_slow(own: Pace, others: Iterable[Pace], images: int, ratio: float) -> bool:
    """Whether batches of that size take more than `ratio` times as long as on the fastest other engine."""
    mine = own.get(images)
    known = [estimate for pace in others if (estimate := pace.get(images)) and _enough(estimate)]
    if mine is None or not _enough(mine) or not known:
        return False
    best = min(estimate.mean for estimate in known)
    return is_slower(mine.mean, best, ratio)


def is_slower(seconds: float, reference: float, ratio: float) -> bool:
    """Whether a duration is more than `ratio` times another one, and noticeably so."""
    return seconds > ratio * reference and seconds - reference > _NOTICEABLE_S


# Whoever is let in must be answered in time although batches do not all take the same: a shorter queue costs
# no throughput as long as it is never empty, a request that comes too late has been run in vain.
_MARGIN = 1.25


class Throughput:
    """How fast a queue drains: seconds between answered images while there is always something waiting."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._last: float | None = None
        self._per_image: float | None = None
        self._in_hand = 0

    def released(self, images: int) -> None:
        """Note a batch that is handed to an engine."""
        self._in_hand += images

    def ended(self, images: int, now: float, *, backlog: bool) -> None:
        """Note that such a batch is through; `backlog` tells whether others wait for their turn."""
        self._in_hand -= images
        if self._last is not None and now > self._last:
            sample = (now - self._last) / images
            old = self._per_image
            self._per_image = sample if old is None else old + (sample - old) / 8
        self._last = now if backlog else None

    def wait_s(self, images: int) -> float:
        """How long it takes, at the most, until that many images that wait have been answered.

        Those that the engines have in hand come first. 0 while nothing is known.
        """
        return _MARGIN * (self._in_hand + images) * (self._per_image or 0.0)


def _size(images: int) -> int:
    """The next power of two."""
    return 1 << max(0, images - 1).bit_length()


def _enough(estimate: Estimate) -> bool:
    return estimate.samples >= _ENOUGH_SAMPLES
