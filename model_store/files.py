"""Writing files: found impossible before the work, and never half done."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from model_store.errors import InputError


def require_folder(what: str, folder: Path) -> None:
    """Refuse a folder that can be neither written to nor made, before the work rather than after it.

    Args:
        what: The parameter that names it.
        folder: Need not exist yet.

    Raises:
        InputError: A file stands in its place or above it, or what is there must not be written to.
    """
    absolute = folder.absolute()
    there = next(path for path in (absolute, *absolute.parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{what}: cannot write to {str(folder)!r}: {str(there)!r} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{what}: cannot write to {str(folder)!r}: {str(there)!r} must not be written to")


def require_file(what: str, path: Path) -> None:
    """Refuse a file that cannot be written.

    Raises:
        InputError: It is a folder, or as require_folder for the folder that it is in.
    """
    if path.is_dir():
        raise InputError(f"{what}: must be a file, but {str(path)!r} is a folder")
    require_folder(what, path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file; a reader sees what was there before or all of `data`. Folders are made.

    Raises:
        OSError: It cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
