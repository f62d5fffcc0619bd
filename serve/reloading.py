"""Files that may change while the gateway runs: looked at again and again, and at once when told to.

They are compared by content: a cluster changes mounted files by swapping a link, and a file may be written
twice within the resolution of its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from serve.metrics import Metrics

log = structlog.get_logger(__name__)

Found = tuple[bytes, ...] | str  # what the files hold, or why one cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files that are put in force together.

    Attributes:
        what: A label of the metric: "tokens" or "certificates".
        files: Read in this order.
        apply: Puts their contents in force, in a thread, and says for the log what is so now. When they are
            no good it leaves everything as it was and raises ValueError, with a message for the operator.
    """

    what: str
    files: tuple[Path, ...]
    apply: Callable[[Sequence[bytes]], str]


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found last, and why it is not in force; "" where it is."""

    found: Found
    reason: str = ""


class Reloader:
    """Keeps in force what some files say; the last good version stays while a newer one cannot be used."""

    def __init__(
        self,
        sources: Sequence[Source],
        interval_s: float,
        metrics: Metrics,
        on_reload: Callable[[str, str], None] = lambda _what, _reason: None,
    ) -> None:
        """Read nothing yet.

        Args:
            sources: What to keep in force.
            interval_s: How often they are looked at.
            metrics: Tell whether the last look was a success.
            on_reload: Hears what was replaced while the gateway runs, and why not ("" if it was).
        """
        self._sources = tuple(sources)
        self._interval_s = interval_s
        self._metrics = metrics
        self._on_reload = on_reload
        self._told = asyncio.Event()
        self._last: dict[str, _Look] = {}

    def load(self) -> None:
        """Put everything in force for the first time.

        Raises:
            ValueError: Something cannot be used; the message says what and why.
        """
        for source in self._sources:
            found = _read(source)
            _apply(source, found)
            self._last[source.what] = _Look(found)

    def now(self) -> None:
        """Read everything again at once, whether it has changed or not, and log what comes of it."""
        self._told.set()

    async def run(self) -> None:
        """Look for changes until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), self._interval_s)
            told = self._told.is_set()
            self._told.clear()
            for source in self._sources:
                await self._look(source, told=told)

    async def _look(self, source: Source, *, told: bool) -> None:
        # In a thread, since a disk may hang, and a long list of tokens takes a while to parse.
        found = await asyncio.to_thread(_read, source)
        last = self._last[source.what]
        news = told or found != last.found
        # What failed is tried again unchanged: a certificate that is not valid yet will be.
        if not (news or last.reason):
            return
        reason = ""
        try:
            now = await asyncio.to_thread(_apply, source, found)
        except ValueError as error:
            reason = str(error)
            if news or reason != last.reason:
                log.error("reload failed", what=source.what, reason=reason)  # noqa: TRY400  no bug
        else:
            log.info("reloaded", what=source.what, now=now)
        if news or reason != last.reason:
            self._on_reload(source.what, reason)
        self._metrics.config_reload_success.labels(source.what).set(not reason)
        self._last[source.what] = _Look(found, reason)


def _read(source: Source) -> Found:
    contents = []
    for path in source.files:
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            return f"{path}: cannot be read: {error.strerror}"
    return tuple(contents)


def _apply(source: Source, found: Found) -> str:
    if isinstance(found, str):
        raise ValueError(found)  # noqa: TRY004  the value that a file should have is missing
    return source.apply(found)
