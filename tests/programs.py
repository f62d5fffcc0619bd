"""Where the programs are that tests need."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Debian keeps PostgreSQL's server programs off PATH, in one folder a version.
_DEBIAN = Path("/usr/lib/postgresql")


def find_program(name: str) -> Path | None:
    """The program of that name on PATH, or where Debian puts those of PostgreSQL; the newest of several."""
    folders = sorted(_DEBIAN.glob("[0-9]*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, folders)])
    found = shutil.which(name, path=path)
    return Path(found) if found else None
