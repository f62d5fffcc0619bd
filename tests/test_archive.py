"""Archives are opened only when they are the listed ones, and never trusted further than that."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import threading
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve import archive as archive_module
from serve.archive import (
    Archive,
    ArchiveError,
    copy_verified,
    open_archive,
    read_sums,
    ref_of_store_name,
    store_name,
)
from serve.core.errors import UnavailableError
from serve.core.messages import ModelRef

SIGNATURE: dict[str, Any] = {
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
MODEL = {"modelName": "net", "modelVersion": "2"}
OTHER_MODEL = {"modelName": "net", "modelVersion": "1"}
ENTRIES = {
    "MAR-INF/MANIFEST.json": json.dumps({"model": MODEL}).encode(),
    "signature.json": json.dumps(SIGNATURE).encode(),
    "SHA256SUMS": b"what the archive lists\n",
    "model.pt": bytes(100),
}


def write(folder: Path, entries: dict[str, bytes] | None = None, name: str = "net-v2.mar") -> Path:
    """Write an archive and list it."""
    with zipfile.ZipFile(folder / name, "w") as archive:
        for entry, data in (entries or ENTRIES).items():
            archive.writestr(entry, data)
    return enlist(folder / name)


def enlist(path: Path) -> Path:
    """Add a line to SHA256SUMS."""
    with (path.parent / "SHA256SUMS").open("a") as sums:
        sums.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    return path


def opened(path: Path) -> Archive:
    """The archive, held against the list beside it."""
    return open_archive(path, read_sums(path.parent))


def refusal(path: Path) -> str:
    """The message that opening an archive fails with."""
    with pytest.raises(ArchiveError) as refused:
        opened(path)
    assert path.name in refused.value.message
    assert str(path.parent) not in refused.value.message
    return refused.value.message


def test_a_listed_archive_is_opened(tmp_path: Path) -> None:
    """Its card is the signature's, its digests are the file's and its own list's."""
    path = write(tmp_path)
    archive = opened(path)
    assert (archive.path, archive.file_name) == (path, "net-v2.mar")
    assert archive.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert archive.card.ref == ModelRef(name="net", version="2")
    assert archive.card.contents_sha256 == hashlib.sha256(ENTRIES["SHA256SUMS"]).hexdigest()


