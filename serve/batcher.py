"""The asyncio shell around `serve.core.batching`: gathers requests, releases batches, hands back rows.

One lane for each version, and one more for its requests that want the channel gates, so that the
others do not pay for them. A request may be spread over several batches and a batch may carry
several requests; whatever happens to one image or one caller concerns nobody else.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from serve.core.batching import Limits, Queue, Release, Wait, decide
from serve.core.errors import DeadlineError, InternalError, OverloadedError, ServeError
from serve.core.messages import Batch, BatchReply, Items, Prediction, Timings

if TYPE_CHECKING:
    from collections.abc import Callable

    from serve.core.card import ModelCard
    from serve.core.messages import ModelRef
    from serve.core.query import Query
    from serve.engines.pool import EnginePool, Seat
    from serve.metrics import Metrics
    from serve.usage import UsageBook

NOTHING_SPENT = Timings(decode_s=0.0, inference_s=0.0, encode_s=0.0)


@dataclass(eq=False, slots=True)
class Ticket:
    """One request on its way through a lane."""

    query: Query
    arrived: float
    deadline: float
    done: asyncio.Future[None]
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
        if sum(part.count for part in self.pieces.values()) == self.query.items.count and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the request with an error, unless it has ended already."""
        if not self.done.done():
            self.done.set_exception(error)

    def prediction(self) -> Prediction:
        """All rows, in the request's order."""
        pieces = sorted(self.pieces.items())
        first = pieces[0][1]
        whole = len(pieces) == 1
        return Prediction(
            status=tuple(code for _, piece in pieces for code in piece.status),
            messages={start + i: text for start, piece in pieces for i, text in piece.messages.items()},
            outputs={
                name: first.outputs[name] if whole else np.concatenate([p.outputs[name] for _, p in pieces])
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

    def of(self, reply: BatchReply) -> BatchReply:
        """The ticket's own rows of the batch's reply."""
        rows = slice(self.at, self.at + self.count)
        own = range(self.at, self.at + self.count)
        return replace(
            reply,
            status=reply.status[rows],
            messages={i - self.at: text for i, text in reply.messages.items() if i in own},
            outputs={name: values[rows] for name, values in reply.outputs.items()},
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every lane needs of the house."""

    pool: EnginePool
    metrics: Metrics
    usage: UsageBook
    clock: Callable[[], float]


class Lane:
    """The queue of one version (with or without its channel gates) and the batches that it sends."""

    def __init__(self, ref: ModelRef, limits: Limits, around: Surroundings) -> None:
        """Start empty."""
        self.ref = ref
        self.limits = limits
        self._around = around
        self._queue: deque[Ticket] = deque()
        self._images = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def images(self) -> int:
        """Images that wait."""
        return self._images

    @property
    def oldest(self) -> float:
        """Clock value at which the first request that waits came; infinity when none does."""
        return self._queue[0].arrived if self._queue else math.inf

    def add(self, ticket: Ticket) -> None:
        """Queue a request.

        Raises:
            OverloadedError: The queue has no room for all of its images.
        """
        count, room = ticket.query.items.count, self.limits.max_queue_images
        if self._images + count > room and self._images:
            message = f"model {self.ref.name!r}: {self._images} images wait, there is room for {room}; try again later"
            raise OverloadedError(message, retry_after_s=1.0)
        self._queue.append(ticket)
        self._count(count)
        self.pump()

    def drop(self, ticket: Ticket) -> None:
        """Forget what still waits of a request that nobody waits for."""
        if ticket in self._queue:
            self._queue.remove(ticket)
            self._count(-ticket.waiting)

    def fail_all(self, error: Callable[[], ServeError]) -> None:
        """End every request that still waits in the queue."""
        while self._queue:
            ticket = self._queue.popleft()
            self._count(-ticket.waiting)
            ticket.fail(error())

    def pump(self) -> None:
        """Release what the policy allows now, and wake up when it says so."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            now = self._around.clock()
            decision = decide(self._state(), self._around.pool.slots(self.ref), self.limits, now)
            if isinstance(decision, Wait):
                if decision.until is not None:
                    self._timer = asyncio.get_running_loop().call_later(decision.until - now, self.pump)
                return
            self._release(decision, now)

    def _state(self) -> Queue:
        return Queue(
            images=self._images,
            oldest=self.oldest,
            deadline=min(ticket.deadline for ticket in self._queue) if self.limits.max_queue_delay_s else math.inf,
        )

    def _release(self, decision: Release, now: float) -> None:
        seat = self._around.pool.take(self.ref)
        shares, parts = self._gather(min(decision.images, self.limits.max_batch), now)
        self._around.metrics.observe_batch(self.ref.name, sum(share.count for share in shares), decision.reason)
        outputs = frozenset[str]().union(*(share.ticket.query.wants for share in shares))
        run = self._run(seat, Batch(parts=tuple(parts), outputs=outputs), shares)
        task = asyncio.get_running_loop().create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _gather(self, images: int, now: float) -> tuple[list[Share], list[Items]]:
        shares: list[Share] = []
        parts: list[Items] = []
        at = 0
        while at < images and self._queue:
            ticket = self._queue[0]
            start, items = ticket.take(images - at, now)
            shares.append(Share(ticket=ticket, start=start, at=at, count=items.count))
            parts.append(items)
            at += items.count
            if not ticket.waiting:
                self._queue.popleft()
        self._count(-at)
        return shares, parts

    async def _run(self, seat: Seat, batch: Batch, shares: list[Share]) -> None:
        try:
            deadline = max(share.ticket.deadline for share in shares)
            reply = await self._around.pool.predict(seat, batch, deadline)
            self._check(reply, batch)
        except Exception as error:  # noqa: BLE001  whatever it is, each caller must hear of it, and the lane lives on
            for share in shares:
                share.ticket.fail(error)
                self.drop(share.ticket)
            return
        self._around.metrics.observe_timings(self.ref.name, reply.timings)
        self._around.usage.batch(self.ref, batch.count, reply.timings)
        for share in shares:
            share.ticket.fill(share.start, share.of(reply))

    def _check(self, reply: BatchReply, batch: Batch) -> None:
        if reply.count != batch.count or not batch.outputs <= reply.outputs.keys():
            message = f"the engine answered {reply.count} of {batch.count} images with {sorted(reply.outputs)}"
            raise InternalError(message)

    def _count(self, images: int) -> None:
        self._images += images
        self._around.metrics.queue_images.labels(self.ref.name).inc(images)


class Batcher:
    """All lanes of the gateway."""

    def __init__(self, limits: Limits, around: Surroundings) -> None:
        """Start without lanes; the pool tells when an engine has room again.

        Args:
            limits: The policy; `max_batch` is also held to each model's largest warmed-up batch.
            around: What the lanes need.
        """
        self._limits = limits
        self._around = around
        self._lanes: dict[tuple[ModelRef, bool], Lane] = {}
        around.pool.on_room = self._room

    async def predict(self, card: ModelCard, query: Query, deadline: float) -> Prediction:
        """Answer one request.

        Args:
            card: The model that answers.
            query: What to answer.
            deadline: Clock value, in seconds, at which the caller stops waiting.

        Raises:
            OverloadedError: The queue is full.
            DeadlineError: The deadline passed first.
            ServeError: The engine could not answer.
        """
        clock = self._around.clock
        lane = self._lane(card, attention=query.attention)
        now = clock()
        ticket = Ticket(
            query=query, arrived=now, deadline=deadline, done=asyncio.get_running_loop().create_future()
        )
        try:
            async with asyncio.timeout(max(0.0, deadline - now)):
                lane.add(ticket)
                await ticket.done
        except TimeoutError:
            message = f"the deadline of {1e3 * (deadline - now):.0f} ms passed before model {card.ref.name!r} answered"
            raise DeadlineError(message) from None
        finally:
            lane.drop(ticket)
        self._around.metrics.stage_duration.labels(card.ref.name, "queue").observe(ticket.queue_s)
        return ticket.prediction()

    def waiting(self, ref: ModelRef) -> int:
        """Images of a version that wait."""
        return sum(lane.images for lane in self._lanes.values() if lane.ref == ref)

    def forget(self, ref: ModelRef, error: Callable[[], ServeError]) -> None:
        """Close the lanes of a version that goes away; what still waits there ends with `error`."""
        for key in [key for key in self._lanes if key[0] == ref]:
            self._lanes.pop(key).fail_all(error)

    def fail_all(self, error: Callable[[], ServeError]) -> None:
        """End everything that waits, in every lane."""
        for lane in self._lanes.values():
            lane.fail_all(error)

    def _lane(self, card: ModelCard, *, attention: bool) -> Lane:
        key = (card.ref, attention)
        lane = self._lanes.get(key)
        if lane is None:
            limits = replace(self._limits, max_batch=min(self._limits.max_batch, card.max_batch))
            lane = self._lanes[key] = Lane(card.ref, limits, self._around)
        return lane

    def _room(self, ref: ModelRef) -> None:
        # Both lanes share the workers: who has waited longest goes first, so that neither starves.
        lanes = [lane for lane in self._lanes.values() if lane.ref == ref and lane.images]
        for lane in sorted(lanes, key=lambda lane: lane.oldest):
            lane.pump()
