"""How sentences and tables get to a terminal, or to a file.

Names, reasons and labels come from whoever wrote them: what could steer a terminal is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from serve.classify import print_table
from serve.reporting.node import clean

# The tones of `serve.reporting.words`, in the sixteen colours that every terminal has.
_STYLES = {"good": "green", "bad": "red", "warn": "yellow", "even": "blue", "open": "cyan"}


def say(console: Console, text: str = "", *, tone: str = "", bold: bool = False) -> None:
    """Print a line: wrapped on a terminal, as it is elsewhere."""
    style = f"{'bold ' if bold else ''}{_STYLES.get(tone, '')}".strip()
    console.print(Text(clean(text), style=style), soft_wrap=not console.is_terminal)


def head(console: Console, text: str) -> None:
    """Begin a part."""
    say(console)
    say(console, text, bold=True)


def table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; see `serve.classify.print_table`."""
    print_table(console, columns, [[" ".join(clean(cell).split()) for cell in row] for row in rows])
