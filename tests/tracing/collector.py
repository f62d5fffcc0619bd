"""A collector that keeps what it is sent: OTLP over gRPC, as OpenTelemetry's own collector takes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as pb

Value = str | bool | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span, ids in hexadecimal as W3C writes them; `parent` is "" for none, `links` are span ids."""

    name: str
    trace: str
    id: str
    parent: str
    kind: str
    start_ns: int
    end_ns: int
    facts: Mapping[str, Value]
    links: tuple[tuple[str, str], ...]
    failed: bool
    service: Mapping[str, Value]

    def holds(self, other: Span) -> bool:
        """Whether the other one is within this one, in time."""
        return self.start_ns <= other.start_ns <= other.end_ns <= self.end_ns


@dataclass
class Collector(service_grpc.TraceServiceServicer):
    """What was sent.

    Attributes:
        endpoint: As the setting `tracing.endpoint` names it.
    """

    endpoint: str = ""
    spans: list[Span] = field(default_factory=list)

    def Export(  # noqa: N802  the protocol's name
        self, request: service_pb.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> service_pb.ExportTraceServiceResponse:
        """Keep it."""
        del context
        for resource in request.resource_spans:
            told = _facts(resource.resource.attributes)
            self.spans.extend(_span(one, told) for scope in resource.scope_spans for one in scope.spans)
        return service_pb.ExportTraceServiceResponse()

    def trace(self, trace_id: str) -> dict[str, Span]:
        """The spans of one trace by their names, each of which there is once."""
        spans = [span for span in self.spans if span.trace == trace_id]
        assert len({span.name for span in spans}) == len(spans), spans
        return {span.name: span for span in spans}

    def named(self, name: str) -> list[Span]:
        """Those of that name, in the order of their beginning."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_ns)


@contextmanager
def collecting(endpoint: str = "http://127.0.0.1:0") -> Iterator[Collector]:
    """Collect while the context lasts, on a free port unless told which."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    service_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call] # generated
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port(urlsplit(endpoint).netloc)}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()


def _span(span: pb.Span, service: Mapping[str, Value]) -> Span:
    return Span(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=pb.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        facts=_facts(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        failed=span.status.code == pb.Status.STATUS_CODE_ERROR,
        service=service,
    )


def _facts(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}
