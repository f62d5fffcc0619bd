"""The requests that wait for one version: who is next, which images leave, whose rows come back.

A request may be spread over several batches and a batch may carry several requests; whatever happens to
one image or one caller concerns nobody else.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from serve.core.batching import Limits, Queue
from serve.core.errors import DeadlineError, OverloadedError
from serve.core.messages import BatchReply, Items, Prediction, Timings
from serve.core.query import Query

NOTHING_SPENT = Timings(decode_s=0.0, inference_s=0.0, encode_s=0.0)


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
        turn: The lane's virtual time at which its turn comes, in images.
    """

    query: Query
    arrived: float
    deadline: float
    end: Callable[[Exception | None], None]
    principal: str = "anonymous"
    turn: float = 0.0
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
    """Requests that may share a batch, in the order in which they leave.

    Those of the lowest priority number go first. Among them every principal gets an equal share of the
    images, however many requests it sends: start-time fair queueing (Goyal, Vin and Cheng, 1996, eq. 4 and
    5), where a request's turn is the later of the lane's virtual time and the end of the same principal's
    last one. With one principal that is first come, first served.
    """

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
        self._virtual_time = 0.0
        # By principal: where its last request's turn ends, and its images that wait.
        self._ends: dict[str, float] = {}
        self._shares: Counter[str] = Counter()

    def state(self) -> Queue:
        """What the policy needs to know."""
        # Looking through all deadlines is spared where no window makes use of them.
        deadlines = (ticket.deadline for ticket in self._tickets) if self._limits.max_queue_delay_s else ()
        return Queue(
            images=self.images,
            oldest=self._tickets[0].arrived if self._tickets else math.inf,
            deadline=min(deadlines, default=math.inf),
        )

    def ahead(self, ticket: Ticket) -> int:
        """Images that would leave before a request that is not yet in."""
        rank = (ticket.query.priority, self._turn(ticket))
        if not self._tickets or _rank(self._tickets[-1]) <= rank:
            return self.images
        return sum(other.waiting for other in self._tickets if _rank(other) <= rank)

    def add(self, ticket: Ticket) -> None:
        """Let a request wait for its turn.

        One that is larger than the whole queue is let in when it is the first: it would never find room.
        In a full queue room is made at the cost of those principals who have more waiting than this one.

        Raises:
            OverloadedError: There is no room for all of its images.
        """
        if self.images and not self._make_room(ticket):
            raise self._full(ticket)
        ticket.turn = self._turn(ticket)
        self._ends[ticket.principal] = ticket.turn + ticket.waiting
        behind = len(self._tickets)
        while behind and _rank(self._tickets[behind - 1]) > _rank(ticket):
            behind -= 1
        self._tickets.insert(behind, ticket)
        self._count(ticket, ticket.waiting)

    def remove(self, ticket: Ticket) -> None:
        """Forget what still waits of a request, if anything does."""
        if ticket.waiting and ticket in self._tickets:
            self._tickets.remove(ticket)
            self._count(ticket, -ticket.waiting)

    def clear(self) -> list[Ticket]:
        """Forget all that waits; returns whose it was."""
        tickets = list(self._tickets)
        for ticket in tickets:
            self.remove(ticket)
        return tickets

    def drop_hopeless(self, until: float) -> None:
        """End those next in line whose deadline comes before `until`, when an answer can be there at best."""
        while self._tickets and (ticket := self._tickets[0]).deadline < until and not ticket.taken:
            self.remove(ticket)
            message = f"model {ticket.query.ref.name!r}: no answer could have come before the deadline"
            ticket.end(DeadlineError(message))

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
            self._virtual_time = max(self._virtual_time, ticket.turn)
            if not ticket.waiting:
                self._tickets.popleft()
            self._count(ticket, -items.count)
        return shares, parts

    def _turn(self, ticket: Ticket) -> float:
        return max(self._virtual_time, self._ends.get(ticket.principal, 0.0))

    def _make_room(self, ticket: Ticket) -> bool:
        """Refuse the latest requests of those who have more waiting, if that is enough."""
        missing = self.images + ticket.waiting - self._limits.max_queue_images
        if missing <= 0:
            return True
        fair = self._shares[ticket.principal] + ticket.waiting
        victims: list[Ticket] = []
        left = self._shares.copy()
        for other in reversed(self._tickets):
            if missing <= 0 or other.query.priority < ticket.query.priority:
                break
            if not other.taken and left[other.principal] - other.waiting >= fair:
                victims.append(other)
                left[other.principal] -= other.waiting
                missing -= other.waiting
        if missing > 0:
            return False
        for victim in victims:
            self.remove(victim)
            victim.end(self._full(victim))
        return True

    def _full(self, ticket: Ticket) -> OverloadedError:
        return OverloadedError(
            f"model {ticket.query.ref.name!r}: {self.images} images wait, at most "
            f"{self._limits.max_queue_images} may; come back later",
            retry_after_s=1.0,
        )

    def _count(self, ticket: Ticket, images: int) -> None:
        self.images += images
        self._shares[ticket.principal] += images
        if not self.images:  # nobody is owed anything any more
            self._virtual_time = 0.0
            self._ends.clear()
            self._shares.clear()
        self._on_change(images)


def _rank(ticket: Ticket) -> tuple[int, float]:
    return ticket.query.priority, ticket.turn
