"""The audit: every act a line, none forged, nothing held up by the disk."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from serve import audit as audit_module
from serve.audit import Act, AuditFile, AuditLog
from serve.core.errors import ConflictError, UnauthenticatedError
from serve.metrics import Metrics

LOAD = Act(name="load", target="digits_se", principal="ci", protocol="grpc")


class Desk:
    """An audit log over something that takes lines, with a clock that stands still until it is set."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.registry = CollectorRegistry()
        self.now = 0.0
        self.audit = AuditLog(write, Metrics(self.registry), lambda: self.now)

    @property
    def failures(self) -> float | None:
        """The metric."""
        return self.registry.get_sample_value("attnserve_audit_write_failures_total")


@pytest.fixture
def lines() -> list[bytes]:
    """What was written."""
    return []


@pytest.fixture
def desk(lines: list[bytes]) -> Iterator[Desk]:
    """Writes to `lines`."""
    made = Desk(lines.append)
    yield made
    made.audit.close()


def read(desk: Desk, lines: list[bytes]) -> list[dict[str, Any]]:
    """The lines, once all are written."""
    desk.audit.close()
    return [json.loads(line) for line in lines]


def test_a_line_says_who_did_what_when_and_how_it_ended(desk: Desk, lines: list[bytes]) -> None:
    """What is empty is left out; the time is UTC."""
    before = datetime.now(UTC)
    desk.audit.record(
        Act(name="promote", target="a-b", principal="ci", protocol="http", reason="it is better")
    )
    (line,) = read(desk, lines)
    when = datetime.fromisoformat(line.pop("time"))
    assert -0.01 <= (when - before).total_seconds() < 60
    assert line == {
        "act": "promote",
        "target": "a-b",
        "principal": "ci",
        "protocol": "http",
        "reason": "it is better",
        "outcome": "ok",
    }


def test_how_long_it_took_and_why_it_failed(desk: Desk, lines: list[bytes]) -> None:
    """The errors go on their way; what is no public error says nothing but `internal`."""
    with desk.audit.recording(LOAD):
        desk.now += 1.5
    with pytest.raises(ConflictError), desk.audit.recording(LOAD):
        raise ConflictError("not now")
    with pytest.raises(ZeroDivisionError), desk.audit.recording(LOAD):
        raise ZeroDivisionError("/a/secret/path")
    with pytest.raises(asyncio.CancelledError), desk.audit.recording(LOAD):
        raise asyncio.CancelledError
    ends = [(line["outcome"], line.get("error"), line["duration_s"]) for line in read(desk, lines)]
    assert ends == [
        ("ok", None, 1.5),
        ("conflict", "not now", 0.0),
        ("internal", None, 0.0),
        ("cancelled", None, 0.0),
    ]


def test_the_log_has_it_too(desk: Desk) -> None:
    """With the same words, so that it is not lost where the file is."""
    with capture_logs() as told:
        desk.audit.record(LOAD, outcome="failed", error="no such file")
    (line,) = told
    assert (line["event"], line["act"], line["target"], line["principal"]) == (
        "audit",
        "load",
        "digits_se",
        "ci",
    )
    assert (line["outcome"], line["error"]) == ("failed", "no such file")


@given(target=st.text(), reason=st.text(max_size=1000), parameter=st.text())
def test_no_text_makes_another_line_or_moves_the_cursor(target: str, reason: str, parameter: str) -> None:
    """Newlines and escape sequences of callers arrive as text, cut short; every act is one line."""
    lines: list[bytes] = []
    desk = Desk(lines.append)
    act = Act(name="load", target=target, principal="ci", reason=reason, parameters=(parameter,))
    with capture_logs() as told:
        desk.audit.record(act)
    (line,) = read(desk, lines)
    assert lines[0].count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in lines[0].rstrip(b"\n"))
    assert (line["act"], line["principal"], line["outcome"]) == ("load", "ci", "ok")
    shown = [*told[0].get("parameters", ()), told[0].get("reason", ""), told[0].get("target", "")]
    assert all(text.isprintable() and len(text) < 10 * audit_module.LONGEST_TEXT + 10 for text in shown)


