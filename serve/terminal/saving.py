"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from serve.terminal.files import InputError


def save(path: Path, chunks: Iterable[bytes]) -> int:
    """Write a file beside its place, and move it there once it is whole.

    Args:
        path: What was there before is replaced.
        chunks: The content; what they raise leaves nothing behind.

    Returns:
        How many bytes were written.

    Raises:
        InputError: It cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    beside, size = Path(name), 0
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                size += file.write(chunk)
        beside.chmod(0o666 & ~_umask())
        beside.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        beside.unlink(missing_ok=True)
    return size


def _umask() -> int:
    """What new files are not allowed; it cannot be asked for without being set."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be written: {error.strerror or error}")
