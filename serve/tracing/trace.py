"""Traces as OpenTelemetry's spans; implements `serve.core.trace`.

    SERVER  of the door                 a request, until its answer is out
      queue                             until its last image has left for an engine
      CLIENT  attempt                   one engine's work on a batch
        decode, inference, encode       what the worker says of its own time

A batch carries several requests, a span has one parent. So an attempt stands in the trace of the first
request of the batch that is traced, with links to the others; and each of these links back to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_trace_id,
    set_span_in_context,
)

from serve.core.trace import Facts, Trace

Clock = Callable[[], float]

_OK = "ok"
_ERROR_TYPE = "error.type"
_OUTCOME = "attnserve.outcome"


class OtelTrace:
    """One request's span, and the making of those below it."""

    def __init__(self, tracer: Tracer, span: Span, clock: Clock, begun_ns: int) -> None:
        """Take over a span that has just begun.

        Args:
            tracer: Makes the spans below it.
            span: The request's own.
            clock: The one that deadlines are told by; it alone counts from here, so that no correction of
                the system's time gets between two spans.
            begun_ns: When the span began, in nanoseconds of Unix time.
        """
        self.context: SpanContext = span.get_span_context()
        self._tracer = tracer
        self._span = span
        self._clock = clock
        self._begun_ns = begun_ns
        self._begun = clock()

    @property
    def trace_id(self) -> str:
        """See `Trace`."""
        return format_trace_id(self.context.trace_id)

    @property
    def sampled(self) -> bool:
        """See `Trace`."""
        return self.context.trace_flags.sampled

    def tell(self, facts: Facts) -> None:
        """See `Trace`; what is told after the end is lost."""
        if self._span.is_recording():
            self._span.set_attributes(facts)

    def waited(self, begun: float, ended: float) -> None:
        """See `Trace`."""
        span = self._tracer.start_span("queue", self._below(self._span), start_time=self._at(begun))
        span.end(self._at(ended))

    def attempt(self, facts: Facts, sharers: Sequence[Trace]) -> OtelAttempt:
        """See `Trace`."""
        others = [other for other in sharers if isinstance(other, OtelTrace)]
        span = self._tracer.start_span(
            "attempt",
            self._below(self._span),
            SpanKind.CLIENT,
            facts,
            [Link(other.context) for other in others],
            self.now(),
        )
        for other in others:
            other.refer(span.get_span_context())
        return OtelAttempt(self, span)

    def refer(self, context: SpanContext) -> None:
        """Link to work that was done for this request in another one's trace."""
        if self._span.is_recording():
            self._span.add_link(context)

    def mirror(self, facts: Facts) -> OtelTrace:
        """See `Trace`: a trace of its own that links here, since it may well outlive this one."""
        begun_ns = self.now()
        links = [Link(self.context)]
        span = self._tracer.start_span(
            "mirror", Context(), attributes=facts, links=links, start_time=begun_ns
        )
        return OtelTrace(self._tracer, span, self._clock, begun_ns)

    def end(self, facts: Facts, error: str = "") -> None:
        """See `Trace`."""
        self.tell(facts)
        _finish(self._span, self.now(), error)

    def stages(self, above: Span, stages_s: Mapping[str, float], begun_ns: int) -> int:
        """Make the spans of a worker's stages; returns when the last one ended.

        A worker tells how long each took, not when, and its clock is not ours. They are put one behind the
        other so that the last one ends now: a batch waits for its worker before these, hardly behind them.
        """
        ended_ns = self.now()
        lengths_ns = {name: round(seconds * 1e9) for name, seconds in stages_s.items()}
        at = max(begun_ns, ended_ns - sum(lengths_ns.values()))
        for name, length_ns in lengths_ns.items():
            span = self._tracer.start_span(name, self._below(above), start_time=at)
            at = min(ended_ns, at + length_ns)
            span.end(at)
        return ended_ns

    def _below(self, span: Span) -> Context:
        return set_span_in_context(span, Context())

    def now(self) -> int:
        """In nanoseconds of Unix time."""
        return self._at(self._clock())

    def _at(self, moment: float) -> int:
        return self._begun_ns + round((moment - self._begun) * 1e9)


class OtelAttempt:
    """One engine's work on a batch; implements `Attempt`."""

    def __init__(self, trace: OtelTrace, span: Span) -> None:
        """Take over a span that has just begun in that trace."""
        self._trace = trace
        self._span = span
        self._begun_ns = trace.now()

    def end(self, outcome: str, stages_s: Mapping[str, float]) -> None:
        """See `Attempt`."""
        ended_ns = self._trace.stages(self._span, stages_s, self._begun_ns)
        self._span.set_attribute(_OUTCOME, outcome)
        _finish(self._span, ended_ns, "" if outcome == _OK else outcome)


def _finish(span: Span, ended_ns: int, error: str) -> None:
    if error:
        span.set_attribute(_ERROR_TYPE, error)
        span.set_status(Status(StatusCode.ERROR))
    span.end(ended_ns)
