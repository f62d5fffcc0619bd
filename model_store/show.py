"""What the foundry's commands print with: tables on a terminal, plain columns elsewhere."""

from __future__ import annotations

import io
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_PLAIN_WIDTH: Final = 240  # a file or pipe has no width of its own, and cut cells help nobody
_GAP: Final = 3  # blanks between two columns on a terminal
_FOLDED: Final = 20  # a column of sentences gets narrower than its widest one, but not narrower than this
_CORNER: Final = "true \\ given"


def console() -> Console:
    """Standard output, wide enough for whole lines when it is no terminal.

    What its encoding lacks, such as a bar in ASCII or a file name's stray byte, is written as an escape.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def error_console() -> Console:
    """Standard error, wide enough for whole lines when it is no terminal."""
    terminal = Console(stderr=True, highlight=False)
    return terminal if terminal.is_terminal else Console(stderr=True, highlight=False, width=_PLAIN_WIDTH)


def plain_table(out: Console, *columns: str, header: bool = True, right: Collection[int] = ()) -> Table:
    """Return a table without rows.

    Args:
        out: Where it will be shown.
        columns: Their heads.
        header: Whether these are shown.
        right: Numbers of the columns, from 0, that stand to the right and are not folded: numbers.
    """
    table = Table(box=box.SIMPLE if out.is_terminal else None, show_header=header, pad_edge=False)
    for index, column in enumerate(columns):
        number = index in right
        table.add_column(column, overflow="fold", justify="right" if number else "left", no_wrap=number)
    return table


def show_table(out: Console, table: Table) -> None:
    """Print a table and an empty line."""
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    # rich fills every line with blanks up to the console's width.
    out.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()) + "\n")


def show_pairs(out: Console, pairs: Mapping[str, str], title: str = "") -> None:
    """Print names and what belongs to each, under a title."""
    table = plain_table(out, title, "", header=bool(title))
    for name, value in pairs.items():
        table.add_row(escape(name), escape(value))
    show_table(out, table)


def show_rows(
    out: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    folded: Collection[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print a table that goes without some columns where a terminal is too narrow for all.

    Args:
        out: Where to.
        columns: Their heads.
        rows: Cells as they are, without markup.
        right: Columns that stand to the right.
        folded: Columns of sentences; the others keep each cell on one line.
        spare: Columns that may be left out, the first one first; a line below says which were.
    """
    natural = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    widths = {
        name: min(width, _FOLDED) if name in folded else width
        for name, width in zip(columns, natural, strict=True)
    }
    left_out: list[str] = []
    for name in spare:
        if not out.is_terminal or sum(widths.values()) + _GAP * len(widths) <= out.width:
            break
        del widths[name]
        left_out.append(name)
    kept = [index for index, name in enumerate(columns) if name in widths]
    numbers = [place for place, index in enumerate(kept) if columns[index] in right]
    table = plain_table(out, *(columns[index] for index in kept), right=numbers)
    for place, index in enumerate(kept):
        table.columns[place].no_wrap = columns[index] not in folded
    for row in rows:
        table.add_row(*(escape(row[index]) for index in kept))
    show_table(out, table)
    if left_out:
        out.print(f"left out for want of width: {', '.join(left_out)}\n", markup=False)


def show_confusion(out: Console, labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> None:
    """Print a matrix, a row for each true class, unless the terminal is too narrow: folded, none can read it.

    Args:
        out: Where to.
        labels: Of the K classes.
        confusion: Counts [K,K].
    """
    cells = [[str(count) if count else "." for count in row] for row in confusion]
    widths = [max(map(cell_len, column)) for column in zip(labels, *cells, strict=True)]
    needed = max(map(cell_len, [_CORNER, *labels])) + sum(widths) + _GAP * (len(labels) + 1)
    if out.is_terminal and needed > out.width:
        show_pairs(out, {"confusion matrix": f"too wide for {out.width} columns; --json has it"})
        return
    table = plain_table(out, _CORNER, *map(escape, labels), right=range(1, len(labels) + 1))
    for label, row in zip(labels, cells, strict=True):
        table.add_row(escape(label), *row)
    show_table(out, table)
