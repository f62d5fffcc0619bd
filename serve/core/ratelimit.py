"""How many images a caller may have classified: a token bucket for each name, on a clock that is passed in.

A bucket holds what its caller may have in `BURST_S` seconds, at least one image, and is full at first. An
admitted request takes its images out at once; they come back at the caller's rate. So in any window of t
seconds at most `rate * t + burst` images are admitted. A request that is refused takes nothing; one that is
admitted and fails later has had its share.

What is kept of a bucket is the moment at which it will be full again (the generic cell rate algorithm, ITU-T
I.371): no counter that needs topping up, nothing that drifts, and a rate that changes needs no conversion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serve.core.errors import OverQuotaError, TooLargeError

BURST_S = 5.0
# Sums of floating-point seconds are a little off: whoever waits as long as was said must then be admitted.
_ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one caller may have.

    Attributes:
        images_per_s: Images a second in the long run, above 0.
    """

    images_per_s: float

    @property
    def burst_s(self) -> float:
        """Seconds in which an empty bucket fills; one image always fits into it."""
        return max(BURST_S, 1.0 / self.images_per_s)

    @property
    def burst(self) -> int:
        """Most images at once."""
        return int(self.images_per_s * self.burst_s + _ROUNDING_S)


class RateLimiter:
    """The buckets of callers that have a limit; those that are full are forgotten now and then.

    Callers are known by name, so two tokens of one name share a bucket.
    """

    def __init__(self, limit_of: Callable[[str], float | None]) -> None:
        """All buckets are full.

        Args:
            limit_of: Most images a second of a caller now; None: no limit.
        """
        self._limit_of = limit_of
        self._full_at: dict[str, float] = {}

    def take(self, name: str, images: int, now: float) -> None:
        """Admit a request.

        Args:
            name: Whose bucket it is.
            images: How many it wants, at least 1.
            now: The time, in seconds, on a clock that never goes back.

        Raises:
            TooLargeError: It is more than the bucket ever holds.
            OverQuotaError: It is more than the bucket holds now; says when it will fit.
        """
        limit = self._limit_of(name)
        if limit is None:
            return
        rate = Rate(images_per_s=limit)
        if images > rate.burst:
            raise TooLargeError(
                f"the request has {images} images, {name!r} may send at most {rate.burst} at once: "
                f"its token allows max_images_per_s = {rate.images_per_s:g}"
            )
        if name not in self._full_at:
            self._forget_the_full(now)
        full_at = max(now, self._full_at.get(name, now)) + images / rate.images_per_s
        wait_s = full_at - now - rate.burst_s
        if wait_s > _ROUNDING_S:
            raise OverQuotaError(
                f"{name!r} has reached its rate limit, max_images_per_s = {rate.images_per_s:g}: "
                f"a request of {images} images fits in {wait_s:.3g} s",
                retry_after_s=wait_s,
            )
        self._full_at[name] = full_at

    def __len__(self) -> int:
        """How many buckets are held."""
        return len(self._full_at)

    def _forget_the_full(self, now: float) -> None:
        """A bucket that is full is as good as none."""
        for name in [name for name, full_at in self._full_at.items() if full_at <= now]:
            del self._full_at[name]
