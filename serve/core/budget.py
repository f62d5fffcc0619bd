"""The retry budget: how much may be tried again, so that retries never multiply an overload.

The idea is Finagle's: every first attempt pays in a share of itself, every repetition is paid for in full.
"""

from __future__ import annotations


class RetryBudget:
    """Counts in images, since a batch of sixteen costs an engine what sixteen images cost."""

    def __init__(self, ratio: float, *, reserve: float = 256.0, floor_per_s: float = 5.0) -> None:
        """Start with the whole reserve, for the first fault may come early.

        Args:
            ratio: Images that may be tried again for every image that is tried for the first time.
            reserve: Most images that can be saved up.
            floor_per_s: Images a second that may be tried again however little traffic there is.
        """
        self._ratio = ratio
        self._reserve = reserve
        self._floor_per_s = floor_per_s
        self._left = reserve
        self._filled_at: float | None = None

    def deposit(self, images: int) -> None:
        """Note first attempts."""
        self._left = min(self._reserve, self._left + self._ratio * images)

    def take(self, images: int, now: float) -> bool:
        """Pay for a repetition, if there is enough; `now` is the clock in seconds."""
        if self._filled_at is not None:
            grown = self._left + (now - self._filled_at) * self._floor_per_s
            self._left = min(self._reserve, grown)
        self._filled_at = now
        if images > self._left:
            return False
        self._left -= images
        return True
