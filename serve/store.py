"""What lies in the model store: archives by the name and version that their cards say, and what is no good.

File names decide nothing about an archive that can be opened. One that cannot be opened still has to be
shown as some model, and for that its file name is all there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from serve.archive import Archive, ArchiveError, open_archive, read_sums
from serve.core.messages import MODEL_NAME, MODEL_VERSION, ModelRef

log = structlog.get_logger(__name__)

_NAME = re.compile(MODEL_NAME)
_FILE_NAME = re.compile(rf"(?P<name>{MODEL_NAME}?)(-v(?P<version>{MODEL_VERSION}))?\.mar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An archive that cannot be opened.

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
        refusals: Those that cannot.
    """

    archives: tuple[Archive, ...]
    refusals: tuple[Refusal, ...]

    @property
    def names(self) -> frozenset[str]:
        """The models of which something lies here."""
        return frozenset(archive.card.ref.name for archive in self.archives) | frozenset(
            refusal.ref.name for refusal in self.refusals if refusal.ref
        )

    def only(self, names: Iterable[str]) -> Store:
        """What there is of these models."""
        chosen = frozenset(names)
        return Store(
            archives=tuple(one for one in self.archives if one.card.ref.name in chosen),
            refusals=tuple(one for one in self.refusals if one.ref and one.ref.name in chosen),
        )


def read_store(folder: Path) -> Store:
    """Open every archive of a folder; of two with one version and other contents the second is ignored.

    Blocks.
    """
    archives: dict[ModelRef, Archive] = {}
    errors: dict[str, ArchiveError] = {}
    for path in sorted(folder.glob("*.mar")):
        try:
            _add(archives, open_archive(path, read_sums(folder)))
        except ArchiveError as error:
            errors[path.name] = error
    refs = {name: _ref_of(name) for name in errors}
    refusals = (
        Refusal(file_name=name, ref=None if refs[name] in archives else refs[name], error=error)
        for name, error in errors.items()
    )
    return Store(archives=tuple(archives.values()), refusals=tuple(refusals))


def may_be_name(name: str) -> bool:
    """Whether a model can have that name."""
    return _NAME.fullmatch(name) is not None


def _add(archives: dict[ModelRef, Archive], archive: Archive) -> None:
    first = archives.setdefault(archive.card.ref, archive)
    if first.card.contents_sha256 != archive.card.contents_sha256:
        log.error(
            "two archives of one version, the second is ignored",
            model=str(archive.card.ref),
            archive=first.file_name,
            ignored=archive.file_name,
        )


def _ref_of(file_name: str) -> ModelRef | None:
    """The model that an archive seems to be by its file name: NAME.mar or NAME-vVERSION.mar."""
    found = _FILE_NAME.fullmatch(file_name)
    return ModelRef(name=found["name"], version=found["version"] or "1") if found else None
