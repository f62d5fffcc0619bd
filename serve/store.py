"""What lies in the model store: archives by the name and version that their cards say, and what is no good.

File names decide nothing about an archive that can be opened. One that cannot be opened still has to be
shown as some model, and for that its file name is all there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from serve.archive import SUMS, Archive, ArchiveError, open_archive, read_sums
from serve.core.messages import MODEL_NAME, MODEL_VERSION, ModelRef

_NAME = re.compile(MODEL_NAME)
_FILE_NAME = re.compile(rf"(?P<name>{MODEL_NAME}?)(-v(?P<version>{MODEL_VERSION}))?\.mar")

# What tells, without opening it, that a file has not changed: inode, bytes, and times of its contents
# and of its inode, in nanoseconds.
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An archive that cannot be used.

    Attributes:
        file_name: Its name in the store.
        ref: The model that it seems to be; None when its file name is no model's, or another archive is it.
        error: Why, in words for everybody.
    """

    file_name: str
    ref: ModelRef | None
    error: ArchiveError


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The content of a model store at one moment.

    Attributes:
        archives: Those that can be opened, one for each version.
        refusals: Those that cannot, and those of a version that another archive is, with other contents.
        unsettled: Names of files that are just being changed, which were not looked into.
    """

    archives: tuple[Archive, ...]
    refusals: tuple[Refusal, ...]
    unsettled: AbstractSet[str] = frozenset()

    @property
    def refs(self) -> frozenset[ModelRef]:
        """The versions of which something lies here."""
        return frozenset(archive.card.ref for archive in self.archives) | frozenset(
            refusal.ref for refusal in self.refusals if refusal.ref
        )

    @property
    def names(self) -> frozenset[str]:
        """The models of which something lies here."""
        return frozenset(ref.name for ref in self.refs)

    def only(self, names: Iterable[str]) -> Store:
        """What there is of these models."""
        chosen = frozenset(names)
        return Store(
            archives=tuple(one for one in self.archives if one.card.ref.name in chosen),
            refusals=tuple(one for one in self.refusals if one.ref and one.ref.name in chosen),
            unsettled=self.unsettled,
        )

    def unreadable(self, file_name: str) -> bool:
        """Whether there is a file of that name, of which nobody can say now what is in it."""
        return file_name in self.unsettled or any(one.file_name == file_name for one in self.refusals)


class StoreReader:
    """Opens the archives of a model store; again only those that have changed since."""

    def __init__(self, folder: Path) -> None:
        """Nothing is opened before `read`."""
        self._folder = folder
        self._opened: dict[str, tuple[Stamp, str | None, Archive | ArchiveError]] = {}

    def read(self, unsettled: AbstractSet[str] = frozenset()) -> Store:
        """Open every archive of the folder, but for the unsettled ones.

        Of two with one version and other contents the second is refused. Blocks.
        """
        archives: dict[ModelRef, Archive] = {}
        errors: dict[str, ArchiveError] = {}
        rivals: dict[str, ArchiveError] = {}
        for path in sorted(self._folder.glob("*.mar")):
            if path.name in unsettled:
                continue
            found = self._open(path)
            if isinstance(found, ArchiveError):
                errors[path.name] = found
                continue
            first = archives.setdefault(found.card.ref, found)
            if first.card.contents_sha256 != found.card.contents_sha256:
                rivals[path.name] = _rivalry(first, found)
        guessed = {name: _ref_of(name) for name in errors}
        refs = {name: ref for name, ref in guessed.items() if ref not in archives}
        return Store(
            archives=tuple(archives.values()),
            refusals=tuple(
                Refusal(file_name=name, ref=refs.get(name), error=error)
                for name, error in (errors | rivals).items()
            ),
            unsettled=unsettled,
        )

    def _open(self, path: Path) -> Archive | ArchiveError:
        try:
            sums = read_sums(self._folder)
            stamp, listed = stamp_of(path), sums.get(path.name)
            known = self._opened.get(path.name)
            if known and known[:2] == (stamp, listed):
                return known[2]
            found = _opened(path, sums)
        except ArchiveError as error:
            return error
        except OSError as error:
            return ArchiveError(f"{path.name} cannot be read: {error.strerror or type(error).__name__}")
        self._opened[path.name] = (stamp, listed, found)
        return found


def look(folder: Path) -> Mapping[str, Stamp]:
    """The archives of a model store and its SHA256SUMS by name, not opened. Blocks.

    Raises:
        OSError: The folder or its SHA256SUMS is not there: nothing can be told about its archives.
    """
    stamps = {SUMS: stamp_of(folder / SUMS)}
    for path in folder.glob("*.mar"):
        try:
            stamps[path.name] = stamp_of(path)
        except FileNotFoundError:  # removed since
            continue
    return stamps


def stamp_of(path: Path) -> Stamp:
    """What changes when a file does; raises OSError."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def may_be_name(name: str) -> bool:
    """Whether a model can have that name."""
    return _NAME.fullmatch(name) is not None


def _opened(path: Path, sums: Mapping[str, str]) -> Archive | ArchiveError:
    try:
        return open_archive(path, sums)
    except ArchiveError as error:
        return error


def _rivalry(first: Archive, second: Archive) -> ArchiveError:
    return ArchiveError(
        f"{second.file_name} is ignored: {first.file_name} is {first.card.ref} with other contents"
    )


def _ref_of(file_name: str) -> ModelRef | None:
    """The model that an archive seems to be by its file name: NAME.mar or NAME-vVERSION.mar."""
    found = _FILE_NAME.fullmatch(file_name)
    return ModelRef(name=found["name"], version=found["version"] or "1") if found else None
