"""Sending many true labels, some at a time, and adding up what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import Progress

from serve.client import ClientError
from serve.core.record import Receipt
from serve.terminal.files import Row
from serve.terminal.saying import say, table

AT_ONCE = 1000
# A file that is sent twice is no mistake.
_FINE = frozenset({Receipt.ACCEPTED.value, Receipt.DUPLICATE.value})
_MOST_NAMED = 20

Send = Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A row that changed nothing: where it stands in the file, and why."""

    place: str
    status: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of a file.

    Attributes:
        unlabelled: Rows without a label, which were not sent.
        counts: Rows by receipt.
        refused: All that were neither accepted nor known already.
    """

    unlabelled: int
    counts: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return {
            "counts": dict(self.counts),
            "unlabelled": self.unlabelled,
            "refused": [asdict(row) for row in self.refused],
        }


def tell(rows: Sequence[Row], key: str, send: Send, stderr: Console) -> Told:
    """Send rows.

    Args:
        rows: Of a file.
        key: What their key is called.
        send: Sends some, and gives an answer for each.
        stderr: Shows the progress, when it is a terminal.

    Raises:
        ClientError: The gateway did not take some of them; the message says how far it had come.
    """
    known = [row for row in rows if row.label]
    told = Told(unlabelled=len(rows) - len(known))
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        task = progress.add_task("sending", total=len(known))
        for start in range(0, len(known), AT_ONCE):
            some = known[start : start + AT_ONCE]
            try:
                answers = send([{key: row.key, "item": row.item, "label": row.label} for row in some])
            except ClientError as error:
                raise type(error)(
                    f"{error} (after {start} of {len(known)} rows; send them all again)"
                ) from None
            _add(told, some, answers)
            progress.update(task, advance=len(some))
    return told


def show_told(console: Console, told: Told) -> None:
    """Print how many rows became what, and the first that were refused."""
    counts = [(receipt.value, str(told.counts[receipt.value])) for receipt in Receipt]
    table(console, ("receipt", "rows"), [(name, count) for name, count in counts if count != "0"])
    if told.unlabelled:
        say(console, f"{told.unlabelled} rows have no label and were not sent.")
    for row in told.refused[:_MOST_NAMED]:
        say(console, f"{row.place}: {row.status}: {row.message}")
    more = len(told.refused) - _MOST_NAMED
    if more > 0:
        say(console, f"and {more} more")


def _add(told: Told, rows: Sequence[Row], answers: Sequence[Mapping[str, Any]]) -> None:
    for row, answer in zip(rows, answers, strict=True):
        status = str(answer["status"])
        told.counts[status] += 1
        if status not in _FINE:
            told.refused.append(
                Refused(place=row.place, status=status, message=str(answer.get("message", "")))
            )
