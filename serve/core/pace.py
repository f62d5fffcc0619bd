"""How long batches take: what may be expected of the next one, and who is slower than the others."""

from __future__ import annotations

from collections import Counter
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
    """Durations of batches by size: powers of two."""

    def __init__(self, memory: int | None = None) -> None:
        """Start knowing nothing.

        Args:
            memory: A size is forgotten when so many batches of other sizes have come since; None: never.
        """
        self._memory = memory
        self._sizes: dict[int, Estimate] = {}
        self._batches = 0
        self._latest: dict[int, int] = {}

    def add(self, images: int, seconds: float) -> None:
        """Note a batch that was answered."""
        size = _size(images)
        known = self._sizes.get(size)
        self._sizes[size] = known.plus(seconds) if known else Estimate(seconds, seconds / 2)
        self._batches += 1
        self._latest[size] = self._batches
        if self._memory is not None:
            self._sizes = {
                known: estimate
                for known, estimate in self._sizes.items()
                if self._batches - self._latest[known] < self._memory
            }

    def forget(self) -> None:
        """Measure anew: the engine may not be what it was."""
        self._sizes.clear()

    def get(self, images: int) -> Estimate | None:
        """What is known of batches of about that size: a larger one's figure where there is none."""
        size = _size(images)
        fitting = [known for known in self._sizes if known >= size]
        return self._sizes[min(fitting)] if fitting else None

    def mean(self, images: int) -> float:
        """What a batch of that many images takes, in seconds; 0 for none, and while nothing is known.

        A size that is not known takes no more than a larger one, and no more than several smaller ones.
        """
        size = _size(images)
        if not images or not self._sizes:
            return 0.0
        if size in self._sizes:
            return self._sizes[size].mean
        return min(known.mean * max(1.0, size / of) for of, known in self._sizes.items())

    def fastest(self) -> float | None:
        """The least mean of all sizes, in seconds; None while nothing is known."""
        return min((known.mean for known in self._sizes.values()), default=None)

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
# So that a figure from a better or a worse minute does not stand only because no such batches come any more.
_MEMORY = 8


class Throughput:
    """How fast a queue drains: seconds between the ends of batches while something waits."""

    def __init__(self, max_batch: int) -> None:
        """Start knowing nothing; batches have at most `max_batch` images."""
        self._max_batch = max_batch
        self._between = Pace(_MEMORY)
        self._last: float | None = None
        self._in_hand: Counter[int] = Counter()

    def released(self, images: int) -> None:
        """Note a batch that is handed to an engine."""
        self._in_hand[images] += 1

    def ended(self, images: int, now: float, *, backlog: bool) -> None:
        """Note that such a batch is through; `backlog` tells whether others wait for their turn."""
        self._in_hand[images] -= 1
        if self._last is not None:
            self._between.add(images, now - self._last)
        self._last = now if backlog else None

    def wait_s(self, images: int, now: float) -> float:
        """How long it takes until that many images that wait have been answered; 0 while nothing is known.

        What the engines have in hand comes first, less the time that they have had for it.
        """
        in_hand = sum(self._between.mean(size) * count for size, count in self._in_hand.items())
        if self._last is not None:
            in_hand = max(0.0, in_hand - (now - self._last))
        before, last = divmod(max(0, images - 1), self._max_batch)
        batches = _MARGIN * before * self._between.mean(self._max_batch)
        return in_hand + batches + self._between.mean(last + 1 if images else 0)


def _size(images: int) -> int:
    """The next power of two."""
    return 1 << max(0, images - 1).bit_length()


def _enough(estimate: Estimate) -> bool:
    return estimate.samples >= _ENOUGH_SAMPLES
