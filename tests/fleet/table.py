"""What the fleet tests measured, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.load import Ledger

HEADER = ("event", "done by", "requests", "failed", "wrong", "p50, ms", "p99, ms", "worst, ms", "seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One event.

    Attributes:
        event: What happened to the fleet.
        how: What the test did.
        ledger: The requests from before it until all was settled.
        seen: What else was measured, with its unit.
    """

    event: str
    how: str
    ledger: Ledger
    seen: str

    def cells(self) -> tuple[str, ...]:
        """The row's text, in the order of HEADER."""
        ledger = self.ledger
        counts = (len(ledger.entries), len(ledger.failed), len(ledger.wrong))
        times_s = (ledger.quantile_s(0.5), ledger.quantile_s(0.99), ledger.worst_s)
        times = (f"{1000 * each:.0f}" for each in times_s)
        return (self.event, self.how, *map(str, counts), *times, self.seen)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [HEADER, ("---",) * len(HEADER), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
