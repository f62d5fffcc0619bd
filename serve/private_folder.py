"""A folder under the temporary directory that only this process uses, gone when it ends.

What a killed process left behind is swept by the next one: each folder holds a lock file, and the
kernel drops a lock with the process that held it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "attnserve-"
_LOCK = "lock"
# A unix socket's path has at most 107 bytes (unix(7)); room for the random part and the socket's name.
_LONGEST_ROOT = 107 - len(f"/{_PREFIX}12345678/tmp/.ts.sock.65535")


class PrivateFolder:
    """A new folder of mode 700; `close` removes it with everything in it."""

    def __init__(self, root: Path | None = None) -> None:
        """Sweep the leftovers of killed processes, then create the folder.

        Args:
            root: Where to create it; by default the temporary directory, or /tmp when that path is
                too long for unix sockets.
        """
        root = root or _short_root()
        for leftover in root.glob(f"{_PREFIX}*"):
            _sweep(leftover)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Remove the folder; once is enough, twice does no harm."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _short_root() -> Path:
    root = tempfile.gettempdir()
    return Path(root if len(os.fsencode(root)) <= _LONGEST_ROOT else "/tmp")  # noqa: S108 - short by intent


def _sweep(folder: Path) -> None:
    """Remove a folder whose lock nobody holds; others' folders and those in use stay."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)