def test_a_store_without_sums_is_refused(tmp_path: Path) -> None:
    """The message names the file and how to make it."""
    path = write(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(ArchiveError, match=r"SHA256SUMS is missing.*sha256sum \*\.mar > SHA256SUMS"):
        opened(path)


def test_an_unlisted_archive_is_refused(tmp_path: Path) -> None:
    """Somebody put it there without saying so."""
    path = write(tmp_path)
    (tmp_path / "SHA256SUMS").write_text("")
    with pytest.raises(ArchiveError, match=r"net-v2\.mar is not listed in SHA256SUMS.*sha256sum"):
        opened(path)


def test_a_changed_archive_is_refused_with_both_digests(tmp_path: Path) -> None:
    """The message names the file, the digest expected and the one found, and how to mend it."""
    path = write(tmp_path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes() + b"\0")
    message = refusal(path)
    assert expected in message
    assert hashlib.sha256(path.read_bytes()).hexdigest() in message
    assert "sha256sum *.mar > SHA256SUMS" in message


@pytest.mark.parametrize("line", ["", "abc  net.mar", f"{'0' * 64} net.mar", f"{'0' * 64}  ../net.mar"])
def test_a_wrong_line_of_sums_is_named(tmp_path: Path, line: str) -> None:
    """Only sha256sum's own format is read, and only names beside it."""
    (tmp_path / "SHA256SUMS").write_text(f"{'a' * 64}  good.mar\n{line}\n")
    with pytest.raises(ArchiveError, match="SHA256SUMS, line 2"):
        read_sums(tmp_path)


@pytest.mark.parametrize("missing", ["MAR-INF/MANIFEST.json", "signature.json", "SHA256SUMS"])
def test_an_archive_without_one_of_its_parts_is_refused(tmp_path: Path, missing: str) -> None:
    """The part that is missing is named."""
    entries = {name: data for name, data in ENTRIES.items() if name != missing}
    assert f"{missing} is missing in it" in refusal(write(tmp_path, entries))


@pytest.mark.parametrize(
    ("says", "entry", "data"),
    [
        ("signature.json is no JSON:", "signature.json", b"{"),
        ("signature.json is no JSON:", "signature.json", b"\xff"),
        ("signature.json is no JSON:", "signature.json", b"[" * 100_000),
        ("signature.json is no JSON object", "signature.json", b"[]"),
        ("format is None", "signature.json", b"{}"),
        ("its model must have", "MAR-INF/MANIFEST.json", b"{}"),
        ("its model must have", "MAR-INF/MANIFEST.json", b'{"model": "net"}'),
        ("its model must have", "MAR-INF/MANIFEST.json", json.dumps({"model": OTHER_MODEL}).encode()),
        ("name is '../up'", "signature.json", json.dumps(SIGNATURE | {"name": "../up"}).encode()),
        ("version is '0'", "signature.json", json.dumps(SIGNATURE | {"version": "0"}).encode()),
    ],
)  # fmt: skip
def test_a_wrong_part_is_refused(tmp_path: Path, says: str, entry: str, data: bytes) -> None:
    """What is wrong with it is told."""
    assert says in refusal(write(tmp_path, ENTRIES | {entry: data}))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\evil", "c:evil"])
def test_an_entry_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    """Whatever unpacks it later stays in its folder."""
    assert "leads out of the archive" in refusal(write(tmp_path, ENTRIES | {name: b""}))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    """An entry that unpacks to a symbolic link could lead anywhere."""
    path = write(tmp_path)
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "'link' leads out of the archive" in refusal(enlist(path))


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    """Which of them counts would depend on who reads it."""
    path = write(tmp_path)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("model.pt", b"another")
    assert "two entries have the same name" in refusal(enlist(path))


@pytest.mark.parametrize(
    ("limit", "value", "says"),
    [
        ("MAX_MEMBERS", 3, "has 4 entries, at most 3"),
        ("MAX_UNPACKED_BYTES", 100, "at most 100 are allowed"),
        ("MAX_TEXT_BYTES", 20, "is larger than 20 bytes"),
    ],
)
def test_an_archive_over_a_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, says: str
) -> None:
    """Neither the number of entries nor what they unpack to is unbounded."""
    monkeypatch.setattr(archive_module, limit, value)
    assert says in refusal(write(tmp_path))


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    """Also when it is listed with its right digest."""
    path = tmp_path / "net.mar"
    path.write_bytes(data)
    refusal(enlist(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(0, 700), value=st.integers(0, 255))
def test_a_damaged_archive_raises_nothing_else(tmp_path: Path, position: int, value: int) -> None:
    """One changed byte, with its digest listed as it is: opened or refused, never anything else."""
    (tmp_path / "SHA256SUMS").unlink(missing_ok=True)
    path = write(tmp_path)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data)
    with contextlib.suppress(ArchiveError):
        open_archive(enlist(path), read_sums(tmp_path))


def test_what_is_copied_is_what_was_checked(tmp_path: Path) -> None:
    """The copy has the name of the model and its version, and the same bytes."""
    path = write(tmp_path)
    (tmp_path / "store").mkdir()
    archive = opened(path)
    assert copy_verified(archive, tmp_path / "store") == "net-2.mar"
    assert [file.name for file in (tmp_path / "store").iterdir()] == ["net-2.mar"]
    assert (tmp_path / "store" / "net-2.mar").read_bytes() == path.read_bytes()


