"""The asyncio shell around `serve.core.batching`: gathers requests, releases batches, hands back rows.

Each version has a dispatcher with two lanes: requests that want the channel gates are batched apart, so
that the others do not pay for them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import structlog

from serve.core.batching import Limits, Release, Slots, Wait, choose
from serve.core.card import ModelCard
from serve.core.errors import DeadlineError, InternalError, OverloadedError, ServeError, UnavailableError
from serve.core.lane import Lane
from serve.core.messages import Batch, BatchReply, ModelRef, Prediction
from serve.core.pace import Throughput
from serve.core.query import Query
from serve.core.ticket import Share, Ticket, traces_of
from serve.core.trace import in_log
from serve.engines.pool import EnginePool, Seat
from serve.metrics import Metrics
from serve.usage import UsageBook

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every dispatcher needs of the house."""

    pool: EnginePool
    metrics: Metrics
    usage: UsageBook
    clock: Callable[[], float]


class Dispatcher:
    """Sends the batches of one version."""

    def __init__(self, ref: ModelRef, limits: Limits, around: Surroundings) -> None:
        """Start with empty lanes."""
        self.ref = ref
        self._limits = limits
        self._around = around
        gauge = around.metrics.queue_images.labels(ref.name)
        # Indexed by Query.attention.
        self._lanes = (Lane(limits, gauge.inc), Lane(limits, gauge.inc))
        self._throughput = Throughput(limits.max_batch)
        self._timer: asyncio.TimerHandle | None = None
        self._until = math.inf
        self._show_target()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def images(self) -> int:
        """Images that wait."""
        return sum(lane.images for lane in self._lanes)

    def add(self, ticket: Ticket) -> None:
        """Take a request in.

        Raises:
            OverloadedError: Its lane has no room for all of its images, or too many go before them.
        """
        lane = self._lanes[ticket.query.attention]
        self._check_time(ticket, lane.ahead(ticket))
        lane.add(ticket)
        self.pump()

    def remove(self, ticket: Ticket) -> None:
        """Forget what still waits of a request."""
        self._lanes[ticket.query.attention].remove(ticket)

    def clear(self) -> list[Ticket]:
        """Forget all that waits; returns whose it was."""
        return [ticket for lane in self._lanes for ticket in lane.clear()]

    def pump(self, at_least: float = -math.inf) -> None:
        """Release what the policy allows now, which is `at_least` that, and wake up when it says so."""
        now = max(self._around.clock(), at_least)
        if not self.images:
            self._wake_at(math.inf, now)
            return
        self._drop_hopeless(now)
        slots = self._around.pool.slots(self.ref)
        while not isinstance(decision := self._choose(slots, now), Wait):
            self._release(*decision, slots, now)
            slots = self._around.pool.slots(self.ref)
        self._wake_at(decision.until, now)

    def _wake_at(self, until: float, now: float) -> None:
        if self._timer and until == self._until and until > now:  # as most requests find it
            return
        if self._timer:
            self._timer.cancel()
        self._timer, self._until = None, until
        if until < math.inf:
            # uvloop counts in milliseconds, and is up to two of them early.
            self._timer = asyncio.get_running_loop().call_later(until - now, self.pump, until)

    def _check_time(self, ticket: Ticket, ahead: int) -> None:
        """Refuse at once what cannot be answered in time: it would only be in the way of others."""
        if not ahead:  # whatever is believed of the engines, the next in line finds out
            return
        other = self._lanes[not ticket.query.attention]
        wait = self._throughput.wait_s(ahead + other.images + ticket.waiting, ticket.arrived)
        left = ticket.deadline - ticket.arrived
        if wait > left:
            raise OverloadedError(
                f"model {self.ref.name!r}: {ahead} images wait before this request, its answer would take "
                f"about {wait:.1f} s and its deadline is in {left:.1f} s",
                retry_after_s=wait - left,
            )

    def _choose(self, slots: Slots, now: float) -> tuple[int, Release] | Wait:
        queues = [lane.state() for lane in self._lanes]
        return choose(queues, slots, self._limits, now)

    def _drop_hopeless(self, now: float) -> None:
        # Only while something runs, so that there is always a batch whose time puts a wrong belief right.
        if not self._around.pool.running(self.ref):
            return
        until = now + self._around.pool.fastest_s(self.ref)
        for lane in self._lanes:
            lane.drop_hopeless(until)

    def _release(self, index: int, release: Release, slots: Slots, now: float) -> None:
        lane = self._lanes[index]
        begin = now if slots.idle or slots.due.at == math.inf else max(now, slots.due.at)
        shares, parts = lane.gather(release.images, now, begin)
        outputs = frozenset[str]().union(*(share.ticket.query.wants for share in shares))
        batch = Batch(parts=tuple(parts), outputs=outputs, traces=traces_of(shares))
        seat = self._around.pool.take(self.ref, lane.growth.foresee(batch.count))
        self._around.metrics.observe_batch(self.ref.name, batch.count, release.reason)
        self._throughput.released(batch.count)
        # Of one that was handed ahead nobody knows when the worker began.
        learn = partial(self._learn, lane, batch.count, now if slots.idle else None)
        task = asyncio.get_running_loop().create_task(self._run(seat, batch, shares, learn))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(
        self, seat: Seat, batch: Batch, shares: list[Share], learn: Callable[[BatchReply], None]
    ) -> None:
        """Run a batch and tell every caller; nothing that happens here may stop the lane."""
        deadline = max(share.ticket.deadline for share in shares)
        try:
            try:
                reply = await self._around.pool.predict(seat, batch, deadline)
            finally:
                self._throughput.ended(batch.count, self._around.clock(), backlog=self.images > 0)
            learn(reply)
            self._deliver(reply, batch, shares)
        except ServeError as error:
            self._fail(shares, error)
        except Exception:
            log.exception("batch failed", model=str(self.ref), images=batch.count, **in_log(*batch.traces))
            self._fail(shares, InternalError("the server failed to run the batch; its log says why"))
        except asyncio.CancelledError:
            # Nobody here cancels a batch, but an engine's connection may end that way.
            self._fail(shares, UnavailableError("the batch was given up", retry_after_s=1.0))
            raise

    def _learn(self, lane: Lane, images: int, left: float | None, reply: BatchReply) -> None:
        if reply.troubled:  # its times are those of several attempts
            return
        growth, work_s = lane.growth, reply.timings.total_s
        before = growth.target
        if left is not None:
            growth.add_way(self._around.clock() - left - work_s)
        growth.add(images, work_s)
        if growth.target != before:
            self._show_target()

    def _show_target(self) -> None:
        target = self._lanes[False].growth.target
        self._around.metrics.batch_target_images.labels(self.ref.name).set(target)

    def _deliver(self, reply: BatchReply, batch: Batch, shares: list[Share]) -> None:
        self._around.metrics.observe_timings(self.ref.name, reply.timings)
        self._around.usage.batch(self.ref, batch.count, reply.timings)
        # A failed attempt is one event, however many requests shared it: one of them carries it.
        carrier, *others = shares
        carrier.deliver(reply)
        untroubled = replace(reply, troubled=False) if others and reply.troubled else reply
        for share in others:
            share.deliver(untroubled)

    def _fail(self, shares: list[Share], error: ServeError) -> None:
        for share in shares:
            share.ticket.end(error.again())
            self.remove(share.ticket)


