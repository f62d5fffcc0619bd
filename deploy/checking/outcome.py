"""What a check has found, and the table of them all."""

import os
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one check has found.

    Attributes:
        looked_at: What was checked, counted; "" for a check that was skipped.
        problems: What has to be mended, a sentence each; empty when all is right.
        notes: What a reader should know, but need not mend.
        skipped: Why nothing was checked; "" where something was.
    """

    looked_at: str = ""
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()
    skipped: str = ""

    @property
    def word(self) -> str:
        """The result in one word."""
        return "FAIL" if self.problems else "skipped" if self.skipped else "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A check's line of the table.

    Attributes:
        name: The check's name.
        outcome: What it found.
        seconds: How long it took.
    """

    name: str
    outcome: Outcome
    seconds: float


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 build, 2 builds; the plural is given where it is not made with an s."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def without_program(program: str, how: str) -> Outcome:
    """The outcome where a program is missing: skipped, but a failure with REQUIRE_ALL=1.

    Args:
        program: Its name.
        how: How it is installed.
    """
    reason = f"{program} is missing; to install it: {how}"
    if os.environ.get("REQUIRE_ALL") == "1":
        return Outcome(problems=(reason,))
    return Outcome(skipped=reason)


def table(rows: Sequence[Row]) -> str:
    """All checks, one line each, under a head; the reason of one that was skipped stands in its line."""
    lines = [("check", "looked at", "result", "seconds")]
    for row in rows:
        looked_at = row.outcome.looked_at or row.outcome.skipped or "-"
        lines.append((row.name, looked_at, row.outcome.word, f"{row.seconds:.1f}"))
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join(_in_columns(line, widths) for line in lines)


def _in_columns(line: Sequence[str], widths: Sequence[int]) -> str:
    *texts, number = line
    padded = (text.ljust(width) for text, width in zip(texts, widths, strict=True))
    return "  ".join((*padded, number.rjust(len("seconds"))))
