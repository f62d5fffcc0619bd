"""Ids that nobody gives twice and nobody can guess."""

from __future__ import annotations

import os

_BYTES = 16
_AT_ONCE = 256


class Ids:
    """Makes them; random bytes are drawn for many at once, as each draw lets other threads run."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._drawn: list[str] = []

    def next(self) -> str:
        """32 hexadecimal digits, all of them random."""
        if not self._drawn:
            digits = os.urandom(_BYTES * _AT_ONCE).hex()
            size = 2 * _BYTES
            self._drawn = [digits[start : start + size] for start in range(0, len(digits), size)]
        return self._drawn.pop()
