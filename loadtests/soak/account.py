"""The account of a run: every request that was sent, by how it ended, in memory that does not grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from loadtests.soak.judge import OPEN, OPEN_OUTCOMES, UNCOUNTED, End, Ending
from loadtests.soak.latency import Latencies
from loadtests.soak.questions import Question

_EXAMPLES: Final = 20
_TENTH: Final = 10
ALL, FIRST, LAST = "all", "first tenth", "last tenth"


@dataclass(slots=True)
class Account:
    """Sums over all requests.

    Attributes:
        requests: How many are to be sent.
        sent: How many have been sent.
        endings: By way, end and reason.
        counted: What the gateway must have counted, by protocol and outcome.
        open: Requests whose end we did not see, by protocol.
        examples: The first of those that were lost.
        latencies: Of right answers, in quiet: no fault was near.
        all_latencies: Of all right answers.
    """

    requests: int
    sent: int = 0
    endings: Counter[tuple[str, End, str]] = field(default_factory=Counter)
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    open: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    latencies: dict[str, Latencies] = field(
        default_factory=lambda: {part: Latencies() for part in (ALL, FIRST, LAST)}
    )
    all_latencies: Latencies = field(default_factory=Latencies)

    def add(self, question: Question, ending: Ending, seconds: float, *, quiet: bool) -> None:
        """Count how a request ended, `seconds` after it was sent."""
        self.endings[question.way.value, ending.end, ending.reason] += 1
        protocol = question.way.protocol
        if ending.counted == OPEN:
            self.open[protocol] += 1
        elif ending.counted != UNCOUNTED:
            self.counted[protocol, ending.counted] += 1
        if ending.end is End.LOST and len(self.examples) < _EXAMPLES:
            self.examples.append(_example(question, ending, seconds))
        if ending.end is End.RIGHT:
            self._time(question.number, seconds, quiet=quiet)

    def total(self, end: End) -> int:
        """Requests that ended so."""
        return sum(count for (_, ended, _), count in self.endings.items() if ended is end)

    @property
    def unaccounted(self) -> int:
        """Requests that were sent and of which nothing is known: 0, or the account itself is wrong."""
        return self.sent - sum(self.endings.values())

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "sent": self.sent,
            **{end.value: self.total(end) for end in End},
            "unaccounted": self.unaccounted,
            "endings": [
                {"way": way, "end": end.value, "reason": reason, "count": count}
                for (way, end, reason), count in sorted(self.endings.items(), key=str)
            ],
            "milliseconds in quiet": {part: _quantiles(found) for part, found in self.latencies.items()},
            "milliseconds of all": _quantiles(self.all_latencies),
            "examples": self.examples,
        }

    def _time(self, number: int, seconds: float, *, quiet: bool) -> None:
        self.all_latencies.add(seconds)
        if not quiet:
            return
        self.latencies[ALL].add(seconds)
        tenth = _TENTH * number // self.requests
        if tenth in (0, _TENTH - 1):
            self.latencies[FIRST if tenth == 0 else LAST].add(seconds)


def differences(account: Account, theirs: Mapping[tuple[str, str], int]) -> list[str]:
    """A line wherever the gateway's counters cannot be right if the account is.

    What we saw ending must have been counted so. Beyond that the gateway may only have counted requests
    whose end we did not see (we hung up, or the deadline passed on our side), and each of those once at most.

    Args:
        account: Ours.
        theirs: attnserve_requests_total by protocol and outcome.
    """
    surplus = Counter(theirs)
    surplus.subtract(account.counted)
    lines = [
        f"{protocol} {outcome}: {account.counted[protocol, outcome]} ended so, "
        f"the gateway counted {theirs.get((protocol, outcome), 0)}"
        for (protocol, outcome), more in sorted(surplus.items())
        if more < 0 or (more > 0 and outcome not in OPEN_OUTCOMES)
    ]
    for protocol in sorted({protocol for protocol, _ in surplus}):
        more = sum(count for (counted, _), count in surplus.items() if counted == protocol and count > 0)
        if more > account.open[protocol]:
            lines.append(
                f"{protocol}: the gateway counted {more} requests more than ended before our eyes, "
                f"and {account.open[protocol]} ended elsewhere"
            )
    return lines


def _example(question: Question, ending: Ending, seconds: float) -> str:
    what = f"{question.way.value}, {question.model.name}, {len(question.items)} images"
    asked = f"{question.request_id} ({what}, deadline {question.deadline_s:.3f} s)"
    return f"{asked}: {ending.reason} after {seconds:.3f} s {ending.detail}"


def _quantiles(found: Latencies) -> dict[str, float]:
    return {
        "count": found.count,
        "p50": round(1e3 * found.quantile(0.5), 3),
        "p99": round(1e3 * found.quantile(0.99), 3),
        "p99.9": round(1e3 * found.quantile(0.999), 3),
    }
