"""The archives that are measured, one real net and one tiny; built anew when their code has changed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

REAL: Final = "se_resnet50"
TINY: Final = "digits_se"
_SOURCES: Final = ("handlers", "model_store")


def prepare(store: Path, names: Sequence[str] = (REAL, TINY)) -> None:
    """Bring archives of nets of the zoo into a store folder; speed does not ask for training.

    Raises:
        subprocess.CalledProcessError: One cannot be built; the builder has said why.
    """
    program = str(Path(sys.executable).with_name("attnserve"))
    for name in names:
        if _is_stale(store / f"{name}.mar"):
            command = [program, "build", "--arch", name, "--untrained", "--output", str(store)]
            subprocess.run(command, check=True)  # noqa: S603  our own


def unpack(store: Path, folder: Path) -> Path:
    """Unpack the archive of the real net, as a worker does."""
    with zipfile.ZipFile(store / f"{REAL}.mar") as archive:
        archive.extractall(folder)
    return folder


def _is_stale(archive: Path) -> bool:
    """Whether code that goes into an archive, or makes it, is newer."""
    return not archive.exists() or archive.stat().st_mtime < max(path.stat().st_mtime for path in _sources())


def _sources() -> Iterator[Path]:
    return (path for folder in _SOURCES for path in Path(folder).rglob("*.py"))
