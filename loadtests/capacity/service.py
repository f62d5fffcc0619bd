"""What the queue is made of: how long a batch takes, how batches are put together, what requests bring."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class CapacityError(ValueError):
    """Nothing can be said of the capacity; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How the gateway hands batches to the workers; its own defaults.

    Attributes:
        max_batch: Most images in a batch.
        workers: Batches that run at once.
        prefetch: Full batches that a busy worker may be handed ahead of time.
    """

    max_batch: int = 16
    workers: int = 1
    prefetch: int = 1

    def __post_init__(self) -> None:
        """Refuse what could serve nothing."""
        for name, least in (("max_batch", 1), ("workers", 1), ("prefetch", 0)):
            if getattr(self, name) < least:
                raise CapacityError(f"{name} is {getattr(self, name)}, must be at least {least}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How long things take.

    A batch of b images keeps a worker busy for alpha_ms + beta_ms b on average, as in Inoue, Queueing
    analysis of GPU-based inference servers with dynamic batching, Performance Evaluation 147, 2021.
    Every time of a batch, and of a request in the gateway, is that mean times a lognormal factor.

    Attributes:
        alpha_ms: Of a batch, whatever its size.
        beta_ms: Of each image in it.
        spread: Standard deviation of the factors' logarithm; their mean is 1.
        held_ms: That a batch is under way between the gateway and a worker, there and back.
        front_ms: That each request takes of the gateway itself, which does one thing at a time.
        transport_ms: Of each request, outside of the gateway.
        images: Shares of requests by their number of images; sum 1.
    """

    alpha_ms: float
    beta_ms: float
    spread: float = 0.0
    held_ms: float = 0.0
    front_ms: float = 0.0
    transport_ms: float = 0.0
    images: tuple[tuple[int, float], ...] = ((1, 1.0),)

    @property
    def mean_images(self) -> float:
        """Images in a request."""
        return sum(count * share for count, share in self.images)

    def handler_ms(self, batch: float) -> float:
        """Mean time of a batch of so many images in a worker."""
        return self.alpha_ms + self.beta_ms * batch

    def workers_rate(self, batching: Batching) -> float:
        """Requests a second that the workers can do at most, all batches being full.

        With batches handed ahead the way between gateway and worker is no loss, as the worker has the next
        one, unless the way takes so long that all those that may be handed out are on it.
        """
        work_ms = self.handler_ms(batching.max_batch)
        busy_ms = max(work_ms, (work_ms + self.held_ms) / (1 + batching.prefetch))
        return 1e3 * batching.workers * batching.max_batch / (busy_ms * self.mean_images)

    def saturation(self, batching: Batching) -> float:
        """Requests a second that the whole can do at most."""
        front = 1e3 / self.front_ms if self.front_ms else math.inf
        return min(front, self.workers_rate(batching))

    def counts(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Numbers of images in requests, from as many numbers that are uniform in [0, 1)."""
        numbers = np.array([count for count, _ in self.images], np.int64)
        ends = np.cumsum([share for _, share in self.images])[:-1]
        return numbers[np.searchsorted(ends, uniforms, side="right")]

    def as_json(self) -> dict[str, Any]:
        """For a document."""
        return asdict(self) | {"images": [list(pair) for pair in self.images]}

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Service:
        """From `as_json`."""
        images = tuple((int(count), float(share)) for count, share in document["images"])
        return cls(**{**document, "images": images})
