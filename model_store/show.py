"""What the foundry's commands print with: tables on a terminal, plain columns elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_PLAIN_WIDTH: Final = 240  # a file or pipe has no width of its own, and cut cells help nobody


def console() -> Console:
    """Standard output, wide enough for whole lines when it is no terminal."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def plain_table(out: Console, *columns: str, header: bool = True, right: Collection[int] = ()) -> Table:
    """Return a table without rows.

    Args:
        out: Where it will be shown.
        columns: Their heads.
        header: Whether these are shown.
        right: Numbers of the columns, from 0, that stand to the right.
    """
    table = Table(box=box.SIMPLE if out.is_terminal else None, show_header=header, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="right" if index in right else "left")
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
