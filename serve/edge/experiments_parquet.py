"""Pairs as Parquet, piece by piece; needs pyarrow, which the gateway runs without."""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from typing import Any

from serve.core.errors import UnsupportedError
from serve.core.experiment import Arm
from serve.core.record import PairRow

# A row group; smaller ones compress worse, larger ones hold more of the table in memory.
GROUP_ROWS = 20_000


def check_available() -> None:
    """Look for the library that writes Parquet.

    Raises:
        UnsupportedError: It is not installed.
    """
    if find_spec("pyarrow") is None:
        raise UnsupportedError(
            "Parquet needs pyarrow, which is not installed on this gateway: attnserve[report]; "
            "pairs.csv has the same rows"
        )


async def parquet_chunks(
    arms: Sequence[Arm], rows: AsyncGenerator[PairRow, None]
) -> AsyncGenerator[bytes, None]:
    """Write pairs, a group of rows at a time; the last piece tells where each lies."""
    table = await asyncio.to_thread(_Table, arms)
    group: list[PairRow] = []
    async with aclosing(rows):
        async for row in rows:
            group.append(row)
            if len(group) == GROUP_ROWS:
                yield await asyncio.to_thread(table.add, group)
                group = []
    yield await asyncio.to_thread(table.finish, group)


class _Table:
    """A Parquet file that is handed over as it grows."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        import pyarrow as pa  # noqa: PLC0415  only where it is asked for: it takes a moment, and 100 MB
        from pyarrow import parquet  # noqa: PLC0415  as above

        self._arrow: Any = pa
        self._schema = pa.schema([*_of_image(pa), *(field for arm in arms for field in _of_arm(pa, arm))])
        self._sink = _Sink()
        self._file = parquet.ParquetWriter(pa.PythonFile(self._sink, mode="w"), self._schema)

    def add(self, group: Sequence[PairRow]) -> bytes:
        """Write a group of rows; gives what the file has grown by."""
        columns = list(zip(*map(_cells, group), strict=True))
        arrays = [
            self._arrow.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)
        ]
        self._file.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        return self._sink.taken()

    def finish(self, group: Sequence[PairRow]) -> bytes:
        """Write the last rows and the end of the file."""
        last = self.add(group) if group else b""
        self._file.close()
        return last + self._sink.taken()


class _Sink(io.RawIOBase):
    """Takes what is written, and knows how much it has been in all."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401  any buffer
        piece = bytes(data)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def taken(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def _of_image(pa: Any) -> list[Any]:  # noqa: ANN401  pyarrow has no types
    return [
        pa.field("prediction", pa.string(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("phase", pa.int32(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("label", pa.string()),
    ]


def _of_arm(pa: Any, arm: Arm) -> list[Any]:  # noqa: ANN401  as above
    return [
        pa.field(f"{arm.name}_label", pa.string()),
        pa.field(f"{arm.name}_confidence", pa.float64()),
        pa.field(f"{arm.name}_latency_us", pa.int64()),
    ]


def _cells(row: PairRow) -> tuple[object, ...]:
    cells: list[object] = [
        row.prediction,
        row.item,
        row.unit,
        row.phase,
        round(row.at * 1e6),
        row.label or None,
    ]
    for label, confidence, latency_us in zip(row.said, row.confidence, row.latency_us, strict=True):
        cells += [label or None, None if math.isnan(confidence) else confidence, latency_us or None]
    return tuple(cells)
