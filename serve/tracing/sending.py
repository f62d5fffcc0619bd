"""Spans on their way to the collector: in a thread of their own, few at a time, and lost where it has no ear.

The library would log each batch that it cannot send, and each retry; here it is said once, until it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence

import structlog
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = structlog.get_logger(__name__)

_LIBRARY = "opentelemetry"
_EXPORTER = f"{_LIBRARY}.exporter"
# Of what else the library has to say; some of it shows what callers sent.
_MOST_SAID = 20


class Sending(SpanExporter):
    """Hands spans to the collector, and says when that begins to fail and when it works again.

    Attributes:
        failing: Whether the latest ones were lost.
    """

    def __init__(self, endpoint: str) -> None:
        """Connect when there is something to send.

        Args:
            endpoint: http://HOST:PORT, or https. What else there is to say, such as headers or an authority's
                certificate, is in the library's own variables, OTEL_EXPORTER_OTLP_*.
        """
        self.failing = False
        self._closed = False
        self._endpoint = endpoint
        self._words = _LibraryWords()
        self._exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http:"))
        library = logging.getLogger(_LIBRARY)
        library.addHandler(self._words)
        library.propagate = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self.failing:
            log.warning("traces are lost", endpoint=self._endpoint, why=self._words.latest)
        elif self.failing and not failed:
            log.info("traces are sent again", endpoint=self._endpoint)
        self.failing = failed
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`; what is being sent is given up. Again is no error."""
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()

    def fall_silent(self) -> None:
        """Leave what the library says to itself again."""
        library = logging.getLogger(_LIBRARY)
        library.removeHandler(self._words)
        library.propagate = True


class _LibraryWords(logging.Handler):
    """Keeps what the exporter says, for us to say, and passes on everything else, each thing once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.latest = ""
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_EXPORTER):
            self.latest = record.getMessage()
        elif record.msg not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(record.msg)
            log.warning("tracing", said=record.getMessage())


async def finish(last: Callable[[], None], timeout_s: float) -> bool:
    """Call something that blocks in a thread that nobody has to wait for; whether it ended in time."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        last()
        with contextlib.suppress(RuntimeError):  # nobody waits any more: the loop is closed
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=work, name="last-traces", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await ended.wait()
    return ended.is_set()