def test_an_archive_that_changed_since_is_not_copied(tmp_path: Path) -> None:
    """Nothing of it arrives, and an older copy stays."""
    path = write(tmp_path)
    store = tmp_path / "store"
    store.mkdir()
    (store / "net-2.mar").write_text("older")
    archive = opened(path)
    path.write_bytes(b"swapped")
    with pytest.raises(ArchiveError, match="is not the archive that was listed"):
        copy_verified(archive, store)
    assert [(file.name, file.read_text()) for file in store.iterdir()] == [("net-2.mar", "older")]


def test_a_copy_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A missing folder gives a message that names the archive and the reason, and no folder."""
    archive = opened(write(tmp_path))
    with pytest.raises(ArchiveError, match=r"^net-v2\.mar cannot be copied .*: No such file or directory$"):
        copy_verified(archive, tmp_path / "nowhere")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_not_the_archives_fault(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as unavailable, and half a copy does not stay."""

    def write_half(source: IO[bytes], target: IO[bytes]) -> str:
        target.write(source.read(100))
        raise OSError(number, "no room")

    (tmp_path / "store").mkdir()
    monkeypatch.setattr("serve.archive._copy", write_half)
    with pytest.raises(UnavailableError, match=r"^net-v2\.mar cannot be copied .*: no room$"):
        copy_verified(opened(write(tmp_path)), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


@given(st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,63}", fullmatch=True), st.integers(1, 999_999))
def test_a_store_name_tells_its_model(name: str, version: int) -> None:
    """Also when the model's name has dashes and numbers itself."""
    ref = ModelRef(name=name, version=str(version))
    assert ref_of_store_name(store_name(ref)) == ref


def test_a_link_is_followed_to_what_is_listed(tmp_path: Path) -> None:
    """A store may be made of links, as clusters mount it: what counts is the content that they lead to."""
    elsewhere, store, target = (tmp_path / name for name in ("elsewhere", "models", "target"))
    for folder in (elsewhere, store, target):
        folder.mkdir()
    real = write(elsewhere, name="real.mar")
    (store / "net-v2.mar").symlink_to(real)
    enlist(store / "net-v2.mar")
    copy_verified(opened(store / "net-v2.mar"), target)
    assert not (target / "net-2.mar").is_symlink()
    assert (target / "net-2.mar").read_bytes() == real.read_bytes()


def test_a_link_that_was_moved_since_is_not_copied(tmp_path: Path) -> None:
    """It led to the listed archive when it was checked, and leads to another one now."""
    good, target = write(tmp_path, name="good.mar"), tmp_path / "target"
    target.mkdir()
    evil = write(tmp_path, ENTRIES | {"model.pt": b"evil"}, name="evil.mar")
    link = tmp_path / "net-v2.mar"
    link.symlink_to(good)
    archive = opened(enlist(link))
    link.unlink()
    link.symlink_to(evil)
    with pytest.raises(ArchiveError, match="is not the archive that was listed"):
        copy_verified(archive, target)
    assert list(target.iterdir()) == []


def test_whatever_happens_while_it_is_copied(tmp_path: Path) -> None:
    """Somebody keeps changing the file: a copy is refused, or has the listed digest, never anything else."""
    path = write(tmp_path, ENTRIES | {"model.pt": bytes(4 * 2**20)})
    archive, right = opened(path), path.read_bytes()
    (tmp_path / "store").mkdir()
    going = threading.Event()

    def change() -> None:
        with path.open("r+b") as file:
            while not going.is_set():
                for byte in (b"\1", right[-100:-99]):
                    os.pwrite(file.fileno(), byte, len(right) - 100)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(20):
            with contextlib.suppress(ArchiveError):
                copy = tmp_path / "store" / copy_verified(archive, tmp_path / "store")
                assert hashlib.sha256(copy.read_bytes()).hexdigest() == archive.sha256
    finally:
        going.set()
        changer.join(10)
    assert {file.name for file in (tmp_path / "store").iterdir()} <= {"net-2.mar"}
