"""Traces without a gateway: their spans are read where they are made, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind

from serve.tracing.sampling import sampler_of
from serve.tracing.trace import OtelTrace

BEGUN_NS = 1_800_000_000_000_000_000


@dataclass
class Clock:
    """Seconds that a test moves."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A request's trace, and the spans that have ended."""

    def __init__(self, clock: Callable[[], float], ratio: float = 1.0) -> None:
        self._clock = clock
        self._ended = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler_of(ratio), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._ended))
        self._tracer = provider.get_tracer("test")
        self.trace = self.request()

    def request(self) -> OtelTrace:
        """A request that has just begun."""
        span = self._tracer.start_span("door", kind=SpanKind.SERVER, start_time=BEGUN_NS)
        return OtelTrace(self._tracer, span, self._clock, BEGUN_NS)

    def all(self) -> Sequence[ReadableSpan]:
        """Those that have ended."""
        return self._ended.get_finished_spans()

    def spans(self) -> Mapping[str, ReadableSpan]:
        """The same by their names; of several of one name the last."""
        return {span.name: span for span in self.all()}


def links(span: ReadableSpan) -> Sequence[SpanContext]:
    """To what it links."""
    return [link.context for link in span.links]
