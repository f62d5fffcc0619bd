"""All requests of a run as columns, for the report, and as a file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loadtests.exchange import Exchange

Floats: TypeAlias = NDArray[np.float64]
Texts: TypeAlias = NDArray[np.object_]
Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

_COLUMNS: Final = Exchange.__slots__
_TYPES: Final = {
    **dict.fromkeys(("due", "sent", "ended"), np.float64),
    **dict.fromkeys(("images", "judged", "right"), np.int64),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanges:
    """N requests, in the order in which they were due; each attribute is a column of N as in `Exchange`."""

    due: Floats
    sent: Floats
    ended: Floats
    way: Texts
    kind: Texts
    model: Texts
    served: Texts
    arm: Texts
    outcome: Texts
    fault: Texts
    images: Ints
    judged: Ints
    right: Ints

    def __len__(self) -> int:
        return len(self.due)

    @property
    def response_ms(self) -> Floats:
        """From when each was due until its reply: what somebody waits who does not wait for others first."""
        return 1e3 * (self.ended - self.due)

    @property
    def service_ms(self) -> Floats:
        """From when each was sent until its reply: what a closed loop sees."""
        return 1e3 * (self.ended - self.sent)

    @property
    def late_ms(self) -> Floats:
        """From when each was due until it was sent."""
        return 1e3 * (self.sent - self.due)

    @property
    def failed(self) -> Mask:
        """Which of them had another reply than the right one."""
        return np.asarray(self.fault != "", np.bool_)

    def where(self, mask: Mask) -> Exchanges:
        """Those that a mask selects, in their order."""
        return Exchanges(**{name: getattr(self, name)[mask] for name in _COLUMNS})

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[Any]]) -> Exchanges:
        """From `Exchange.as_row`, in any order."""
        ordered = sorted(rows, key=lambda row: row[0])
        columns = zip(*ordered, strict=True) if ordered else ((),) * len(_COLUMNS)
        arrays: dict[str, Any] = {
            name: np.array(column, _TYPES.get(name, np.object_))
            for name, column in zip(_COLUMNS, columns, strict=True)
        }
        return cls(**arrays)

    @classmethod
    def of(cls, exchanges: Iterable[Exchange]) -> Exchanges:
        """From single ones."""
        return cls.of_rows([exchange.as_row() for exchange in exchanges])


def write_rows(file: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write a file that `read_exchanges` reads: gzip, a line of JSON with the columns, then one a request."""
    with gzip.open(file, "wt", encoding="utf-8") as output:
        output.write(json.dumps(_COLUMNS) + "\n")
        output.writelines(json.dumps(row) + "\n" for row in rows)


def read_exchanges(file: Path) -> Exchanges:
    """Read what `write_rows` wrote.

    Raises:
        OSError: There is no such file.
        ValueError: It is none of ours.
    """
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        if tuple(json.loads(next(lines, "null")) or ()) != tuple(_COLUMNS):
            raise ValueError(f"{file}: is not a file of requests of this version")
        return Exchanges.of_rows([json.loads(line) for line in lines])
