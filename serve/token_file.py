"""An engine's bearer token, which stands in a file that whoever runs the engine may replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from serve.core.errors import UnavailableError

# It is asked for with every call; a replaced one is taken up within this time.
FRESH_S = 0.5


class TokenFile:
    """The token as the file holds it, without the line's end."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read nothing yet."""
        self._path = path
        self._clock = clock
        self._read_at = float("-inf")
        self._token = ""

    def __call__(self) -> str:
        """The token, at most half a second old.

        Raises:
            UnavailableError: The file cannot be read or is empty: the engine is down, or not up yet.
        """
        now = self._clock()
        if now - self._read_at > FRESH_S:
            self._token = self._read()
            self._read_at = now
        return self._token

    def _read(self) -> str:
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise UnavailableError(f"token_file: {self._path} cannot be read: {error}") from error
        if not token:
            raise UnavailableError(f"token_file: {self._path} is empty")
        return token
