"""Whether callers have been let down for so long that a run need not go on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Final

from loadtests.exchange import Exchange
from loadtests.outcome import Slo

SHARE: Final = 0.99  # of the requests of a second that must be answered in time: a p99


class StopRule:
    """Judges a run by the seconds in which its requests were due.

    A second is judged when nothing can change it any more: its last request is then as old as an answer may
    be, so whatever has not come by then is late, wherever it is stuck. It is broken when more than 1 % of its
    requests are late, or more of them fail than was promised. A second without requests says nothing, neither
    for nor against.
    """

    def __init__(self, slo: Slo) -> None:
        """Begin with no second judged; without `slo.for_s` nothing is ever broken for long enough."""
        self._slo = slo
        self._due: Counter[int] = Counter()
        self._in_time: Counter[int] = Counter()
        self._failed: Counter[int] = Counter()
        self._next: int | None = None
        self._broken: list[int] = []  # in a row

    def count_due(self, seconds: Mapping[int, int]) -> None:
        """So many more requests were due in each second (Unix time, rounded down)."""
        self._due.update(seconds)

    def count(self, exchange: Exchange) -> None:
        """A request that was counted as due has ended."""
        second = math.floor(exchange.due)
        self._in_time[second] += 1e3 * (exchange.ended - exchange.due) <= self._slo.p99_ms
        self._failed[second] += bool(exchange.fault)

    def judge(self, until: float) -> str:
        """Judge the seconds that are complete.

        Args:
            until: Unix time up to which all that was due, and all that has ended, is counted.

        Returns:
            Why the run must stop; "" when it need not.
        """
        if self._slo.for_s is None or not self._due:
            return ""
        second = min(self._due) if self._next is None else self._next
        while second + 1 + self._slo.p99_ms / 1e3 <= until:
            if self._due[second]:
                self._broken = [*self._broken, second] if self._is_broken(second) else []
            second += 1
            if len(self._broken) >= self._slo.for_s:
                break
        self._next = second
        return self._reason() if len(self._broken) >= self._slo.for_s else ""

    def _is_broken(self, second: int) -> bool:
        due = self._due[second]
        late, failed = due - self._in_time[second], self._failed[second]
        return late > (1 - SHARE) * due or failed > self._slo.failures * due

    def _reason(self) -> str:
        due, in_time, failed = (
            sum(counts[second] for second in self._broken)
            for counts in (self._due, self._in_time, self._failed)
        )
        late = due - in_time
        return (
            f"the promise was broken for {len(self._broken)} s in a row: of {due} requests that were due then"
            f" {late} ({late / due:.2%}) had no answer within {self._slo.p99_ms:g} ms (1 % may), and {failed}"
            f" ({failed / due:.2%}) failed ({self._slo.failures:.2%} may)"
        )
