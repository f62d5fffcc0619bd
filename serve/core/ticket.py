"""One request on its way through a lane, and which rows of a batch are its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from serve.core.messages import NOTHING_SPENT, BatchReply, Items, Prediction, Timings
from serve.core.query import Query
from serve.core.trace import Trace


@dataclass(eq=False, slots=True)
class Ticket:
    """One request on its way through a lane.

    Attributes:
        principal: Whose it is; each gets its fair share of a lane.
        arrived: Clock value, in seconds.
        deadline: Clock value, in seconds, at which the caller stops waiting.
        end: Called with None when all rows are there, or with the error that the caller gets; again is
            no error, the first call counts.
        taken: Images released so far.
        queue_s: Seconds from arrival to the latest release.
        pieces: The rows that have come back, by the index of their first image.
    """

    query: Query
    arrived: float
    deadline: float
    end: Callable[[Exception | None], None]
    principal: str = "anonymous"
    taken: int = 0
    queue_s: float = 0.0
    timings: Timings = NOTHING_SPENT
    pieces: dict[int, BatchReply] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Images not yet released."""
        return self.query.items.count - self.taken

    def take(self, most: int, now: float) -> tuple[int, Items]:
        """Release up to `most` images; returns where they start, and them."""
        start, stop = self.taken, min(self.query.items.count, self.taken + most)
        self.taken = stop
        self.queue_s = now - self.arrived
        return start, self.query.items.cut(start, stop)

    def fill(self, start: int, piece: BatchReply) -> None:
        """Keep the rows of images start.. and finish when they are all there."""
        self.pieces[start] = piece
        self.timings = self.timings.plus(piece.timings)
        if sum(part.count for part in self.pieces.values()) == self.query.items.count:
            self.end(None)

    def close(self, clock: Callable[[], float]) -> None:
        """Tell its trace, if it has one, how long it waited: until now, where some of it still does."""
        if self.query.trace is not None:
            self.query.trace.waited(self.arrived, clock() if self.waiting else self.arrived + self.queue_s)

    def prediction(self) -> Prediction:
        """All rows, in the request's order."""
        pieces = sorted(self.pieces.items())
        return Prediction(
            status=tuple(code for _, piece in pieces for code in piece.status),
            messages={start + i: text for start, piece in pieces for i, text in piece.messages.items()},
            outputs={
                name: np.concatenate([piece.outputs[name] for _, piece in pieces])
                for name in self.query.wants
            },
            queue_s=self.queue_s,
            timings=self.timings,
            troubled=any(piece.troubled for piece in self.pieces.values()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which rows of a batch belong to whom: rows at..at+count-1 are the ticket's images start.. ."""

    ticket: Ticket
    start: int
    at: int
    count: int

    def deliver(self, reply: BatchReply) -> None:
        """Give the ticket its own rows of the batch's reply."""
        if self.count == reply.count:
            self.ticket.fill(self.start, reply)
            return
        own = range(self.at, self.at + self.count)
        rows = slice(own.start, own.stop)
        piece = replace(
            reply,
            status=reply.status[rows],
            messages={i - self.at: text for i, text in reply.messages.items() if i in own},
            outputs={name: values[rows] for name, values in reply.outputs.items()},
        )
        self.ticket.fill(self.start, piece)


def traces_of(shares: Iterable[Share]) -> tuple[Trace, ...]:
    """Of those requests that are traced."""
    return tuple(share.ticket.query.trace for share in shares if share.ticket.query.trace is not None)
