"""The tracer: begins the spans of requests, and sees to it that they get to the collector."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serve.config import ConfigError
from serve.core.trace import Facts
from serve.sections import TracingConfig
from serve.tracing.sampling import sampler_of
from serve.tracing.sending import Sending, finish
from serve.tracing.trace import Clock, OtelTrace

# Some of it is what callers sent.
_MOST_CHARACTERS = 256


class OtelTracing:
    """Traces of one gateway process; implements `serve.tracing.Tracing`."""

    def __init__(self, given: TracingConfig, version: str, clock: Clock = time.monotonic) -> None:
        """Nothing is sent before `start`.

        Args:
            given: Where traces go, and of how many requests.
            version: Of this server.
            clock: The one that deadlines are told by, in seconds.
        """
        self._endpoint = given.endpoint
        self._clock = clock
        self._sending: Sending | None = None
        self._provider = TracerProvider(
            sampler=sampler_of(given.sample_ratio),
            resource=_resource(version),
            shutdown_on_exit=False,  # `close` does, in time
            span_limits=SpanLimits(max_span_attribute_length=_MOST_CHARACTERS),
        )
        self._tracer = self._provider.get_tracer("attnserve", version)
        self._context = TraceContextTextMapPropagator()

    def start(self) -> None:
        """See `Tracing`."""
        try:
            self._sending = Sending(self._endpoint)
            self._provider.add_span_processor(BatchSpanProcessor(self._sending))
        except Exception as error:  # noqa: BLE001  of many kinds, where a variable of the library makes no sense
            raise ConfigError(f"tracing: a variable OTEL_* cannot be used: {error}") from None

    async def close(self, timeout_s: float) -> None:
        """See `Tracing`."""
        if self._sending is None:
            return
        if self._sending.failing:  # as it has been, so the last ones would be lost too
            self._sending.shutdown()
        if not await finish(self._provider.shutdown, timeout_s):
            self._sending.shutdown()
        self._sending.fall_silent()

    def begin(self, name: str, carrier: Mapping[str, Sequence[str]], facts: Facts) -> OtelTrace:
        """See `Tracer`; a caller's context that breaks the rules of W3C is as good as none."""
        begun_ns = time.time_ns()
        span = self._tracer.start_span(
            name, self._callers(carrier), SpanKind.SERVER, facts, start_time=begun_ns
        )
        return OtelTrace(self._tracer, span, self._clock, begun_ns)

    def _callers(self, carrier: Mapping[str, Sequence[str]]) -> Context:
        # The library would take the first of several: whoever wrote the others meant another trace.
        if len(carrier["traceparent"]) != 1:
            return Context()
        return self._context.extract(carrier, Context())


def _resource(version: str) -> Resource:
    own = Resource.create({"service.name": "attnserve", "service.version": version})
    return own.merge(
        OTELResourceDetector().detect()
    )  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES prevail
