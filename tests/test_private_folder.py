"""The private folder: ours alone, gone at the end, swept when its owner was killed."""

from __future__ import annotations

import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from serve.private_folder import PrivateFolder

OWNER = """
import os, pathlib, signal, sys
from serve.private_folder import PrivateFolder
print(PrivateFolder(pathlib.Path(sys.argv[1])).path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_is_for_its_owner_only_and_gone_at_the_end(tmp_path: Path) -> None:
    """Mode 700; closing removes it with its files, twice does no harm."""
    folder = PrivateFolder(tmp_path)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    (folder.path / "file").write_text("something")
    folder.close()
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_the_leftover_of_a_killed_owner_is_swept_and_others_stay(tmp_path: Path) -> None:
    """A folder that is in use, and one that is not ours, are left alone."""
    done = subprocess.run(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False
    )
    leftover = Path(done.stdout.strip())
    foreign = tmp_path / "attnserve-of-somebody"
    foreign.mkdir()
    assert leftover.is_dir()

    in_use = PrivateFolder(tmp_path)
    assert not leftover.exists()
    newest = PrivateFolder(tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted([foreign, in_use.path, newest.path])
    in_use.close()
    newest.close()


def test_a_unix_socket_fits_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the temporary directory's path is too long for the workers' sockets, /tmp is used."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = PrivateFolder()
    try:
        assert len(str(folder.path / "tmp" / ".ts.sock.65535")) <= 107
    finally:
        folder.close()
