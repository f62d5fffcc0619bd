"""Who holds which version, how much each has in hand, and how each stands: the state behind the pool."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from serve.core.batching import Slots
from serve.core.errors import EngineError
from serve.core.hand import UNFORESEEN, Foresight, Hand
from serve.core.messages import ModelRef
from serve.core.pace import Pace, is_slow, is_slower
from serve.core.standing import Rules, Standing, State
from serve.engines.base import Engine
from serve.engines.canary import canary
from serve.metrics import EJECTION_REASONS, Metrics

log = structlog.get_logger(__name__)

PROBE_TIMEOUT_S = 5.0


@dataclass(eq=False, slots=True)
class Holder:
    """An engine that holds a version.

    Attributes:
        contents_sha256: Of the archive that it held when it came; "" when nobody looked.
        hand: Batches of this version that it has in hand.
        answered_at: Clock value, in seconds, of its latest answer.
        rests_until: Clock value, in seconds, until which it gets no other batch where others can take it.
        problem: Public text of the failure that ejected it.
    """

    ref: ModelRef
    engine: Engine
    hand: Hand
    contents_sha256: str = ""
    standing: Standing = field(default_factory=Standing)
    pace: Pace = field(default_factory=Pace)
    answered_at: float = -math.inf
    rests_until: float = -math.inf
    problem: str = ""
    recovery: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterOptions:
    """What the roster goes by.

    Attributes:
        workers: Worker processes of each engine for a model: batches that it runs at once.
        slow_ratio: An engine so many times slower than the fastest other one is ejected.
        rules: Of every breaker.
    """

    workers: int
    slow_ratio: float
    rules: Rules


class Roster:
    """The holders of all versions.

    Attributes:
        on_change: Called with a version when it becomes, or ceases to be, one that some engine can answer,
            and when an engine of it is back.
    """

    def __init__(self, metrics: Metrics, options: RosterOptions, clock: Callable[[], float]) -> None:
        """Start with nobody."""
        self._metrics = metrics
        self._options = options
        self._clock = clock
        self._holders: dict[ModelRef, list[Holder]] = {}
        # Of whole engines, all their versions together: these share its processor.
        self._in_hand: Counter[str] = Counter()
        # Over all engines, those included that hold the version no more.
        self._running: Counter[ModelRef] = Counter()
        self.on_change: Callable[[ModelRef], None] = lambda _ref: None

    def add(self, ref: ModelRef, engine: Engine, contents_sha256: str = "") -> bool:
        """Let an engine take batches for a version; False when it does already."""
        if self.get(ref, engine) is not None:
            return False
        self._metrics.start_engine(engine.name, ref.name)
        holder = Holder(ref, engine, Hand(self._options.workers), contents_sha256)
        self._holders.setdefault(ref, []).append(holder)
        self._show(holder)
        return True

    def remove(self, ref: ModelRef, engine: Engine) -> None:
        """Let an engine take no more; those that it has in hand go on."""
        holder = self.get(ref, engine)
        if holder is None:
            return
        self._holders[ref].remove(holder)
        if holder.recovery is not None:
            holder.recovery.cancel()
        self._metrics.stop_breaker(ref.name, engine.name)
        for other in self._held_by(engine):
            if other.ref.name == ref.name:  # another version, which the series were of, too
                self._show(other)
        self._show_ejected(engine)

    def get(self, ref: ModelRef, engine: Engine) -> Holder | None:
        """That engine as a holder of that version."""
        return next((holder for holder in self.of(ref) if holder.engine is engine), None)

    def of(self, ref: ModelRef) -> tuple[Holder, ...]:
        """All who hold a version, however they stand."""
        return tuple(self._holders.get(ref, ()))

    def usable(self, ref: ModelRef) -> tuple[Holder, ...]:
        """Those who get batches: in good standing, or as a last resort those who will be back soon."""
        holders = self.of(ref)
        good = tuple(holder for holder in holders if holder.standing.closed)
        return good or tuple(holder for holder in holders if holder.standing.last_resort)

    def running(self, ref: ModelRef) -> int:
        """Batches of a version that run now, over all engines."""
        return self._running[ref]

    def slots(self, ref: ModelRef) -> Slots:
        """Room for a version."""
        return Slots.over([holder.hand for holder in self._rested(ref)])

    def choose(self, ref: ModelRef, besides: Iterable[Holder] = ()) -> Holder | None:
        """The less loaded of two drawn at random from those with the most room; None when there is nobody.

        Where nobody is idle it is the one that is known to be so first.

        Two random choices are almost as good as looking at all, and many gateways that do so do not all
        run to the same engine: Mitzenmacher, The Power of Two Choices, 2001.
        """
        holders = [holder for holder in self._rested(ref) if holder not in besides] or [
            holder for holder in self.usable(ref) if holder not in besides
        ]
        if not holders:
            return None
        idle = [holder for holder in holders if holder.hand.idle]
        least = min(holder.hand.count for holder in holders)
        candidates = idle or [holder for holder in holders if holder.hand.count == least]
        soonest = min(holder.hand.due.at for holder in candidates)
        candidates = [holder for holder in candidates if holder.hand.due.at == soonest]
        drawn = random.sample(candidates, min(2, len(candidates)))
        return min(drawn, key=lambda holder: self._in_hand[holder.engine.name])

    def enter(self, holder: Holder, foresight: Foresight = UNFORESEEN) -> None:
        """A batch goes to that engine."""
        holder.hand.enter(self._clock(), foresight)
        self._in_hand[holder.engine.name] += 1
        self._running[holder.ref] += 1

    def leave(self, holder: Holder) -> None:
        """The engine is done with a batch, or we with the engine."""
        holder.hand.leave(self._clock())
        self._in_hand[holder.engine.name] -= 1
        self._running[holder.ref] -= 1

    def succeeded(self, holder: Holder, images: int, seconds: float) -> None:
        """Note an answer and how long it took; who is much slower than the others is ejected."""
        holder.answered_at = self._clock()
        holder.standing = holder.standing.succeeded()
        if not holder.standing.closed:
            return
        holder.pace.add(images, seconds)
        self._let_rest(holder, seconds)
        others = [
            other.pace for other in self.of(holder.ref) if other is not holder and other.standing.closed
        ]
        if is_slow(holder.pace, others, images, self._options.slow_ratio):
            self.failed(holder, self._error(holder, "slow", "is much slower than the others"))

    def failed(self, holder: Holder, error: EngineError) -> None:
        """Note a failure; may eject the engine, unless the failure is the request's own."""
        if error.reason in EJECTION_REASONS:
            self._change(
                holder, holder.standing.failed(error.reason, self._clock(), self._options.rules), error
            )

    def overdue(self, holder: Holder, begun: float) -> None:
        """Note that a batch sent at `begun` takes far too long; who answered nothing since is ejected."""
        others = any(other.standing.closed for other in self.of(holder.ref) if other is not holder)
        if others and holder.answered_at <= begun:
            self.failed(holder, self._error(holder, "timeout", "no answer in time"))

    async def lives(self, ref: ModelRef) -> bool:
        """Whether an engine answers a harmless image of that version now."""
        holder = self.choose(ref)
        if holder is None:
            return False
        try:
            await self._time_canary(holder)
        except EngineError:
            return False
        return True

    async def close(self) -> None:
        """Give up all that are on their way back."""
        tasks = [h.recovery for holders in self._holders.values() for h in holders if h.recovery is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _rested(self, ref: ModelRef) -> tuple[Holder, ...]:
        """Those of the usable who are not to rest; all of them if everybody is."""
        usable, now = self.usable(ref), self._clock()
        return tuple(holder for holder in usable if holder.rests_until <= now) or usable

    def _let_rest(self, holder: Holder, seconds: float) -> None:
        """Let a returning engine rest after a batch, and tell when it is over."""
        now = self._clock()
        rest = holder.standing.rest_s(seconds, now, self._options.rules)
        if rest:
            holder.rests_until = now + rest
            asyncio.get_running_loop().call_later(rest, self.on_change, holder.ref)

    def _change(self, holder: Holder, standing: Standing, error: EngineError | None = None) -> None:
        """Give a holder another standing, show it, and let an ejected one come back in time."""
        before = bool(self.usable(holder.ref))
        opened = standing.state is State.OPEN and holder.standing.closed
        back = standing.closed and not holder.standing.closed
        holder.standing = standing
        if error is not None and not standing.closed:
            holder.problem = error.message
        if opened:
            log.warning(
                "engine ejected", model=str(holder.ref), engine=holder.engine.name, reason=standing.reason
            )
            self._metrics.engine_ejections.labels(holder.engine.name, standing.reason).inc()
        if holder not in self.of(holder.ref):  # it has been removed: this is of a batch that it still had
            return
        if opened:
            holder.recovery = asyncio.get_running_loop().create_task(self._recover(holder))
        self._show(holder)
        if back or bool(self.usable(holder.ref)) != before:
            self.on_change(holder.ref)

    async def _recover(self, holder: Holder) -> None:
        """Probe an ejected engine after each of its rests until it is well."""
        while not holder.standing.closed:
            await asyncio.sleep(max(0.0, holder.standing.until - self._clock()))
            self._change(holder, holder.standing.probing())
            error = await self._probe(holder)
            reason = error.reason if error else ""
            standing = holder.standing.probed(reason, self._clock(), self._options.rules)
            if not reason:
                holder.pace.forget()
                log.info("engine is back", model=str(holder.ref), engine=holder.engine.name)
            self._change(holder, standing, error)
        holder.recovery = None

    async def _probe(self, holder: Holder) -> EngineError | None:
        """Ask for one prediction; it must be right, and not much slower than that of another engine."""
        try:
            own = await self._time_canary(holder)
        except EngineError as error:
            return error
        except Exception:
            log.exception("probe failed", model=str(holder.ref), engine=holder.engine.name)
            return self._error(holder, "garbled", "cannot be probed")
        reference = next((other for other in self.of(holder.ref) if other.standing.closed), None)
        if reference is None or not is_slower(own, 0.0, 1.0):
            return None
        try:
            best = await self._time_canary(reference)
        except EngineError:  # the other one's failure, which does not tell who is slower
            return None
        slow = is_slower(own, best, self._options.slow_ratio)
        return self._error(holder, "slow", "is much slower than the others") if slow else None

    async def _time_canary(self, holder: Holder) -> float:
        card = await holder.engine.describe(holder.ref, PROBE_TIMEOUT_S)
        if holder.contents_sha256 not in ("", card.contents_sha256):
            raise self._error(holder, "missing", "came back with other contents")
        begun = self._clock()
        await canary(holder.engine, card, PROBE_TIMEOUT_S)
        return self._clock() - begun

    @staticmethod
    def _error(holder: Holder, reason: str, what: str) -> EngineError:
        return EngineError(f"engine {holder.engine.name}: {what}", reason=reason)

    def _show(self, holder: Holder) -> None:
        for state in State:
            gauge = self._metrics.engine_breaker.labels(holder.ref.name, holder.engine.name, state.value)
            gauge.set(holder.standing.state is state)
        self._show_ejected(holder.engine)

    def _show_ejected(self, engine: Engine) -> None:
        ejected = not any(holder.standing.closed for holder in self._held_by(engine))
        self._metrics.engine_ejected.labels(engine.name).set(ejected)

    def _held_by(self, engine: Engine) -> list[Holder]:
        return [holder for holders in self._holders.values() for holder in holders if holder.engine is engine]
