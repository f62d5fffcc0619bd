"""The audit: a line for every administrative act, and for every attempt that was refused before it began.

Each goes to the log and to an append-only file of JSON lines::

    {"time": "2026-01-31T12:00:00.000Z", "act": "unload", "target": "digits_se", "principal": "ci",
     "protocol": "grpc", "outcome": "ok", "duration_s": 0.021}

What is empty is left out, as is the target of a gRPC call that is denied or cannot be read: it stands in the
message, which nobody parses for a caller without a token. `outcome` is ok, or what went wrong (a
`serve.core.errors.Code`, "cancelled" or "failed") with the public message under `error`. Nothing of an act
waits for the file: lines are handed to a thread, and one that cannot be written is counted and told in the
log, where the act itself stands as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import structlog

from serve.core.errors import Code, ServeError
from serve.metrics import Metrics

log = structlog.get_logger(__name__)

OK, FAILED, CANCELLED = "ok", "failed", "cancelled"
MODE = 0o600
# Names come from callers: whatever they send, a line stays short.
LONGEST_TEXT = 500
MOST_WAITING = 1000
CLOSE_TIMEOUT_S = 0.5
# Anybody can be denied, as often as they like: these many lines at once and then so many a second.
DENIALS, DENIALS_PER_S = 100.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What somebody does, or tries to do.

    Attributes:
        name: load, unload, reload, start, stop, ...
        target: To what: a model's name, "tokens", "gateway", ...
        principal: Whose token it was; "gateway" for what the process does by itself.
        protocol: grpc or http; empty for what came by neither.
        peer: The caller's address, where a denied one has no name.
        reason: What was given for it.
        parameters: Names of what was sent along; values may be confidential.
    """

    name: str
    target: str = ""
    principal: str = "gateway"
    protocol: str = ""
    peer: str = ""
    reason: str = ""
    parameters: tuple[str, ...] = ()


class AuditLog:
    """Takes down acts; `close` waits a moment for what is not yet written."""

    def __init__(
        self, write: Callable[[bytes], None], metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing runs before the first act.

        Args:
            write: Gets each line with its end, in a thread; OSError when it cannot be kept.
            metrics: Count the lines that were lost.
            clock: Seconds that never go back.
        """
        self._write = write
        self._failures = metrics.audit_write_failures
        self._clock = clock
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._writer: threading.Thread | None = None
        self._denials = DENIALS
        self._denied_at = clock()
        self._left_out = 0

    @contextmanager
    def recording(self, act: Act) -> Iterator[None]:
        """Take down how long what is done inside takes, and how it ends; errors go on their way."""
        started = self._clock()
        outcome, message = OK, ""
        try:
            yield
        except ServeError as error:
            outcome, message = error.code.value, error.message
            raise
        except asyncio.CancelledError:
            outcome = CANCELLED
            raise
        except BaseException:
            outcome = Code.INTERNAL.value
            raise
        finally:
            self.record(act, outcome=outcome, error=message, duration_s=self._clock() - started)

    def record(
        self, act: Act, *, outcome: str = OK, error: str = "", duration_s: float | None = None
    ) -> None:
        """Take down an act that is over; never raises, never waits.

        Args:
            act: What it was.
            outcome: ok, or how it failed.
            error: The public message of the failure.
            duration_s: How long it took, where that was measured.
        """
        more = {"outcome": outcome, "error": error, "duration_s": duration_s and round(duration_s, 6)}
        self._take_down(act, more)

    def denied(self, act: Act, error: ServeError) -> None:
        """Take down an attempt that was refused for want of a token or a role, or that could not be read.

        A flood of them gets a line a second; the next line says how many were left out.
        """
        now = self._clock()
        self._denials = min(DENIALS, self._denials + (now - self._denied_at) * DENIALS_PER_S)
        self._denied_at = now
        if self._denials < 1:
            self._left_out += 1
            return
        self._denials -= 1
        left_out, self._left_out = self._left_out, 0
        more = {"outcome": error.code.value, "error": error.message, "left_out": left_out or None}
        self._take_down(act, more)

    def reloaded(self, what: str, problem: str) -> None:
        """Take down that something was put in force anew, or why it was not ("" if it was)."""
        self.record(Act(name="reload", target=what), outcome=FAILED if problem else OK, error=problem)

    def close(self) -> None:
        """Write what is left, for a moment at most."""
        if self._writer is not None:
            self._lines.put(None)
            self._writer.join(CLOSE_TIMEOUT_S)

    def _take_down(self, act: Act, more: Mapping[str, object]) -> None:
        given = asdict(act)
        fields = {"act": given.pop("name"), **given, **more}
        shown = {key: _shown(value) for key, value in fields.items() if value not in ("", (), None)}
        log.info("audit", **shown)
        when = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": when, **shown}) + "\n"
        if self._lines.qsize() >= MOST_WAITING:
            self._fail(f"{MOST_WAITING} lines wait already")
            return
        self._lines.put(line.encode())
        if self._writer is None:
            self._writer = threading.Thread(target=self._work, name="audit", daemon=True)
            self._writer.start()

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line)
            except OSError as error:
                self._fail(error.strerror or type(error).__name__)

    def _fail(self, why: str) -> None:
        self._failures.inc()
        log.error("audit line not written", error=why)


@dataclass(frozen=True, slots=True)
class AuditFile:
    """An append-only file that only its owner can read."""

    path: Path

    def append(self, line: bytes) -> None:
        """Add a line and wait until it is on the disk.

        It is opened anew each time, so that a file that was moved away is followed by a new one.

        Raises:
            OSError: It is a symbolic link or no file, cannot be opened, or does not take the whole line.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Not blocking: a pipe that nobody reads must not hold us up.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(self.path, flags, MODE)
        try:
            _append(file, line)
        finally:
            os.close(file)


def _append(file: int, line: bytes) -> None:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "it is not a file")
    if stat.S_IMODE(status.st_mode) & ~MODE:
        os.fchmod(file, MODE)
    # After a full disk or a crash the last line may be torn; what follows must not be drawn into it.
    torn = status.st_size > 0 and os.pread(file, 1, status.st_size - 1) != b"\n"
    whole = b"\n" * torn + line
    if os.write(file, whole) < len(whole):
        raise OSError(0, "there is no room for the whole line")
    os.fsync(file)


def _shown(value: object) -> object:
    """Text in one short line, without what a terminal would obey; everything else as it is."""
    if isinstance(value, str):
        text = value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}..."
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    if isinstance(value, tuple):
        return [_shown(one) for one in value[:20]]
    return value
