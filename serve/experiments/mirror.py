"""Room for mirrored calls: nobody waits for them, so they are the first that go when there is little."""

from __future__ import annotations

from collections import Counter

from serve.core.trace import Trace
from serve.experiments.case import Asked


class MirrorRoom:
    """Bounds the mirrored calls of an arm, and the bytes of all."""

    def __init__(self, max_calls: int, max_bytes: int) -> None:
        """All is free.

        Args:
            max_calls: Most calls of one arm of one experiment at a time.
            max_bytes: Most bytes of requests that are held for mirrored calls.
        """
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._calls: Counter[tuple[int, int]] = Counter()
        self._bytes = 0

    def take(self, experiment: int, arm: int, size: int) -> bool:
        """Take room for one call, of a request of that many bytes; False where there is none."""
        if self._bytes + size > self._max_bytes or self._calls[experiment, arm] >= self._max_calls:
            return False
        self._calls[experiment, arm] += 1
        self._bytes += size
        return True

    def give_back(self, experiment: int, arm: int, size: int) -> None:
        """Give back what `take` took."""
        self._bytes -= size
        self._calls[experiment, arm] -= 1
        if not self._calls[experiment, arm]:
            del self._calls[experiment, arm]


def begin_trace(asked: Asked, arm: int) -> Trace | None:
    """Begin the trace of an arm's mirrored call; None where the request is not traced."""
    cause = asked.call.trace
    return None if cause is None else cause.mirror(asked.facts(arm))


def end_trace(trace: Trace | None, outcome: str, *, failed: bool) -> None:
    """End the trace of a mirrored call, if it has one; `failed`: it counts against its arm."""
    if trace is not None:
        trace.end({"attnserve.outcome": outcome}, outcome if failed else "")
