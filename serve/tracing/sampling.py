"""Which requests are traced."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


class AsItsCause(Sampler):
    """Traces what links to a traced request, and asks another sampler about the rest.

    A mirrored call has a trace of its own, which is worth nothing without that of the request.
    """

    def __init__(self, otherwise: Sampler) -> None:
        """Ask `otherwise` where nothing that is linked to is traced."""
        self._otherwise = otherwise

    def should_sample(  # noqa: PLR0913, PLR0917  the library's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `Sampler`."""
        if any(link.context.trace_flags.sampled for link in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._otherwise.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """See `Sampler`."""
        return f"AsItsCause{{{self._otherwise.get_description()}}}"


def sampler_of(ratio: float) -> Sampler:
    """What a caller has decided is followed; of the other requests that share is traced, 0 to 1."""
    return AsItsCause(ParentBased(TraceIdRatioBased(ratio)))
