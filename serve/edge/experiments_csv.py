"""Pairs and labels as CSV (RFC 4180), which people open in spreadsheets. Pure.

A spreadsheet takes a cell that begins with = or the like for a formula, and classes are named by whoever
trained the model: such text gets an apostrophe before it, which is taken off again from what comes back.
"""

from __future__ import annotations

import asyncio
import csv
import io
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import TypeVar

from serve.core.errors import InvalidRequestError, TooLargeError
from serve.core.experiment import Arm
from serve.core.record import DisagreementRow, PairRow
from serve.edge.experiments_bodies import check_count
from serve.edge.experiments_json import rfc3339
from serve.edge.tensors import show
from serve.experiments.outcomes import LabelRow

R = TypeVar("R")
Cell = str | int
LABEL_COLUMNS = ("prediction", "item", "label")
# https://owasp.org/www-community/attacks/CSV_Injection; the apostrophe itself, so that it can be undone.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
# Parsing holds up every other caller.
MAX_CSV_BYTES = 8 << 20
_CHUNK_CHARACTERS = 1 << 16
_CONFIDENCE_DIGITS = 4  # as the ledger keeps them
_INT32 = range(2**31)


def pair_columns(arms: Iterable[Arm]) -> list[str]:
    """The header of `pair_cells`: what is known of the image, then three columns an arm."""
    said = (f"{arm.name}_{what}" for arm in arms for what in ("label", "confidence", "latency_us"))
    return ["prediction", "item", "unit", "phase", "at", "label", *said]


def pair_cells(row: PairRow) -> list[Cell]:
    """One image; what was not answered is empty."""
    cells: list[Cell] = [row.prediction, row.item, row.unit, row.phase, rfc3339(row.at), guarded(row.label)]
    for label, confidence, latency_us in zip(row.said, row.confidence, row.latency_us, strict=True):
        sure = "" if math.isnan(confidence) else f"{confidence:.{_CONFIDENCE_DIGITS}f}"
        cells += [guarded(label), sure, latency_us or ""]
    return cells


def disagreement_columns(arms: Iterable[Arm]) -> list[str]:
    """The header of `disagreement_cells`."""
    return [*pair_columns(arms), "image_kept"]


def disagreement_cells(row: DisagreementRow) -> list[Cell]:
    """One image on which arms disagree."""
    return [*pair_cells(row), "yes" if row.image_kept else "no"]


async def csv_chunks(
    columns: Sequence[str], rows: AsyncGenerator[R, None], cells: Callable[[R], Sequence[Cell]]
) -> AsyncGenerator[bytes, None]:
    """Write a table piece by piece, the header first."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(columns)
    async with aclosing(rows):
        async for row in rows:
            table.writerow(cells(row))
            if text.tell() >= _CHUNK_CHARACTERS:
                yield _taken(text)
                await asyncio.sleep(0)  # a long table must not hold up the other callers
    yield _taken(text)


def decode_labels(body: bytes) -> list[LabelRow]:
    """Read labels from a table with a header; its other columns, and rows without a label, do not matter.

    Raises:
        InvalidRequestError: It is no such table.
        TooLargeError: They are too many.
    """
    if len(body) > MAX_CSV_BYTES:
        raise TooLargeError(
            f"body: {len(body)} bytes of CSV, at most {MAX_CSV_BYTES} are read; send it in parts"
        )
    try:
        rows = _label_rows(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"body: not UTF-8 at byte {error.start}") from None
    except csv.Error as error:
        raise InvalidRequestError(f"body: not CSV, {error}") from None
    check_count(len(rows), "labels")
    return rows


def guarded(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_RISKY) else text


def bare(cell: str) -> str:
    """The text that was `guarded`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_RISKY) else cell


def _taken(text: io.StringIO) -> bytes:
    chunk = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return chunk


def _label_rows(lines: Iterator[list[str]]) -> list[LabelRow]:
    header = [name.strip() for name in next(lines, [])]
    missing = [name for name in LABEL_COLUMNS if header.count(name) != 1]
    if missing:
        raise InvalidRequestError(f"body: the header {show(header)} must have one column {missing[0]!r}")
    places = [header.index(name) for name in LABEL_COLUMNS]
    return [
        row
        for number, cells in enumerate(lines, start=2)
        if cells and (row := _label_row(cells, places, len(header), number)).label
    ]


def _label_row(cells: Sequence[str], places: Sequence[int], width: int, number: int) -> LabelRow:
    if len(cells) != width:
        raise InvalidRequestError(f"body: row {number} has {len(cells)} cells, the header {width}")
    prediction, item, label = (cells[place] for place in places)
    if not (item.isascii() and item.isdecimal() and len(item) < 11 and int(item) in _INT32):  # noqa: PLR2004  digits of 2**31
        raise InvalidRequestError(f"body: row {number}: item is {show(item)}, must be a whole number from 0")
    return LabelRow(prediction=prediction, item=int(item), label=bare(label))
