"""What is taken down of a request on its way where it is traced; who keeps it, and where, is told elsewhere.

A request that nobody traces has None in a trace's place, and to look at that is all that it costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

Fact = str | int | float | bool
Facts = Mapping[str, Fact]


class Attempt(Protocol):
    """One engine's work on a batch."""

    def end(self, outcome: str, stages_s: Mapping[str, float]) -> None:
        """Take down how it ended.

        Args:
            outcome: "ok", or why it failed.
            stages_s: Seconds that the worker says each of its stages took, in their order.
        """
        ...


class Trace(Protocol):
    """One request's trace. Moments are those of the clock that deadlines are told by, in seconds."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        ...

    @property
    def sampled(self) -> bool:
        """Whether anything is kept of it."""
        ...

    def tell(self, facts: Facts) -> None:
        """Take down what has turned out of the request."""
        ...

    def waited(self, begun: float, ended: float) -> None:
        """Take down that it waited in the gateway between those moments."""
        ...

    def attempt(self, facts: Facts, sharers: Sequence[Trace]) -> Attempt:
        """Begin one engine's work on a batch, of which `sharers` are the other requests' traces."""
        ...

    def mirror(self, facts: Facts) -> Trace:
        """Begin the trace of a call of which this one is the cause, and whose answer nobody waits for."""
        ...

    def end(self, facts: Facts, error: str = "") -> None:
        """Finish it; `error` is the kind of failure, where it is ours."""
        ...


class Tracer(Protocol):
    """Begins traces."""

    def begin(self, name: str, carrier: Mapping[str, Sequence[str]], facts: Facts) -> Trace:
        """Begin a request's trace, or go on with its caller's.

        Args:
            name: Of the operation.
            carrier: The headers traceparent and tracestate as they came, each with all of its values.
            facts: What is known of the request.
        """
        ...


def in_log(*traces: Trace | None) -> dict[str, str]:
    """What a line of the log tells of the first of these traces; nothing where there is none."""
    first = next((trace for trace in traces if trace is not None), None)
    return {} if first is None else {"trace_id": first.trace_id}


def exemplar(trace: Trace | None) -> dict[str, str] | None:
    """By what a histogram's bucket names a request that fell into it; None: not at all."""
    return None if trace is None else {"trace_id": trace.trace_id}
