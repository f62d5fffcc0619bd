"""How a batch gets its answer: on which engine, with how many tries, and what becomes of a poisoned image.

A batch is tried on one engine; if that fails, or takes far longer than it should, on another one as well;
after `attempts` failures its images are tried one by one, so that an image that ends the worker fails
alone. Whatever is tried again is paid for out of a budget.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from serve.core.batching import Slots
from serve.core.budget import RetryBudget
from serve.core.errors import DeadlineError, EngineError, InvalidRequestError, UnavailableError
from serve.core.hand import UNFORESEEN, Foresight
from serve.core.merge import batch_of, images_of
from serve.core.messages import Batch, BatchReply, ModelRef
from serve.core.standing import Rules
from serve.core.trace import in_log
from serve.engines.attempts import SUSPICIOUS, AttemptLimits, Attempts, Hooks
from serve.engines.base import Engine, check_reply
from serve.engines.isolation import REFUSED, Isolation, with_refused
from serve.engines.roster import Holder, Roster, RosterOptions
from serve.engines.traced import traced
from serve.metrics import Metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How the pool uses its engines.

    Attributes:
        workers: Worker processes of each engine for a model: batches that it runs at once.
        attempts: Most attempts for one batch that an engine may have begun; with 1 none of these is repeated.
        attempt_timeout_s: Longest time for one attempt.
        patience_s: Least time without an answer after which another engine is tried as well.
        retry_ratio: Images that may be tried again, as a share of all.
        slow_ratio: An engine so many times slower than the fastest other one is ejected.
        poison_s: How long an image is refused after it ended workers by itself, in seconds.
        rules: Of the breakers.
    """

    workers: int = 1
    attempts: int = 2
    attempt_timeout_s: float = 30.0
    patience_s: float = 1.0
    retry_ratio: float = 0.1
    slow_ratio: float = 4.0
    poison_s: float = 600.0
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Seat:
    """Room taken for one batch at one engine."""

    holder: Holder

    @property
    def ref(self) -> ModelRef:
        """The version that will run."""
        return self.holder.ref

    @property
    def engine(self) -> Engine:
        """The engine that is tried first."""
        return self.holder.engine


