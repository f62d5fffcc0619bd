"""Which engine runs a batch: who holds which model, who has room, and another try when one fails."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from serve.core.batching import Slots
from serve.core.errors import DeadlineError, EngineError, UnavailableError
from serve.core.messages import Batch, BatchReply, ModelRef
from serve.engines.base import Engine
from serve.metrics import Metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How the pool uses its engines.

    Attributes:
        workers: Worker processes of each engine for a model: batches that it runs at once.
        attempts: Most attempts for one batch, the first included.
        attempt_timeout_s: Longest time for one attempt.
    """

    workers: int = 1
    attempts: int = 2
    attempt_timeout_s: float = 30.0


@dataclass(slots=True)
class Seat:
    """Room taken for one batch at one engine; moves when the batch is tried elsewhere."""

    ref: ModelRef
    engine: Engine


class EnginePool:
    """The engines of one gateway and the batches that they run at this moment."""

    def __init__(self, metrics: Metrics, options: PoolOptions, clock: Callable[[], float]) -> None:
        """Start with no engine; `attach` brings them as they turn out to hold a model.

        Attributes:
            on_room: Called with a version for which there may be room now.
        """
        self._metrics = metrics
        self._options = options
        self._clock = clock
        self._holders: dict[ModelRef, list[Engine]] = {}
        self._running: Counter[tuple[ModelRef, str]] = Counter()
        self.on_room: Callable[[ModelRef], None] = lambda _ref: None

    def attach(self, ref: ModelRef, engine: Engine) -> None:
        """Let an engine take batches for a version that it holds; again is no error."""
        holders = self._holders.setdefault(ref, [])
        if engine not in holders:
            holders.append(engine)
            self._metrics.start_engine(engine.name, ref.name)
        self._show_ejected(engine)
        self.on_room(ref)

    def detach(self, ref: ModelRef, engine: Engine) -> None:
        """Send an engine no more batches for a version; those that run there go on."""
        holders = self._holders.get(ref, [])
        if engine in holders:
            holders.remove(engine)
        self._show_ejected(engine)

    def holders(self, ref: ModelRef) -> tuple[Engine, ...]:
        """The engines that take batches for a version."""
        return tuple(self._holders.get(ref, ()))

    def running(self, ref: ModelRef) -> int:
        """Batches of a version that run now, over all engines, detached ones included."""
        return sum(count for (running, _), count in self._running.items() if running == ref)

    def slots(self, ref: ModelRef) -> Slots:
        """Room for a version, over all the engines that hold it."""
        workers = self._options.workers
        loads = [self._running[ref, engine.name] for engine in self._holders.get(ref, ())]
        return Slots(
            idle=sum(max(0, workers - load) for load in loads),
            busy=sum(min(workers, load) for load in loads),
            ahead=sum(max(0, load - workers) for load in loads),
        )

    def take(self, ref: ModelRef) -> Seat:
        """Take room at the engine with the fewest batches of this version.

        Raises:
            UnavailableError: No engine holds it.
        """
        holders = self.holders(ref)
        if not holders:
            raise UnavailableError(
                f"model {ref.name!r} version {ref.version}: no engine is ready", retry_after_s=1.0
            )
        seat = Seat(ref=ref, engine=self._least_loaded(ref, holders))
        self._enter(seat)
        return seat

    async def predict(self, seat: Seat, batch: Batch, deadline: float) -> BatchReply:
        """Run a batch in the room taken for it, and give the room back in any case.

        An attempt that has begun may outlast the deadline: hanging up would not stop the worker, and its
        room would be given to a batch that it cannot run yet.

        Args:
            seat: From `take`.
            batch: What to run.
            deadline: Clock value after which no attempt begins, because nobody waits for the answer.

        Raises:
            EngineError: Every attempt failed; this is the last one's error.
            DeadlineError: The deadline passed before the first attempt.
        """
        tried: list[Engine] = []
        try:
            if self._clock() >= deadline:
                raise DeadlineError("the deadline passed before the batch could be run")
            while True:
                try:
                    return await self._attempt(seat, batch)
                except EngineError as error:
                    tried.append(seat.engine)
                    if not error.retryable or not self._may_try_again(seat.ref, error, tried, deadline):
                        raise
                    self._move(seat, tried)
        finally:
            self._leave(seat)

    async def _attempt(self, seat: Seat, batch: Batch) -> BatchReply:
        outcomes = self._metrics.engine_attempts
        name, model = seat.engine.name, seat.ref.name
        try:
            reply = await seat.engine.predict(seat.ref, batch, self._options.attempt_timeout_s)
            _check(reply, batch, name)
        except EngineError as error:
            outcomes.labels(model, name, error.reason).inc()
            log.warning(
                "attempt failed", engine=name, model=str(seat.ref), reason=error.reason, error=error.message
            )
            raise
        outcomes.labels(model, name, "ok").inc()
        return reply

    def _may_try_again(self, ref: ModelRef, error: EngineError, tried: list[Engine], deadline: float) -> bool:
        if len(tried) >= self._options.attempts or self._clock() >= deadline:
            return False
        # An engine that hangs will hang again: only another one can help.
        return any(error.reason != "timeout" or engine not in tried for engine in self.holders(ref))

    def _move(self, seat: Seat, tried: list[Engine]) -> None:
        self._metrics.engine_retries.labels(seat.engine.name).inc()
        holders = self.holders(seat.ref)
        # With nobody else left the same engine gets another chance: TorchServe restarts a dead worker itself.
        fresh = tuple(engine for engine in holders if engine not in tried) or holders
        self._leave(seat)
        seat.engine = self._least_loaded(seat.ref, fresh)
        self._enter(seat)

    def _least_loaded(self, ref: ModelRef, engines: tuple[Engine, ...]) -> Engine:
        ties = random.random  # guards nothing
        return min(engines, key=lambda engine: (self._running[ref, engine.name], ties()))

    def _enter(self, seat: Seat) -> None:
        self._running[seat.ref, seat.engine.name] += 1

    def _leave(self, seat: Seat) -> None:
        self._running[seat.ref, seat.engine.name] -= 1
        # Not before the batch's owner knows how it ended: the rest of a request that has just failed
        # must not be the next to leave.
        asyncio.get_running_loop().call_soon(self.on_room, seat.ref)

    def _show_ejected(self, engine: Engine) -> None:
        takes_batches = any(engine in holders for holders in self._holders.values())
        self._metrics.engine_ejected.labels(engine.name).set(not takes_batches)


def _check(reply: BatchReply, batch: Batch, engine: str) -> None:
    """See that an engine kept its word, whatever it is: a row for every image in every output."""
    rows = {name: len(reply.outputs.get(name, ())) for name in sorted(batch.outputs)}
    if reply.count != batch.count or any(count != batch.count for count in rows.values()):
        raise EngineError(
            f"engine {engine}: gave {reply.count} statuses and rows {rows} for {batch.count} images",
            reason="garbled",
        )
