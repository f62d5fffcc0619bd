"""The requests that wait for one version: who is next, which images leave, whose rows come back.

A request may be spread over several batches and a batch may carry several requests; whatever happens to
one image or one caller concerns nobody else.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from itertools import takewhile

from serve.core.batching import Limits, Queue
from serve.core.errors import DeadlineError, OverloadedError
from serve.core.growth import Growth
from serve.core.messages import Items
from serve.core.ticket import Share, Ticket

# Whose requests wait behind all others: nobody waits for their answers. No token can have that name.
BACKGROUND = "\0mirror"


class Lane:
    """Requests that may share a batch, in the order in which they leave.

    Every principal gets an equal share of the images, however many requests it sends: next is who has been
    served least, counted from when it came, as in start-time fair queueing (Goyal, Vin and Cheng, 1996, eq. 4
    and 5, with the images that are really served for lengths). Among one's own requests the lowest priority
    number goes first, then first come, first served; with one principal that is all there is to it.

    Attributes:
        images: Images that wait.
        growth: How long its batches take.
    """

    def __init__(self, limits: Limits, on_change: Callable[[int], None]) -> None:
        """Start empty.

        Args:
            limits: The lane's policy.
            on_change: Told by how many the number of images that wait has changed.
        """
        self.images = 0
        self.growth = Growth(limits.max_batch, limits.slack)
        self._latest = -math.inf
        self._limits = limits
        self._on_change = on_change
        # By principal, those only who have something waiting, and for each its images.
        self._queues: dict[str, deque[Ticket]] = {}
        self._shares: Counter[str] = Counter()
        # In images: how far each has been served, and where who comes anew begins.
        self._served: dict[str, float] = {}
        self._virtual_time = 0.0

    def state(self) -> Queue:
        """What the policy needs to know."""
        # Looking through all deadlines is spared where no window makes use of them.
        tickets = (ticket for queue in self._queues.values() for ticket in queue)
        deadlines = (ticket.deadline for ticket in tickets) if self._limits.max_queue_delay_s else ()
        callers = self.images - self._shares[BACKGROUND]
        return Queue(
            images=callers or self.images,
            oldest=self._next().arrived if self._queues else math.inf,
            deadline=min(deadlines, default=math.inf),
            urgent=callers > 0,
            target=self.growth.target,
            latest=self._latest,
        )

    def ahead(self, ticket: Ticket) -> int:
        """Images that are going to leave before the last one of a request that is not yet in."""
        before = self._shares[ticket.principal] - self._behind(ticket)
        end = self._begin(ticket.principal) + before + ticket.waiting
        for principal, images in self._shares.items():
            if BACKGROUND in (principal, ticket.principal):
                before += images * (principal != BACKGROUND)
            elif principal != ticket.principal:
                before += min(images, max(0, math.ceil(end - self._served[principal])))
        return before

    def add(self, ticket: Ticket) -> None:
        """Let a request wait for its turn.

        One that is larger than the whole queue is let in when it is the first: it would never find room.
        In a full queue room is made at the cost of those principals who have more waiting than this one.

        Raises:
            OverloadedError: There is no room for all of its images.
        """
        if self.images and not self._make_room(ticket):
            raise self._full(ticket)
        self._served[ticket.principal] = self._begin(ticket.principal)
        queue = self._queues.setdefault(ticket.principal, deque())
        behind = len(queue)
        while behind and queue[behind - 1].query.priority > ticket.query.priority:
            behind -= 1
        queue.insert(behind, ticket)
        self._latest = ticket.arrived
        self._count(ticket, ticket.waiting)

    def remove(self, ticket: Ticket) -> None:
        """Forget what still waits of a request, if anything does."""
        queue = self._queues.get(ticket.principal, ())
        if ticket.waiting and ticket in queue:
            self._take_out(ticket)
            self._count(ticket, -ticket.waiting)

    def clear(self) -> list[Ticket]:
        """Forget all that waits; returns whose it was."""
        tickets = [ticket for queue in self._queues.values() for ticket in queue]
        for ticket in tickets:
            self.remove(ticket)
        return tickets

    def drop_hopeless(self, until: float) -> None:
        """End those next in line whose deadline comes before `until`, when an answer can be there at best."""
        while self._queues and (ticket := self._next()).deadline < until and not ticket.taken:
            self.remove(ticket)
            message = f"model {ticket.query.ref.name!r}: no answer could have come before the deadline"
            ticket.end(DeadlineError(message))

    def gather(self, images: int, now: float, begin: float) -> tuple[list[Share], list[Items]]:
        """Release up to that many images, at least one, for a worker that can begin at `begin`.

        Fewer leave where company would make somebody late, unless more than a batch waits: then small batches
        would make those late who come after.

        Returns:
            Whose each is, and the images themselves.
        """
        shares: list[Share] = []
        parts: list[Items] = []
        at = size = 0
        soon = begin + self.growth.whole_s(images) if self.images <= images else -math.inf
        while at < images and self._queues:
            ticket = self._next()
            # Whoever waits for an answer must not wait for images that nobody waits for.
            if shares and ticket.principal == BACKGROUND != shares[0].ticket.principal:
                break
            size += ticket.query.items.size_bytes
            if parts and size > self._limits.max_batch_bytes:
                break
            start, items = ticket.take(images - at, now)
            shares.append(Share(ticket=ticket, start=start, at=at, count=items.count))
            parts.append(items)
            at += items.count
            if ticket.deadline < soon:
                images = self.growth.in_time(at, images, ticket.deadline - begin)
            if ticket.principal != BACKGROUND:
                self._virtual_time = self._served[ticket.principal]
            self._served[ticket.principal] += items.count
            if not ticket.waiting:
                self._take_out(ticket)
            self._count(ticket, -items.count)
        return shares, parts

    def _behind(self, ticket: Ticket) -> int:
        """Images of the same principal that a request overtakes: those of lower priority, at the end."""
        own = reversed(self._queues.get(ticket.principal, ()))
        overtaken = takewhile(lambda other: other.query.priority > ticket.query.priority, own)
        return sum(other.waiting for other in overtaken)

    def _next(self) -> Ticket:
        if len(self._queues) == 1:
            return next(iter(self._queues.values()))[0]
        heads = (queue[0] for queue in self._queues.values())
        return min(heads, key=self._turn)

    def _turn(self, head: Ticket) -> tuple[bool, float, float]:
        return head.principal == BACKGROUND, self._served[head.principal], head.arrived

    def _begin(self, principal: str) -> float:
        """How far a principal counts as served: who comes anew is owed nothing for the time before."""
        return max(self._virtual_time, self._served.get(principal, 0.0))

    def _make_room(self, ticket: Ticket) -> bool:
        """Refuse the latest requests of those who have more waiting, if that is enough."""
        missing = self.images + ticket.waiting - self._limits.max_queue_images
        fair = self._shares[ticket.principal] + ticket.waiting
        left, victims = self._shares.copy(), list[Ticket]()
        for principal in sorted(left, key=lambda who: (who == BACKGROUND, left[who]), reverse=True):
            for other in reversed(self._queues.get(principal, ())):
                yields = principal == BACKGROUND or left[principal] - other.waiting >= fair
                if missing > 0 and not other.taken and yields:
                    victims.append(other)
                    left[principal] -= other.waiting
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

    def _take_out(self, ticket: Ticket) -> None:
        queue = self._queues[ticket.principal]
        queue.remove(ticket)
        if not queue:
            del self._queues[ticket.principal]

    def _count(self, ticket: Ticket, images: int) -> None:
        self.images += images
        self._shares[ticket.principal] += images
        if not self._queues:  # nobody is owed anything any more
            self._shares.clear()
            self._served.clear()
            self._virtual_time = 0.0
        self._on_change(images)
