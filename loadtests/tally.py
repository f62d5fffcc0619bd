"""What a load test counted: requests by how they ended, images by whether they got their label.

The gateway counts each request once, under the model that answered it: one to an experiment under its arm's
model. What other arms see beside it, in shadow and paired mode, only attnserve_experiment_requests_total
counts, whose series end with the experiment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

import grpc

from loadtests.exchange import NO_ANSWER, Exchange
from serve.core.errors import Code
from serve.edge.status import STATUSES
from serve.metrics import OUTCOMES

HTTP_OUTCOMES: Final[Mapping[int, str]] = {
    200: "ok",
    **{status.http: OUTCOMES[code] for code, status in STATUSES.items()},
}
_GRPC_OUTCOMES: Final[Mapping[grpc.StatusCode, str]] = {
    grpc.StatusCode.OK: "ok",
    # RESOURCE_EXHAUSTED stands for both of these; see `grpc_outcome`.
    **{status.grpc: OUTCOMES[code] for code, status in STATUSES.items() if code is not Code.TOO_LARGE},
}
# What the gateway says of a request that is too large; none of it is said when one is shed.
_TOO_LARGE: Final = ("are allowed", "has more than", "may send at most", "too much memory")
# What gRPC's library says where it has ended a call itself, on either side. The gateway may have been at work
# on it already or never have heard of it, and counts it, by what it was to the gateway, or not at all.
_LIBRARY: Final[Mapping[grpc.StatusCode, tuple[str, ...]]] = {
    grpc.StatusCode.CANCELLED: ("",),  # who has left is told nothing by the gateway
    grpc.StatusCode.DEADLINE_EXCEEDED: ("Deadline Exceeded",),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("larger than max",),
    grpc.StatusCode.UNAVAILABLE: ("failed to connect", "Socket closed", "onnection reset", "GOAWAY"),
}


def grpc_outcome(code: grpc.StatusCode, message: str) -> str:
    """The gateway's own label `outcome` of a call that ended so; NO_ANSWER where not the gateway ended it.

    gRPC has one code for a request that is too large and for one that is shed, and its library ends calls
    with the same codes as the gateway, so the message decides.
    """
    if any(words in message for words in _LIBRARY.get(code, ())):
        return NO_ANSWER
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and any(words in message for words in _TOO_LARGE):
        return OUTCOMES[Code.TOO_LARGE]
    return _GRPC_OUTCOMES.get(code, NO_ANSWER)


def http_outcome(status: int) -> str:
    """Likewise, of a REST reply's status; 0 where none came."""
    return HTTP_OUTCOMES.get(status, NO_ANSWER)


class Kind(NamedTuple):
    """How requests are told apart when they are counted; the labels of attnserve_requests_total."""

    model: str
    protocol: str
    outcome: str


Counts: TypeAlias = Counter[Kind]


@dataclass(slots=True)
class Tally:
    """Sums over all exchanges.

    Attributes:
        requests: By kind.
        right: Images that got their label.
        judged: Images that were answered and have a label.
        receipts: Outcomes that were told to experiments, by what became of them.
    """

    requests: Counts = field(default_factory=Counter)
    right: int = 0
    judged: int = 0
    receipts: Counter[str] = field(default_factory=Counter)

    def add(self, exchange: Exchange) -> None:
        """Count one exchange: under the model that answered, or, where none did, the one that was asked."""
        model = exchange.served or exchange.model
        self.requests[Kind(model, exchange.protocol, exchange.outcome)] += 1
        self.right += exchange.right
        self.judged += exchange.judged

    def merge(self, other: Tally) -> None:
        """Add another one's sums, such as those of another process."""
        self.requests.update(other.requests)
        self.receipts.update(other.receipts)
        self.right += other.right
        self.judged += other.judged

    @property
    def accuracy(self) -> float:
        """Share of the judged images that got their label; 0 when there was none."""
        return self.right / self.judged if self.judged else 0.0

    def as_json(self) -> dict[str, Any]:
        """For a file, or a message to Locust's master."""
        return {
            "requests": [[*kind, count] for kind, count in sorted(self.requests.items())],
            "right": self.right,
            "judged": self.judged,
            "receipts": dict(sorted(self.receipts.items())),
        }

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Tally:
        """From `as_json`."""
        return cls(
            requests=Counter({Kind(*kind): count for *kind, count in document["requests"]}),
            right=document["right"],
            judged=document["judged"],
            receipts=Counter(document["receipts"]),
        )


def differences(ours: Counts, theirs: Counts) -> list[str]:
    """A line wherever the gateway's counters cannot be right if ours are.

    What the gateway has answered it must have counted, under the same kind and to the request. Of requests
    whose end we did not see (we hung up, the connection broke, gRPC's own deadline passed) it may have
    counted each once at most, under any outcome: `cancelled`, or `ok` where the answer was under way; those
    that never came before it, it does not count. So a run in which every request got its reply is compared
    exactly.

    Args:
        ours: With `NO_ANSWER` for requests whose end we did not see.
        theirs: attnserve_requests_total.
    """
    told = Counter({kind: count for kind, count in ours.items() if kind.outcome != NO_ANSWER})
    surplus = Counter(theirs)
    surplus.subtract(told)
    unseen, more = _by_protocol(ours - told), _by_protocol(+surplus)
    return [
        f"{kind.model} {kind.protocol} {kind.outcome}: sent {told[kind]}, the gateway counted {theirs[kind]}"
        f"{f', and {unseen[kind.protocol]} ended unseen' if unseen[kind.protocol] else ''}"
        for kind, count in sorted(surplus.items())
        if count < 0 or (count > 0 and more[kind.protocol] > unseen[kind.protocol])
    ]


def _by_protocol(counts: Counts) -> Counter[str]:
    found: Counter[str] = Counter()
    for kind, count in counts.items():
        found[kind.protocol] += count
    return found
