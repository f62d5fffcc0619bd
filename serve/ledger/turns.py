"""Turns: one writer at a time, and who waits goes before who comes again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Turns:
    """For the threads of one process.

    A writer that waits inside SQLite sleeps and looks whether the file is free: beside another one who writes
    batch after batch it may never find it so.
    """

    def __init__(self, timeout_s: float) -> None:
        """Nobody has the turn.

        Args:
            timeout_s: Longest wait, in seconds, to be the next one, and then to have the turn.
        """
        self._timeout_s = timeout_s
        self._next, self._now = Lock(), Lock()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """The turn, held inside.

        Raises:
            TimeoutError: Others do not end.
        """
        self._take(self._next)  # until it is this one's turn, nobody overtakes
        try:
            self._take(self._now)
        finally:
            self._next.release()
        try:
            yield
        finally:
            self._now.release()

    def _take(self, lock: Lock) -> None:
        if not lock.acquire(timeout=self._timeout_s):
            raise TimeoutError(f"others of this process do not stop writing within {self._timeout_s:g} s")
