"""Reads an archive back and checks every hash that vouches for it."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from model_store.errors import ArchiveError, InputError
from model_store.sums import SUMS, parse_sums, read_sums, sha256

SIGNATURE: Final = "signature.json"
Listed: TypeAlias = Literal["matches", "differs", "not listed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an archive says and whether its hashes hold.

    Attributes:
        path: As given.
        bytes: Size of the file.
        sha256: Of the file.
        listed: Whether the SHA256SUMS beside the archive agrees.
        contents_sha256: Of the SHA256SUMS inside.
        damaged: Inner files that are missing, added or altered, each with the reason; empty when all match.
        signature: signature.json.
    """

    path: str
    bytes: int
    sha256: str
    listed: Listed
    contents_sha256: str
    damaged: dict[str, str]
    signature: dict[str, Any]

    @property
    def intact(self) -> bool:
        """No hash contradicts; not being listed anywhere is no contradiction."""
        return not self.damaged and self.listed != "differs"

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**asdict(self), "intact": self.intact}


def inspect(path: Path) -> Inspection:
    """Read and verify an archive without running anything of it.

    Raises:
        InputError: The file cannot be read.
        ArchiveError: It is no zip, or lacks SHA256SUMS or a readable signature.json.
    """
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
    except OSError as error:
        raise InputError(f"archive: cannot read {str(path)!r}: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise ArchiveError(f"archive: cannot read {str(path)!r}: {error}") from error
    for required in (SUMS, SIGNATURE):
        if required not in entries:
            raise ArchiveError(f"archive: {str(path)!r} lacks {required}; it was not built by attnserve")
    digest = sha256(data)
    return Inspection(
        path=str(path),
        bytes=len(data),
        sha256=digest,
        listed=_listed(path, digest),
        contents_sha256=sha256(entries[SUMS]),
        damaged=_damaged(entries, f"{path}: {SUMS}"),
        signature=_signature(path, entries[SIGNATURE]),
    )


def _listed(path: Path, digest: str) -> Listed:
    beside = path.with_name(SUMS)
    known = read_sums(beside).get(path.name) if beside.exists() else None
    if known is None:
        return "not listed"
    return "matches" if known == digest else "differs"


def _damaged(entries: dict[str, bytes], source: str) -> dict[str, str]:
    wanted = parse_sums(entries[SUMS].decode("utf-8", errors="replace"), source)
    found = {name: sha256(data) for name, data in entries.items() if name != SUMS}
    reasons = dict.fromkeys(wanted.keys() - found.keys(), "missing")
    reasons |= dict.fromkeys(found.keys() - wanted.keys(), f"not in {SUMS}")
    reasons |= {name: "altered" for name in found.keys() & wanted.keys() if found[name] != wanted[name]}
    return dict(sorted(reasons.items()))


def _signature(path: Path, data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise ArchiveError(f"archive: {str(path)!r}: {SIGNATURE} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ArchiveError(f"archive: {str(path)!r}: {SIGNATURE} must hold an object")
    return document