def test_a_forged_line_is_only_a_strange_name(desk: Desk, lines: list[bytes]) -> None:
    """The classic: a name that ends the line and begins one of its own."""
    desk.audit.record(Act(name="load", target='x"}\n{"act": "unload", "principal": "boss"}', principal="ci"))
    (line,) = read(desk, lines)
    assert (line["act"], line["principal"]) == ("load", "ci")
    assert line["target"] == 'x"}\\n{"act": "unload", "principal": "boss"}'


def test_a_flood_of_denials_is_summed_up(desk: Desk, lines: list[bytes]) -> None:
    """A hundred lines, then one a second, which says how many were left out; acts are never left out."""
    for _ in range(1000):
        desk.audit.denied(LOAD, UnauthenticatedError("who are you?"))
    desk.audit.record(LOAD)
    desk.now += 1.0
    desk.audit.denied(LOAD, UnauthenticatedError("who are you?"))
    written = read(desk, lines)
    assert [line["outcome"] for line in written] == ["unauthenticated"] * 100 + ["ok", "unauthenticated"]
    assert [line.get("left_out") for line in written] == [None] * 101 + [900]


def test_a_full_disk_fails_nothing_and_is_counted() -> None:
    """Each lost line adds one to the metric and is told in the log; later ones are written again."""
    taken: list[bytes] = []
    full = threading.Event()

    def write(line: bytes) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken.append(line)

    desk = Desk(write)
    assert desk.failures == 0
    full.set()
    with capture_logs() as told:
        with desk.audit.recording(LOAD):
            pass
        desk.audit.close()
    assert desk.failures == 1
    assert {
        "event": "audit line not written",
        "error": "No space left on device",
        "log_level": "error",
    } in told
    assert taken == []


def test_a_disk_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acts go on; a bounded number of lines waits, and those beyond it are counted as lost."""
    monkeypatch.setattr(audit_module, "MOST_WAITING", 10)
    monkeypatch.setattr(audit_module, "CLOSE_TIMEOUT_S", 0.05)
    hangs = threading.Event()
    taken: list[bytes] = []

    def write(line: bytes) -> None:
        hangs.wait(60)
        taken.append(line)

    desk = Desk(write)
    for _ in range(50):
        desk.audit.record(LOAD)
    desk.audit.close()  # gives up after a moment
    assert desk.failures is not None
    assert 39 <= desk.failures <= 40  # one may be in the writer's hands
    hangs.set()
    monkeypatch.setattr(audit_module, "CLOSE_TIMEOUT_S", 10.0)
    desk.audit.close()
    assert len(taken) + desk.failures == 50


def test_the_file_is_the_owners_and_only_grows(tmp_path: Path) -> None:
    """Mode 600 whatever the umask, also where it was wider before; the folder is made when it is missing."""
    path = tmp_path / "new" / "audit.jsonl"
    file = AuditFile(path)
    file.append(b"one\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    file.append(b"two\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_torn_line_stays_alone(tmp_path: Path) -> None:
    """What a full disk or a crash cut off does not swallow the next line."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"act": "lo')
    AuditFile(path).append(b"next\n")
    assert path.read_bytes() == b'{"act": "lo\nnext\n'


def test_a_file_that_was_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    """As log rotation does it."""
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    file.append(b"one\n")
    path.rename(tmp_path / "audit.jsonl.1")
    file.append(b"two\n")
    assert path.read_bytes() == b"two\n"


def test_neither_links_nor_pipes_are_written_to(tmp_path: Path) -> None:
    """Who plants one can neither have another file written nor hold the writer up."""
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "link").symlink_to(other)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "folder"):
        if name == "folder":
            (tmp_path / name).mkdir()
        with pytest.raises(OSError, match=r"Too many levels|it is not a file|Is a directory"):
            AuditFile(tmp_path / name).append(b"line\n")
    assert other.read_text() == "mine"


def test_what_was_put_in_force_anew_and_what_was_not(desk: Desk, lines: list[bytes]) -> None:
    """Tokens and certificates that change while the gateway runs, by nobody's call."""
    desk.audit.reloaded("tokens", "")
    desk.audit.reloaded("certificates", "tls.key: is not the key of tls.certificate")
    shown = [(line["target"], line["principal"], line["outcome"]) for line in read(desk, lines)]
    assert shown == [("tokens", "gateway", "ok"), ("certificates", "gateway", "failed")]
