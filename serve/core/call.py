"""Call: what the service knows about a request beside its content."""

from __future__ import annotations

from dataclasses import dataclass

from serve.core.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The circumstances of one request.

    Attributes:
        protocol: "grpc" or "http"; a label of the metrics.
        deadline: When the caller stops waiting, on the monotonic clock in seconds; None when it did not say.
        principal: The token's name, or "anonymous".
        unit: Whom an experiment assigns, as header or metadata say it; None where they do not. 1 to 512
            printable characters.
        trace: Where is taken down what happens to it; None: it is not traced.
    """

    protocol: str
    deadline: float | None = None
    principal: str = "anonymous"
    unit: str | None = None
    trace: Trace | None = None
