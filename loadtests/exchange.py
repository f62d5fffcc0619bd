"""One request of a load test and what became of it, as its caller saw it."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, Final

NO_ANSWER: Final = "no_answer"  # a request without a reply; the gateway has no such outcome
GRPC: Final = "gRPC"
REST_BINARY: Final = "REST binary"
REST_JSON: Final = "REST JSON"
TRITON_GRPC: Final = "tritonclient gRPC"
TRITON_HTTP: Final = "tritonclient HTTP"
# Way -> the gateway's own label `protocol`.
PROTOCOLS: Final = {
    GRPC: "grpc",
    REST_BINARY: "http",
    REST_JSON: "http",
    TRITON_GRPC: "grpc",
    TRITON_HTTP: "http",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and its reply.

    Attributes:
        due: When it was to be sent, as Unix time in seconds. In a closed loop nobody plans that, and it is
            `sent`.
        sent: When it was sent.
        ended: When its reply had come.
        way: How it travelled, one of `PROTOCOLS`.
        kind: What was asked, for people: "one image", "corrupt image".
        model: The name that was asked: of a model, an alias or an experiment.
        served: The model that answered; "" where none did.
        arm: Of the experiment; "" without one.
        outcome: The gateway's label of its metrics, or `NO_ANSWER`.
        fault: What is wrong with the reply; "" when nothing is. A refusal that was expected is no fault.
        images: In the request.
        judged: Images that were answered and have a label.
        right: Of those, how many got it.
    """

    due: float
    sent: float
    ended: float
    way: str
    kind: str
    model: str
    served: str = ""
    arm: str = ""
    outcome: str = NO_ANSWER
    fault: str = ""
    images: int = 1
    judged: int = 0
    right: int = 0

    @property
    def protocol(self) -> str:
        """The gateway's label of its metrics: "grpc" or "http"."""
        return PROTOCOLS[self.way]

    def as_row(self) -> list[Any]:
        """For a file, or a message to Locust's master."""
        return list(astuple(self))

    @classmethod
    def of_row(cls, row: list[Any]) -> Exchange:
        """From `as_row`."""
        return cls(**dict(zip(cls.__slots__, row, strict=True)))
