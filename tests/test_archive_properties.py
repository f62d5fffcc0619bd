"""The archive reader over damaged and hostile zips: an archive is opened or refused, in little memory."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.archive import MAX_TEXT_BYTES, ArchiveError, open_archive

SIGNATURE = {
    "format": 1,
    "name": "net",
    "version": "2",
    "input": {"size": [8, 8]},
    "labels": ["a", "b"],
    "attention": "none",
    "attention_layout": [],
    "trained": True,
    "batch_buckets": [1, 4],
}
MANIFEST = {"model": {"modelName": "net", "modelVersion": "2"}}


def _zip(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def _entries(**changes: object) -> dict[str, bytes]:
    documents = {"MAR-INF/MANIFEST.json": MANIFEST, "signature.json": SIGNATURE | changes}
    return {name: json.dumps(document).encode() for name, document in documents.items()} | {"SHA256SUMS": b""}


def _open(content: bytes) -> None:
    """Open it as a file that is listed as it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.mar"
        path.write_bytes(content)
        open_archive(path, {path.name: hashlib.sha256(content).hexdigest()})


GOOD = _zip(_entries())
CHANGES = st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8)


@given(CHANGES, st.integers(0, len(GOOD)))
def test_damaged_zips_raise_nothing_else(changes: list[tuple[int, int]], end: int) -> None:
    """With some bytes changed, and perhaps cut off, it is opened or refused."""
    damaged = bytearray(GOOD)
    for position, value in changes:
        damaged[position] = value
    for content in (bytes(damaged), bytes(damaged[:end])):
        with contextlib.suppress(ArchiveError):
            _open(content)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(SIGNATURE)), _JSON))
def test_odd_signatures_raise_nothing_else(changes: dict[str, object]) -> None:
    """A signature with any values is taken or refused."""
    with contextlib.suppress(ArchiveError):
        _open(_zip(_entries(**changes)))


# zipfile ends a name at its first NUL, and cannot write one of which nothing is left.
_NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name[0] != "\0")


@given(st.dictionaries(_NAMES, st.binary(max_size=9), max_size=4))
def test_odd_names_raise_nothing_else(more: dict[str, bytes]) -> None:
    """Entries of any names beside the right ones."""
    with contextlib.suppress(ArchiveError):
        _open(_zip(_entries() | more))


@pytest.mark.parametrize("name", ["MAR-INF/MANIFEST.json", "signature.json", "SHA256SUMS"])
@pytest.mark.parametrize("lie", [False, True], ids=["as it is", "said to be small"])
def test_bombs_are_not_unpacked(name: str, lie: bool) -> None:
    """A text that grows to eight times the limit is refused after that limit, whatever size it claims."""
    content = bytearray(_zip(_entries() | {name: bytes(8 * MAX_TEXT_BYTES)}))
    if lie:
        size = (8 * MAX_TEXT_BYTES).to_bytes(4, "little")
        while size in content:
            at = content.index(size)
            content[at : at + 4] = (100).to_bytes(4, "little")
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError):
            _open(bytes(content))
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_TEXT_BYTES
    finally:
        tracemalloc.stop()