class EnginePool:
    """The engines of one gateway and the batches that they run at this moment."""

    def __init__(self, metrics: Metrics, options: PoolOptions, clock: Callable[[], float]) -> None:
        """Start with no engine; `attach` brings them as they turn out to hold a model.

        Attributes:
            on_room: Called with a version for which there may be room now.
            on_change: Called with a version when `available` has changed by the engines' own standing.
        """
        self._metrics = metrics
        self._options = options
        self._clock = clock
        given = RosterOptions(workers=options.workers, slow_ratio=options.slow_ratio, rules=options.rules)
        self._roster = Roster(metrics, given, clock)
        self._roster.on_change = self._changed
        hooks = Hooks(send=self._send, retried=self._retried, ended=self._tell_room)
        self._attempts = Attempts(self._roster, hooks, clock)
        self._budgets: dict[ModelRef, RetryBudget] = {}
        # Batches for which room was taken and that have no end yet, be it between two attempts.
        self._unanswered: Counter[ModelRef] = Counter()
        self._isolation = Isolation(self._roster, self._run_alone, clock, options.poison_s)
        self.on_room: Callable[[ModelRef], None] = lambda _ref: None
        self.on_change: Callable[[ModelRef], None] = lambda _ref: None

    def attach(self, ref: ModelRef, engine: Engine, contents_sha256: str = "") -> None:
        """Let an engine take batches for a version that it holds; again is no error.

        Ejected, it comes back only with the same contents, if these are told.
        """
        if self._roster.add(ref, engine, contents_sha256):
            self.on_room(ref)

    def detach(self, ref: ModelRef, engine: Engine) -> None:
        """Send an engine no more batches for a version; those that run there go on."""
        self._roster.remove(ref, engine)

    def fail(self, ref: ModelRef, engine: Engine, error: EngineError) -> None:
        """Note that an engine was found unable to answer for a version; may eject it."""
        holder = self._roster.get(ref, engine)
        if holder is not None:
            self._roster.failed(holder, error)

    def forget(self, engine: Engine) -> None:
        """Drop the series of an engine that is gone for good and holds nothing any more."""
        self._metrics.forget_engine(engine.name)

    def holders(self, ref: ModelRef) -> tuple[Engine, ...]:
        """The engines that hold a version, those included that are ejected."""
        return tuple(holder.engine for holder in self._roster.of(ref))

    def available(self, ref: ModelRef) -> bool:
        """Whether any engine gets batches of a version."""
        return bool(self._roster.usable(ref))

    def why(self, ref: ModelRef) -> str:
        """Why no engine gets batches of a version, in words for everybody."""
        problems = [holder.problem for holder in self._roster.of(ref) if not holder.standing.closed]
        return "; ".join(dict.fromkeys(problems)) or "no engine is ready"

    def running(self, ref: ModelRef) -> int:
        """Batches of a version that run now, over all engines, detached ones included.

        One that waits a moment for its next attempt counts, too: its answer is still to come.
        """
        return max(self._roster.running(ref), self._unanswered[ref])

    def slots(self, ref: ModelRef) -> Slots:
        """Room for a version, over all the engines that get its batches."""
        return self._roster.slots(ref)

    def fastest_s(self, ref: ModelRef) -> float:
        """Seconds that a batch takes at best; 0 while that is unknown."""
        known = [fastest for one in self._roster.usable(ref) if (fastest := one.pace.fastest()) is not None]
        return min(known, default=0.0)

    def take(self, ref: ModelRef, foresight: Foresight = UNFORESEEN) -> Seat:
        """Take room at an engine, for `predict`.

        Args:
            ref: Which version is to run.
            foresight: How long it should take.

        Raises:
            UnavailableError: No engine gets batches of that version.
        """
        holder = self._roster.choose(ref)
        if holder is None:
            message = f"model {ref.name!r} version {ref.version}: {self.why(ref)}"
            raise UnavailableError(message, retry_after_s=1.0)
        self._roster.enter(holder, foresight)
        self._unanswered[ref] += 1
        return Seat(holder)

    async def predict(self, seat: Seat, batch: Batch, deadline: float) -> BatchReply:
        """Run a batch in the room taken for it; the room is given back when the engine is done with it.

        An attempt that has begun may outlast the deadline, and this call: hanging up would not stop the
        worker, and its room would be given to a batch that it cannot run yet.

        Args:
            seat: From `take`.
            batch: What to run.
            deadline: Clock value after which no attempt begins, because nobody waits for the answer.

        Raises:
            EngineError: Every attempt failed; this is the last one's error.
            DeadlineError: The deadline passed before the first attempt.
            InvalidRequestError: Every image is one that has ended workers.
        """
        try:
            if self._clock() >= deadline:
                self._roster.leave(seat.holder)
                raise DeadlineError("the deadline passed before the batch could be run")
            good = self._isolation.harmless(seat.ref, batch)
            if good is None:
                return await self._predict(seat, batch, deadline)
            if not good:
                self._roster.leave(seat.holder)
                raise InvalidRequestError(REFUSED)
            images = images_of(batch)
            reply = await self._predict(seat, batch_of([images[i] for i in good], batch), deadline)
            return with_refused(reply, good, batch.count)
        finally:
            self._unanswered[seat.ref] -= 1
            # Not before the batch's owner knows how it ended: the rest of a request that has just failed
            # must not be the next to leave.
            asyncio.get_running_loop().call_soon(self._tell_room, seat.holder)

    async def close(self) -> None:
        """Stop probing."""
        await self._roster.close()

    async def _predict(self, seat: Seat, batch: Batch, deadline: float) -> BatchReply:
        self._budget(seat.ref).deposit(batch.count)
        try:
            return await self._run(seat.holder, batch, deadline)
        except EngineError as error:
            suspicious = self._options.attempts > 1 and error.reason in SUSPICIOUS
            if not suspicious or self._clock() >= deadline or not self._pay(seat.ref, batch.count):
                raise
            alone = await self._isolation.one_by_one(seat.ref, batch, deadline, error)
            return replace(alone, troubled=True)

    async def _run_alone(self, holder: Holder, image: Batch, deadline: float) -> BatchReply:
        return await self._run(holder, image, deadline, final=SUSPICIOUS)

    async def _run(
        self, holder: Holder, batch: Batch, deadline: float, *, final: frozenset[str] = frozenset()
    ) -> BatchReply:
        limits = AttemptLimits(
            attempts=self._options.attempts,
            patience_s=self._options.patience_s,
            deadline=deadline,
            final=final,
        )
        return await self._attempts.run(holder, batch, limits, lambda: self._pay(holder.ref, batch.count))

    def _send(self, holder: Holder, batch: Batch, number: int) -> Coroutine[Any, Any, BatchReply]:
        work = self._attempt(holder, batch)
        return traced(work, holder, batch, number) if batch.traces else work

    async def _attempt(self, holder: Holder, batch: Batch) -> BatchReply:
        """Ask one engine, once; the room taken there is given back when it is done."""
        outcomes = self._metrics.engine_attempts
        name, model = holder.engine.name, holder.ref.name
        begun = self._clock()
        try:
            reply = await holder.engine.predict(holder.ref, batch, self._options.attempt_timeout_s)
            check_reply(reply, batch, name)
        except EngineError as error:
            outcomes.labels(model, name, error.reason).inc()
            told = {"model": str(holder.ref), "reason": error.reason, "error": error.message}
            log.warning("attempt failed", engine=name, **told, **in_log(*batch.traces))
            self._roster.failed(holder, error)
            raise
        else:
            outcomes.labels(model, name, "ok").inc()
            self._roster.succeeded(holder, batch.count, self._clock() - begun)
            return reply
        finally:
            self._roster.leave(holder)

    def _retried(self, failed: Holder) -> None:
        self._metrics.engine_retries.labels(failed.engine.name).inc()
        self._tell_room(failed)

    def _tell_room(self, holder: Holder) -> None:
        self.on_room(holder.ref)

    def _budget(self, ref: ModelRef) -> RetryBudget:
        if ref not in self._budgets:
            self._budgets[ref] = RetryBudget(self._options.retry_ratio)
        return self._budgets[ref]

    def _pay(self, ref: ModelRef, images: int) -> bool:
        if self._budget(ref).take(images, self._clock()):
            return True
        self._metrics.retries_refused.labels(ref.name).inc()
        return False

    def _changed(self, ref: ModelRef) -> None:
        self.on_change(ref)
        self.on_room(ref)
