"""What the fault tests measured, as the table that the README shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.load import Ledger

HEADER = (
    *("fault", "injected by", "times", "engines", "requests", "failed", "wrong"),
    *("p99, ms", "worst, ms", "well again after, s"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault.

    Attributes:
        fault: What broke.
        how: What the test did.
        times: How often.
        engines: How many TorchServes there were.
        ledger: The requests from the first injection until all was well again.
        well_after_s: The longest time from the end of the fault (for what is killed: from the kill) until
            what was hurt answered again; None where nothing is to come back.
        allowed: What is said of the failed ones, where some had to fail.
    """

    fault: str
    how: str
    times: int
    engines: int
    ledger: Ledger
    well_after_s: float | None
    allowed: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row's text, in the order of HEADER."""
        failed = str(len(self.ledger.failed))
        if self.allowed and self.ledger.failed:
            failed += f" ({self.allowed})"
        well = "–" if self.well_after_s is None else f"{self.well_after_s:.1f}"
        numbers = (self.times, self.engines, len(self.ledger.entries), failed, len(self.ledger.wrong))
        times_ms = (round(1000 * self.ledger.quantile_s(0.99)), round(1000 * self.ledger.worst_s))
        return self.fault, self.how, *map(str, (*numbers, *times_ms)), well


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, those with the most engines first."""
    ordered = sorted(rows, key=lambda row: -row.engines)
    lines = [HEADER, ("---",) * len(HEADER), *(row.cells() for row in ordered)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
