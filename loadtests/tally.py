"""What a load test counted: requests by how they ended, images by whether the digit was right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import grpc

from serve.core.errors import Code
from serve.edge.status import STATUSES
from serve.metrics import OUTCOMES

# A reply's status -> the gateway's own label `outcome`. gRPC has one code for a request that is too large and
# for one that is shed; nothing here is too large. A request without a reply counts as NO_ANSWER, which the
# gateway never counts.
_OUTCOME_BY_CODE = {**OUTCOMES, Code.TOO_LARGE: OUTCOMES[Code.OVERLOADED]}
GRPC_OUTCOMES: Mapping[grpc.StatusCode, str] = {
    grpc.StatusCode.OK: "ok",
    **{status.grpc: _OUTCOME_BY_CODE[code] for code, status in STATUSES.items()},
}
HTTP_OUTCOMES: Mapping[int, str] = {
    200: "ok",
    **{status.http: OUTCOMES[code] for code, status in STATUSES.items()},
}
NO_ANSWER = "no_answer"


class Kind(NamedTuple):
    """How requests are told apart when they are counted; the labels of attnserve_requests_total."""

    model: str
    protocol: str
    outcome: str


Counts: TypeAlias = Counter[Kind]


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and what became of it; filled in when the reply has come."""

    model: str
    protocol: str
    outcome: str = NO_ANSWER
    right: int = 0
    judged: int = 0


@dataclass(slots=True)
class Tally:
    """Sums over all exchanges.

    Attributes:
        requests: By kind.
        right: Images that got their label.
        judged: Images that were answered and have a label.
    """

    requests: Counts = field(default_factory=Counter)
    right: int = 0
    judged: int = 0

    def add(self, exchange: Exchange) -> None:
        """Count one exchange."""
        self.requests[Kind(exchange.model, exchange.protocol, exchange.outcome)] += 1
        self.right += exchange.right
        self.judged += exchange.judged

    @property
    def accuracy(self) -> float:
        """Share of the judged images that got their label; 0 when there was none."""
        return self.right / self.judged if self.judged else 0.0

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        requests = [[*kind, count] for kind, count in sorted(self.requests.items())]
        return {"requests": requests, "right": self.right, "judged": self.judged}

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Tally:
        """From `as_json`."""
        requests = Counter({Kind(*kind): count for *kind, count in document["requests"]})
        return cls(requests=requests, right=document["right"], judged=document["judged"])


def differences(ours: Counts, theirs: Counts) -> list[str]:
    """A line for every kind of request that two parties counted differently."""
    return [
        f"{kind.model} {kind.protocol} {kind.outcome}: sent {ours[kind]}, the gateway counted {theirs[kind]}"
        for kind in sorted(ours.keys() | theirs.keys())
        if ours[kind] != theirs[kind]
    ]
