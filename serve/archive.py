"""Model archives on disk: checked against SHA256SUMS, opened with suspicion, copied while they are hashed.

An archive is a zip that TorchServe unpacks and whose Python code it runs, so that nothing is handed to it
that is not listed, with its digest, in the SHA256SUMS beside it. What is read here is little: who the model
is, and what it takes and gives. All functions block.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from serve.core.card import CardError, ModelCard, parse_card
from serve.core.errors import InvalidRequestError, UnavailableError
from serve.core.messages import ModelRef

SUMS = "SHA256SUMS"
MANIFEST = "MAR-INF/MANIFEST.json"
SIGNATURE = "signature.json"

MAX_MEMBERS = 1000
MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_TEXT_BYTES = 16 * 1024**2

_SUMS_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")
_CHUNK_BYTES = 1024**2
# The archive is not to blame for these.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# Messages reach callers who load models from afar: they name files, never folders of this machine.
_MEND = f"Build it again, or, if you trust it, list it: sha256sum *.mar > {SUMS}"
# What zipfile and json raise for bytes that are no zip or no JSON.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class ArchiveError(InvalidRequestError):
    """An archive is not the one that was listed, or cannot be read; whoever put it there must mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive whose digest is the listed one.

    Attributes:
        path: Where it lies.
        sha256: Digest of the file.
        card: What its signature says.
    """

    path: Path
    sha256: str
    card: ModelCard

    @property
    def file_name(self) -> str:
        """Name of the file, as listed."""
        return self.path.name


def read_sums(folder: Path) -> Mapping[str, str]:
    """The digests that the folder's SHA256SUMS lists, by file name.

    Raises:
        ArchiveError: The file is missing, or is not in the format of sha256sum.
    """
    path = folder / SUMS
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise ArchiveError(f"{SUMS} is missing, which lists the archives' digests. {_MEND}") from None
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{SUMS} cannot be read: {type(error).__name__}") from error
    sums = {}
    for number, line in enumerate(lines, 1):
        found = _SUMS_LINE.fullmatch(line)
        if found is None:
            raise ArchiveError(f"{SUMS}, line {number}: must be a sha256, two spaces and a file name")
        sums[found.group(2)] = found.group(1)
    return sums


def open_archive(path: Path, sums: Mapping[str, str]) -> Archive:
    """Check an archive against its listed digest and read its card.

    Args:
        path: The archive.
        sums: What `read_sums` gave for its folder.

    Raises:
        ArchiveError: It is not listed, differs, is unsafe to unpack, or lacks what an archive needs.
    """
    expected = sums.get(path.name)
    if expected is None:
        raise ArchiveError(f"{path.name} is not listed in {SUMS} beside it. {_MEND}")
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            _check_digest(path, expected, found)
            with zipfile.ZipFile(file) as archive:
                card = _read_card(archive)
    except ArchiveError:
        raise
    except CardError as error:
        raise ArchiveError(f"{path.name}: {error.message}") from error
    except _UNREADABLE as error:
        raise ArchiveError(f"{path.name} cannot be read as a model archive: {_public(error)}") from error
    return Archive(path=path, sha256=found, card=card)


def copy_verified(archive: Archive, target_folder: Path) -> str:
    """Copy an archive and hash what is copied, so that what is loaded is what was checked.

    Returns:
        The name of the copy in `target_folder`: `store_name` of the model.

    Raises:
        ArchiveError: The file has changed since it was opened; nothing is left in `target_folder`.
        UnavailableError: There is no room for it; nothing is left, either.
    """
    name = store_name(archive.card.ref)
    unfinished = target_folder / f".{name}.part"
    try:
        with archive.path.open("rb") as source, unfinished.open("wb") as target:
            found = _copy(source, target)
        _check_digest(archive.path, archive.sha256, found)
        os.replace(unfinished, target_folder / name)  # noqa: PTH105 - says that it replaces
    except OSError as error:
        message = f"{archive.file_name} cannot be copied into TorchServe's store: {_public(error)}"
        kind = UnavailableError if error.errno in _NO_ROOM else ArchiveError
        raise kind(message) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return name


def store_name(ref: ModelRef) -> str:
    """File name of a model in the store that TorchServe loads from: NAME-VERSION.mar."""
    return f"{ref.name}-{ref.version}.mar"


def ref_of_store_name(file_name: str) -> ModelRef:
    """The model that `store_name` gave this file name for."""
    name, _, version = file_name.removesuffix(".mar").rpartition("-")
    return ModelRef(name=name, version=version)


def _public(error: Exception) -> str:
    """What went wrong, without the paths that the system's own errors name."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)


def _check_digest(path: Path, expected: str, found: str) -> None:
    if found != expected:
        raise ArchiveError(
            f"{path.name} is not the archive that was listed: {SUMS} says sha256 {expected}, "
            f"the file has {found}. {_MEND}"
        )


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _read_card(archive: zipfile.ZipFile) -> ModelCard:
    members = _safe_members(archive)
    model = _read_json(archive, members, MANIFEST).get("model")
    sums = _read_text(archive, members, SUMS)
    card = parse_card(
        _read_json(archive, members, SIGNATURE), contents_sha256=hashlib.sha256(sums).hexdigest()
    )
    named = {"modelName": card.ref.name, "modelVersion": card.ref.version}
    if not isinstance(model, dict) or named.items() - model.items():
        raise CardError(f"{MANIFEST}: its model must have {named}, as {SIGNATURE} has")
    return card


def _safe_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, when they are few, small and stay in the folder that they are unpacked to."""
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise CardError(f"has {len(entries)} entries, at most {MAX_MEMBERS} are allowed")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES:
        raise CardError(f"has {unpacked} bytes unpacked, at most {MAX_UNPACKED_BYTES} are allowed")
    for entry in entries:
        path = PurePosixPath(entry.filename)
        linked = stat.S_ISLNK(entry.external_attr >> 16)
        if linked or path.is_absolute() or ".." in path.parts or re.search(r"[\\:]", entry.filename):
            raise CardError(f"entry {entry.filename!r} leads out of the archive")
    members = {entry.filename: entry for entry in entries}
    if len(members) != len(entries):
        raise CardError("two entries have the same name")
    return members


def _read_json(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> dict[str, Any]:
    try:
        document = json.loads(_read_text(archive, members, name).decode())
    except (ValueError, RecursionError) as error:
        raise CardError(f"{name} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise CardError(f"{name} is no JSON object")
    return document


def _read_text(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> bytes:
    if name not in members:
        raise CardError(f"{name} is missing in it")
    with archive.open(members[name]) as member:
        # The size that an entry announces may be a lie.
        text = member.read(MAX_TEXT_BYTES + 1)
    if len(text) > MAX_TEXT_BYTES:
        raise CardError(f"{name} is larger than {MAX_TEXT_BYTES} bytes")
    return text
