"""The requests that wait for one version: who is next, which images leave, whose rows come back.

A request may be spread over several batches and a batch may carry several requests; whatever happens to
one image or one caller concerns nobody else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from serve.core.batching import Limits, Queue
from serve.core.errors import OverloadedError
from serve.core.messages import BatchReply, Items, Prediction, Timings
from serve.core.query import Query

NOTHING_SPENT = Timings(decode_s=0.0, inference_s=0.0, encode_s=0.0)


@dataclass(eq=False, slots=True)
class Ticket:
    """One request on its way through a lane.

    Attributes:
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
        self.timings = Timings(
            decode_s=self.timings.decode_s + piece.timings.decode_s,
            inference_s=self.timings.inference_s + piece.timings.inference_s,
            encode_s=self.timings.encode_s + piece.timings.encode_s,
        )
        if sum(part.count for part in self.pieces.values()) == self.query.items.count:
            self.end(None)

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
        own = range(self.at, self.at + self.count)
        rows = slice(own.start, own.stop)
        piece = replace(
            reply,
            status=reply.status[rows],
            messages={i - self.at: text for i, text in reply.messages.items() if i in own},
            outputs={name: values[rows] for name, values in reply.outputs.items()},
        )
        self.ticket.fill(self.start, piece)


class Lane:
    """Requests that may share a batch: those of the lowest priority number first, then as they came."""

    def __init__(self, limits: Limits, on_change: Callable[[int], None]) -> None:
        """Start empty.

        Args:
            limits: The lane's policy.
            on_change: Told by how many the number of images that wait has changed.
        """
        self.images = 0
        self._limits = limits
        self._tickets: deque[Ticket] = deque()
        self._on_change = on_change

    def state(self) -> Queue:
        """What the policy needs to know."""
        # Looking through all deadlines is spared where no window makes use of them.
        deadlines = (ticket.deadline for ticket in self._tickets) if self._limits.max_queue_delay_s else ()
        return Queue(
            images=self.images,
            oldest=self._tickets[0].arrived if self._tickets else math.inf,
            deadline=min(deadlines, default=math.inf),
        )

    def add(self, ticket: Ticket) -> None:
        """Let a request wait, after all that go before it.

        One that is larger than the whole queue is let in when it is the first: it would never find room.

        Raises:
            OverloadedError: There is no room for all of its images.
        """
        if self.images and self.images + ticket.waiting > self._limits.max_queue_images:
            raise OverloadedError(
                f"model {ticket.query.ref.name!r}: {self.images} images wait, at most "
                f"{self._limits.max_queue_images} may; come back later",
                retry_after_s=1.0,
            )
        behind = len(self._tickets)
        while behind and self._tickets[behind - 1].query.priority > ticket.query.priority:
            behind -= 1
        self._tickets.insert(behind, ticket)
        self._count(ticket.waiting)

    def remove(self, ticket: Ticket) -> None:
        """Forget what still waits of a request, if anything does."""
        if ticket.waiting and ticket in self._tickets:
            self._tickets.remove(ticket)
            self._count(-ticket.waiting)

    def clear(self) -> list[Ticket]:
        """Forget all that waits; returns whose it was."""
        tickets = list(self._tickets)
        self._tickets.clear()
        self._count(-self.images)
        return tickets

    def gather(self, images: int, now: float) -> tuple[list[Share], list[Items]]:
        """Release up to that many images, at least one: whose each is, and the images themselves."""
        shares: list[Share] = []
        parts: list[Items] = []
        at = size = 0
        while at < images and self._tickets:
            ticket = self._tickets[0]
            size += ticket.query.items.size_bytes
            if parts and size > self._limits.max_batch_bytes:
                break
            start, items = ticket.take(images - at, now)
            shares.append(Share(ticket=ticket, start=start, at=at, count=items.count))
            parts.append(items)
            at += items.count
            if not ticket.waiting:
                self._tickets.popleft()
        self._count(-at)
        return shares, parts

    def _count(self, images: int) -> None:
        self.images += images
        self._on_change(images)
