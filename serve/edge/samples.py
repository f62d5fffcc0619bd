"""SampleFolder: images for people to try, read from one folder and from nowhere else. All functions block."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from serve.core.errors import NotFoundError

MOST_SAMPLES = 200
MOST_BYTES = 8 << 20  # of one image
# A folder of anything else must not keep a thread busy: entries that are listed, and files that are opened.
MOST_LISTED, MOST_OPENED = 100_000, 2_000
_MAGIC_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An image in the folder.

    Attributes:
        label: What stands before the first "-" of its name; None where there is none.
        bytes: Its size.
    """

    name: str
    label: str | None
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """An image that was read; `etag` changes with it."""

    content: bytes
    media_type: str
    etag: str


class SampleFolder:
    """Lists and reads images; what is no plain file of a known format in this very folder is not there."""

    def __init__(self, folder: Path | None) -> None:
        """Look at nothing yet; without a folder there are no samples."""
        self._folder = folder

    def samples(self) -> list[Sample]:
        """The first images by name, `MOST_SAMPLES` at most; none where the folder cannot be read."""
        return [*islice(self._found(), MOST_SAMPLES)]

    def read(self, name: str) -> SampleFile:
        """One of them.

        Raises:
            NotFoundError: There is none of that name.
        """
        file = self._open(name)
        if file is not None:
            with file:
                found = os.fstat(file.fileno())
                content = file.read(MOST_BYTES)
            media_type = media_type_of(content)
            if media_type:
                etag = f'"{found.st_ino:x}-{found.st_mtime_ns:x}-{len(content):x}"'
                return SampleFile(content=content, media_type=media_type, etag=etag)
        raise NotFoundError(f"sample {name[:80]!r} is not found")

    def _found(self) -> Iterator[Sample]:
        for name in self._names()[:MOST_OPENED]:
            file = self._open(name)
            if file is None:
                continue
            with closing(file):
                if media_type_of(file.read(_MAGIC_BYTES)):
                    size = os.fstat(file.fileno()).st_size
                    yield Sample(name=name, label=_label(name), bytes=size)

    def _names(self) -> list[str]:
        if self._folder is None:
            return []
        try:
            with os.scandir(self._folder) as entries:
                return sorted(entry.name for entry in islice(entries, MOST_LISTED) if is_name(entry.name))
        except OSError:
            return []

    def _open(self, name: str) -> IO[bytes] | None:
        if self._folder is None or not is_name(name):
            return None
        try:
            return _opened(self._folder, name)
        except (OSError, RuntimeError):  # pathlib's word for links in a circle
            return None


def _opened(folder: Path, name: str) -> IO[bytes] | None:
    """Open a plain file of the folder; a link counts as what it leads to, and must not lead out of it."""
    place = (folder / name).resolve(strict=True)
    if not place.is_relative_to(folder.resolve(strict=True)):
        return None
    # A pipe must not hold us up, and what has become a link since is none of ours.
    number = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(number)
    # Asked before there is a file: of a folder there can be none, and nobody would close what was opened.
    if stat.S_ISREG(found.st_mode) and found.st_size <= MOST_BYTES:
        return os.fdopen(number, "rb")
    os.close(number)
    return None


def is_name(name: str) -> bool:
    """Whether a file of that name may be shown: it is not hidden, leads nowhere else, and has UTF-8."""
    return bool(name) and name.isprintable() and name[0] != "." and "/" not in name and "\\" not in name


def media_type_of(content: bytes) -> str:
    """The format that the first bytes of a file announce; "" for none that browsers and workers know."""
    for start, media_type in _MAGIC.items():
        if content.startswith(start):
            return media_type
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    # Two letters alone could begin a text; the field behind them is reserved and 0.
    return "image/bmp" if content[:2] == b"BM" and content[6:10] == bytes(4) else ""


_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


def _label(name: str) -> str | None:
    before, dash, _ = name.partition("-")
    return before if dash and before else None
