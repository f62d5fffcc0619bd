"""How long a batch takes by its size, as the answers tell, and which size is worth waiting for.

On a GPU a batch of sixteen takes hardly longer than one of four, so large batches carry more; on a CPU its
time grows with every image, so that a large batch only makes everybody in it wait for all the others.

The time of b images is taken as a + c b: Inoue, Queueing analysis of GPU-based inference servers with dynamic
batching, Performance Evaluation 147, 2021, who measured it on GPUs. Where a size has been measured that
counts, so that a net whose large batches fall out of the cache is not taken for a straight line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from serve.core.hand import Foresight

# Of each size its latest times; their median is not moved by a cold start or a stall.
_KEPT: Final = 15
_ENOUGH: Final = 3
# Batches after which a size of which none came is forgotten: it is tried again as soon as that many wait.
_MEMORY: Final = 512
# How often the line is drawn anew.
_EVERY: Final = 8
# When so many batches in a row take so many times what was foreseen, or as much less, all sizes do now.
_IN_A_ROW: Final = 5
_ANOTHER_PACE: Final = 1.5
_INSTANT_S: Final = 1e-6
# A way so short cannot be spared; handing ahead would only part those who come a moment later.
_NO_WAY_S: Final = 1e-4
# A batch that is to be back before a deadline may take so many times as long as foreseen.
_MARGIN: Final = 1.25


@dataclass(frozen=True, slots=True)
class Line:
    """Seconds of a batch: `batch_s`, and `image_s` for each image in it; neither is below 0."""

    batch_s: float
    image_s: float

    def at(self, images: float) -> float:
        """Seconds of a batch of that many images."""
        return self.batch_s + self.image_s * images


class Growth:
    """The time of a batch as a function of its size.

    Attributes:
        target: How many images to gather while the workers are busy: the smallest size that carries nearly as
            many images a second as the best one; the largest allowed while nothing is known.
        way_s: Seconds that a batch is under way to a worker and back; 0 while that is unknown.
    """

    def __init__(self, max_batch: int, slack: float) -> None:
        """Start knowing nothing.

        Args:
            max_batch: Most images in a batch.
            slack: Share of the throughput that may be given up for shorter batches, 0..1.
        """
        self.target = max_batch
        self._slack = slack
        self._sizes = _sizes(max_batch)
        self._latest: dict[int, deque[float]] = {}
        self._medians: dict[int, float] = {}
        self._seen: dict[int, int] = {}
        self._batches = 0
        self._line: Line | None = None
        self._ratios: deque[float] = deque(maxlen=_IN_A_ROW)
        self._ways: deque[float] = deque(maxlen=_KEPT)
        self.way_s = 0.0

    def add_way(self, seconds: float) -> None:
        """Note how much longer an idle worker's answer took than its work."""
        self._ways.append(max(0.0, seconds))
        self.way_s = _median(self._ways)

    def add(self, images: int, seconds: float) -> None:
        """Note how long a worker worked on a batch."""
        self._keep_pace(images, seconds)
        kept = self._latest.setdefault(images, deque(maxlen=_KEPT))
        kept.append(seconds)
        self._medians[images] = _median(kept)
        self._batches += 1
        self._seen[images] = self._batches
        if self._batches % _EVERY == 0 or len(kept) == 1:
            self._learn()

    def work_s(self, images: int) -> float | None:
        """Seconds that a worker should take for a batch of that many images; None while that is unknown."""
        if len(self._latest.get(images, ())) >= _ENOUGH:
            return self._medians[images]
        return self._line.at(images) if self._line else self._medians.get(images)

    def foresee(self, images: int) -> Foresight:
        """What is to be expected of a batch of that many images."""
        work_s = self.work_s(images)
        if self.way_s < _NO_WAY_S or work_s is None:
            return Foresight(images)
        return Foresight(images, work_s, self.way_s)

    def whole_s(self, images: int) -> float:
        """Seconds until a batch that an idle worker gets is answered, a margin included; 0: unknown."""
        return _MARGIN * (self.way_s + (self.work_s(images) or 0.0))

    def most_within(self, seconds: float) -> int | None:
        """Images of the largest batch that is answered in that time; None while that is unknown."""
        if self._line is None:
            return None
        left = seconds / _MARGIN - self.way_s - self._line.batch_s
        if left >= self._line.image_s * self._sizes[-1]:
            return self._sizes[-1]
        return int(left / self._line.image_s) if left > 0 else 0

    def in_time(self, at: int, images: int, seconds: float) -> int:
        """How many of `images` may share a batch that is to be back in time; all, if `at` are too many."""
        most = self.most_within(seconds)
        return min(images, most) if most is not None and most >= at else images

    def _keep_pace(self, images: int, seconds: float) -> None:
        """See whether the machine has become another, which holds for sizes of which none come, too."""
        self._ratios.append(seconds / max(_INSTANT_S, self.work_s(images) or seconds))
        quicker, slower = max(self._ratios), min(self._ratios)
        if len(self._ratios) < _IN_A_ROW or (quicker > 1 / _ANOTHER_PACE and slower < _ANOTHER_PACE):
            return
        ratio = _median(self._ratios)
        self._ratios.clear()
        self._medians = {size: ratio * median for size, median in self._medians.items()}
        self._latest = {size: deque([median], _KEPT) for size, median in self._medians.items()}
        self._learn()

    def _learn(self) -> None:
        for images in [size for size, at in self._seen.items() if self._batches - at >= _MEMORY]:
            del self._seen[images], self._latest[images], self._medians[images]
        weights = {images: len(kept) for images, kept in self._latest.items()}
        self._line = line(self._medians, weights)
        if self._line is None:
            self.target = self._sizes[-1]
            return
        rates = {size: size / max(_INSTANT_S, self.whole_s(size)) for size in self._sizes}
        enough = (1 - self._slack) * max(rates.values())
        self.target = next(size for size, rate in rates.items() if rate >= enough)


def line(seconds: Mapping[int, float], weights: Mapping[int, int]) -> Line | None:
    """The straight line nearest to some times, none of whose parts is below 0.

    Weighted least squares of the relative errors, since a batch that takes longer also varies more.

    Args:
        seconds: Of a batch, by its images.
        weights: How many were measured, by their images.

    Returns:
        None where fewer than two sizes are known: one says nothing of the others.
    """
    if len(seconds) < 2:  # noqa: PLR2004  two points make a line
        return None
    points = [(weights[b] / max(t, _INSTANT_S) ** 2, b, t) for b, t in seconds.items()]
    total = sum(w for w, _, _ in points)
    images = sum(w * b for w, b, _ in points) / total
    mean = sum(w * t for w, _, t in points) / total
    variance = sum(w * (b - images) ** 2 for w, b, _ in points)
    slope = max(0.0, sum(w * (b - images) * (t - mean) for w, b, t in points) / variance)
    if slope * images <= mean:
        return Line(mean - slope * images, slope)
    through_origin = sum(w * b * t for w, b, t in points) / sum(w * b * b for w, b, _ in points)
    return Line(0.0, through_origin)


def _median(values: Collection[float]) -> float:
    """The upper one of the two in the middle, where there are two."""
    return sorted(values)[len(values) // 2]


def _sizes(max_batch: int) -> tuple[int, ...]:
    """Powers of two, as workers warm them up, and the largest allowed."""
    powers = [1 << power for power in range(max_batch.bit_length())]
    return (*(size for size in powers if size < max_batch), max_batch)
