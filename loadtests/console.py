"""Where the commands of this folder print."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console

# Into a file or a pipe, where rich would wrap tables to 80 columns.
WIDTH: Final = 132


def wide() -> Console:
    """A console as wide as the terminal; wide enough for every table where there is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
