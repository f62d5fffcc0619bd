"""The circuit breaker of one engine for one version: when it gets no batches, and how it comes back.

    closed --- failure that says it cannot answer, or several others in a row ---> open
      ^                                                                            |  rests
      |  probe answered, in good time                                              v
      +---------------------------------- half_open <----------------------- the rest is over
                                              |
                                              +--- probe failed: open again, for twice as long

Batches of callers are never the probe. An engine that has come back starts gradually (`returning`). The
words are those of circuit breakers in general; what they decide is in `serve.engines.pool`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum


class State(Enum):
    """Of a breaker; the value is the `state` label of the metrics."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


# One such failure is enough: the next batch would meet the same.
_OPENS_AT_ONCE = frozenset({"unreachable", "lost", "timeout", "missing", "slow"})
# The engine is there and will answer sooner or later, so that it is better than no engine at all.
_LAST_RESORT = frozenset({"lost", "overloaded", "slow"})


_FIRST_SHARE = 0.2
_LONGEST_REST_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When an engine is ejected, and for how long.

    Attributes:
        failures_to_eject: Failures in a row that open the breaker, where one is not enough.
        eject_s: First rest, in seconds; doubles with every further one.
        max_eject_s: Longest rest.
        return_s: How long an engine that came back counts as returning. Ejections that follow each other
            more closely than that count as one series, and their rests grow.
    """

    failures_to_eject: int = 3
    eject_s: float = 0.5
    max_eject_s: float = 10.0
    return_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an engine stands with regard to one version.

    Attributes:
        failures: In a row, since the last success.
        rests: Ejections and failed probes in a row.
        until: When open: clock value, in seconds, at which it may be probed.
        back_since: When closed: clock value at which it came back; -inf when it was never ejected.
        reason: When not closed: of the failure, as in `EngineError`.
    """

    state: State = State.CLOSED
    failures: int = 0
    rests: int = 0
    until: float = 0.0
    back_since: float = -math.inf
    reason: str = ""

    @property
    def closed(self) -> bool:
        """Whether it gets batches as a matter of course."""
        return self.state is State.CLOSED

    @property
    def last_resort(self) -> bool:
        """Whether it gets batches where no engine's breaker is closed."""
        return not self.closed and self.reason in _LAST_RESORT

    def returning(self, now: float, rules: Rules) -> bool:
        """Whether it has come back only lately."""
        return self.closed and now - self.back_since < rules.return_s

    def rest_s(self, seconds: float, now: float, rules: Rules) -> float:
        """How long it should rest after a batch that took `seconds`, while it is returning.

        So it works for a part of the time that grows from a fifth to all of it.
        """
        if not self.returning(now, rules):
            return 0.0
        share = max(_FIRST_SHARE, (now - self.back_since) / rules.return_s)
        return min(_LONGEST_REST_S, seconds * (1 / share - 1))

    def succeeded(self) -> Standing:
        """After an answer. It does not close the breaker: only a probe does."""
        return replace(self, failures=0) if self.failures else self

    def failed(self, reason: str, now: float, rules: Rules) -> Standing:
        """After a failure of that reason; late ones of batches sent before an ejection change nothing."""
        if not self.closed:
            return self
        failures = self.failures + 1
        if reason not in _OPENS_AT_ONCE and failures < rules.failures_to_eject:
            return replace(self, failures=failures)
        rests = self.rests if self.returning(now, rules) else 0
        return self._resting(reason, rests, now, rules)

    def probing(self) -> Standing:
        """While a probe runs."""
        return replace(self, state=State.HALF_OPEN)

    def probed(self, reason: str, now: float, rules: Rules) -> Standing:
        """After a probe: closed when `reason` is "", else another rest."""
        # TorchServe lets the probe wait for a worker that is being restarted: it is still on its way.
        if reason == "timeout" and self.reason in _LAST_RESORT:
            reason = self.reason
        if reason:
            return self._resting(reason, self.rests, now, rules)
        return Standing(rests=self.rests, back_since=now)

    def _resting(self, reason: str, rests: int, now: float, rules: Rules) -> Standing:
        # The exponent is bounded, so that years of failing probes do not overflow.
        rest = min(rules.max_eject_s, rules.eject_s * 2 ** min(rests, 30))
        return Standing(state=State.OPEN, rests=rests + 1, until=now + rest, reason=reason)
