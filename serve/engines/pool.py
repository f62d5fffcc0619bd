"""Which engine runs a batch: who holds which model, who has room, and another try when one fails."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from serve.core.batching import Slots
from serve.core.errors import DeadlineError, EngineError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from serve.core.messages import Batch, BatchReply, ModelRef
    from serve.engines.base import Engine
    from serve.metrics import Metrics

log = structlog.get_logger()


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
        """Start with no engine; `attach` brings them as they turn out to hold a model."""
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
        self.on_room(ref)

    def detach(self, ref: ModelRef, engine: Engine) -> None:
        """Send an engine no more batches for a version; those that run there go on."""
        holders = self._holders.get(ref, [])
        if engine in holders:
            holders.remove(engine)

    def holders(self, ref: ModelRef) -> tuple[Engine, ...]:
        """The engines that take batches for a version."""
        return tuple(self._holders.get(ref, ()))

    def running(self, ref: ModelRef) -> int:
        """Batches of a version that run now, over all engines."""
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
        return Seat(ref=ref, engine=self._enter(ref, self._pick(ref, tried=())))

    async def predict(self, seat: Seat, batch: Batch, deadline: float) -> BatchReply:
        """Run a batch in the room taken for it, and give the room back in any case.

        Args:
            seat: From `take`.
            batch: What to run.
            deadline: Clock value after which nobody waits for the answer.

        Raises:
            EngineError: Every attempt failed; this is the last one's error.
            DeadlineError: The deadline passed before an attempt could be made.
        """
        tried: list[Engine] = []
        try:
            while True:
                try:
                    return await self._attempt(seat, batch, deadline)
                except EngineError as error:
                    tried.append(seat.engine)
                    if not error.retryable or len(tried) >= self._options.attempts:
                        raise
                    self._move(seat, tried)
        finally:
            self._leave(seat.ref, seat.engine)
            self.on_room(seat.ref)

    async def _attempt(self, seat: Seat, batch: Batch, deadline: float) -> BatchReply:
        left = deadline - self._clock()
        if left <= 0:
            message = "the deadline passed before the batch could be run"
            raise DeadlineError(message)
        attempts = self._metrics.engine_attempts
        name, model = seat.engine.name, seat.ref.name
        try:
            reply = await seat.engine.predict(seat.ref, batch, min(left, self._options.attempt_timeout_s))
        except EngineError as error:
            attempts.labels(model, name, error.reason).inc()
            log.warning("attempt failed", engine=name, model=str(seat.ref), reason=error.reason, error=error.message)
            raise
        attempts.labels(model, name, "ok").inc()
        return reply

    def _move(self, seat: Seat, tried: list[Engine]) -> None:
        self._metrics.engine_retries.labels(seat.engine.name).inc()
        engine = self._pick(seat.ref, tried=tuple(tried))
        self._leave(seat.ref, seat.engine)
        seat.engine = self._enter(seat.ref, engine)

    def _pick(self, ref: ModelRef, tried: tuple[Engine, ...]) -> Engine:
        holders = self._holders.get(ref, [])
        # With nobody else left the same engine gets another chance: TorchServe restarts a dead worker itself.
        candidates = [engine for engine in holders if engine not in tried] or holders
        if not candidates:
            message = f"model {ref.name!r} version {ref.version}: no engine is ready"
            raise UnavailableError(message, retry_after_s=1.0)
        return min(candidates, key=lambda engine: (self._running[ref, engine.name], random.random()))  # noqa: S311  breaks ties, guards nothing

    def _enter(self, ref: ModelRef, engine: Engine) -> Engine:
        self._running[ref, engine.name] += 1
        return engine

    def _leave(self, ref: ModelRef, engine: Engine) -> None:
        self._running[ref, engine.name] -= 1
