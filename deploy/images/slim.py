"""Takes out of a virtual environment what no image runs, and says how much that was: `slim.py FOLDER`.

The test suites that packages bring, what they have for compiling C++ against them, for which an image has no
compiler, and large libraries that we never load. Byte code stays: on a read-only root Python could not write
it, and would compile every module at every start. Only the standard library: it runs while an image is built.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

_TESTS = "tests"
_UNUSED = {
    "pyarrow": ("include", "src", "*flight*", "*s3*"),  # we write Parquet, and reach no servers with it
    "torch": ("include", "test", "bin/*"),
}
_KEPT = {"torch_shm_manager"}  # torch cannot be imported without it


def spare(packages: Path) -> Iterator[Path]:
    """The files and folders that can go, those that are still there.

    Args:
        packages: A folder site-packages.
    """
    for package, patterns in _UNUSED.items():
        for pattern in patterns:
            yield from (path for path in sorted((packages / package).glob(pattern)) if path.name not in _KEPT)
    yield from (path for path in sorted(packages.rglob(_TESTS)) if path.is_dir())


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def slim(environment: Path) -> int:
    """Take out what can go.

    Returns:
        How many bytes that were.
    """
    freed = 0
    for packages in environment.glob("lib/python3.*/site-packages"):
        for path in spare(packages):
            freed += size(path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return freed


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1], "pyvenv.cfg").is_file():  # noqa: PLR2004 - program and folder
        sys.exit("usage: slim.py FOLDER, the folder of a virtual environment")
    print(f"{slim(Path(sys.argv[1])) / 1e6:.0f} MB taken out of {sys.argv[1]}")  # noqa: T201 - a program's answer
