"""Digests of files, and SHA256SUMS, the list that `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from model_store.errors import ArchiveError

SUMS: Final = "SHA256SUMS"


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def sums_text(digests: Mapping[str, str]) -> str:
    """What `sha256sum` prints for these files, sorted by name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def parse_sums(text: str, source: str) -> dict[str, str]:
    """Read sha256sum's format: name -> digest.

    Raises:
        ArchiveError: A line is not "DIGEST  NAME"; the message names `source` and the line.
    """
    digests = {}
    for number, line in enumerate(text.splitlines(), start=1):
        digest, separator, name = line.partition("  ")
        if not separator or not name or len(digest) != hashlib.sha256().digest_size * 2:
            raise ArchiveError(f"{source}: line {number} must be '<sha256>  <name>', got {line!r}")
        digests[name] = digest
    return digests


def read_sums(path: Path) -> dict[str, str]:
    """Read a SHA256SUMS file: name -> digest.

    Raises:
        ArchiveError: as parse_sums.
    """
    return parse_sums(path.read_text(encoding="utf-8"), str(path))
