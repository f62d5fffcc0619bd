"""How sentences get to a terminal, or to a file."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

# The tones of `serve.reporting.words`, in the sixteen colours that every terminal has.
_STYLES = {"good": "green", "bad": "red", "warn": "yellow", "even": "blue", "open": "cyan"}


def say(console: Console, text: str = "", *, tone: str = "", bold: bool = False) -> None:
    """Print a line: wrapped on a terminal, as it is elsewhere."""
    style = f"{'bold ' if bold else ''}{_STYLES.get(tone, '')}".strip()
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def head(console: Console, text: str) -> None:
    """Begin a part."""
    say(console)
    say(console, text, bold=True)
