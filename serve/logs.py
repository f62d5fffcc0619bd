"""Structured logs on standard error: readable on a terminal, one JSON object a line everywhere else."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from typing import Literal, TextIO, cast

import structlog

Format = Literal["auto", "json", "console"]

# What a terminal obeys; lines and tabs are left alone.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class _Lossy:
    """A stream that loses what it cannot take: a full disk must not fail whoever has something to tell."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or lose it."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Bring out what is not lost."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure(level: str, style: Format) -> None:
    """Set up structlog for this process, and send the libraries' own warnings the same way.

    Args:
        level: debug, info, warning or error: the least severe that is written.
        style: auto means console on a terminal, json elsewhere.
    """
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        # A plain traceback: the default draws every local variable, request bytes among them, for seconds.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # JSON escapes what callers send; a terminal would obey it.
        _without_control if console else structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Lossy(sys.stderr))),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers = [handler]
    # What libraries tell below a warning is about themselves.
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))


def _without_control(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Show control characters as escapes."""
    return {key: _escaped(value) if isinstance(value, str) else value for key, value in event.items()}


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