class Batcher:
    """The dispatchers of all versions."""

    def __init__(self, limits: Limits, around: Surroundings) -> None:
        """Start without any; the pool tells when an engine has room again.

        Args:
            limits: The policy; `max_batch` is also held to each model's largest warmed-up batch.
            around: What the dispatchers need.
        """
        self._limits = limits
        self._around = around
        self._dispatchers: dict[ModelRef, Dispatcher] = {}
        self._open: set[Ticket] = set()
        around.pool.on_room = self._on_room

    async def predict(
        self, card: ModelCard, query: Query, deadline: float, principal: str = "anonymous"
    ) -> Prediction:
        """Answer one request.

        Args:
            card: The model that answers.
            query: What to answer.
            deadline: Clock value, in seconds, at which the caller stops waiting.
            principal: Whose request it is.

        Raises:
            OverloadedError: The queue is full, or too long for the deadline.
            DeadlineError: The deadline passed first.
            ServeError: The engine could not answer.
        """
        now, model = self._around.clock(), card.ref.name
        left = deadline - now
        if left <= 0:
            raise DeadlineError(f"the deadline passed before the request reached model {model!r}")
        done = asyncio.get_running_loop().create_future()
        ticket = Ticket(
            query=query, arrived=now, deadline=deadline, end=partial(_settle, done), principal=principal
        )
        dispatcher = self._dispatcher(card)
        self._open.add(ticket)
        try:
            async with asyncio.timeout(left):
                dispatcher.add(ticket)
                await done
        except TimeoutError:
            raise DeadlineError(
                f"the deadline of {left:.3f} s passed before model {model!r} answered",
                begun=ticket.taken > 0,
                waited=ticket.queue_s / left,
            ) from None
        finally:
            self._open.discard(ticket)
            dispatcher.remove(ticket)
            ticket.close(self._around.clock)
        self._around.metrics.observe_queue(model, ticket.queue_s)
        return ticket.prediction()

    def waiting(self, ref: ModelRef) -> int:
        """Images of a version that wait."""
        return self._dispatchers[ref].images if ref in self._dispatchers else 0

    def forget(self, ref: ModelRef, error: Callable[[], ServeError]) -> None:
        """Close the lanes of a version that goes away; what still waits there ends with `error`.

        What runs goes on: the engine says how it ends.
        """
        if ref in self._dispatchers:
            _end(self._dispatchers.pop(ref).clear(), error)

    def fail_all(self, error: Callable[[], ServeError]) -> None:
        """End every request, whether its images wait or run."""
        for dispatcher in self._dispatchers.values():
            dispatcher.clear()
        _end(self._open, error)

    def _dispatcher(self, card: ModelCard) -> Dispatcher:
        if card.ref not in self._dispatchers:
            limits = replace(self._limits, max_batch=min(self._limits.max_batch, card.max_batch))
            self._dispatchers[card.ref] = Dispatcher(card.ref, limits, self._around)
        return self._dispatchers[card.ref]

    def _on_room(self, ref: ModelRef) -> None:
        if ref in self._dispatchers:
            self._dispatchers[ref].pump()


def _end(tickets: Iterable[Ticket], error: Callable[[], ServeError]) -> None:
    for ticket in tickets:
        ticket.end(error())


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():  # answered already, or the caller has gone
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
