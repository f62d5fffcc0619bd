"""One batch on its way to an answer: a first attempt, and others where it fails or takes far too long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from serve.core.errors import EngineError
from serve.core.messages import Batch, BatchReply
from serve.core.pace import patience
from serve.engines.roster import Holder, Roster

# An engine that failed so may do better at once; any other failure would repeat itself there.
_WORTH_THE_SAME_ENGINE = frozenset({"lost", "overloaded", "garbled"})
# The engine has not begun the batch, so that such an attempt counts for nothing.
_NOT_BEGUN = frozenset({"unreachable", "missing", "overloaded"})
# One of the images may be the cause: after two such losses they are rather tried one by one.
SUSPICIOUS = frozenset({"lost", "garbled"})
_MOST_LOSSES = 2
# TorchServe says that it has no worker, or no room: not to be asked again in the same breath.
_PAUSE_S = 0.1
# How often a batch that is overdue looks whether there is another engine by now.
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What attempts need of the pool.

    Attributes:
        send: Asks one engine once, in the room taken there, and gives the room back; told which attempt
            for the batch it is, from 1.
        retried: Called with the engine that made another attempt necessary, once that has begun.
        ended: Called when an attempt ends of which nobody waits for the end any more.
    """

    send: Callable[[Holder, Batch, int], Coroutine[Any, Any, BatchReply]]
    retried: Callable[[Holder], None]
    ended: Callable[[Holder], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLimits:
    """What the attempts for one batch may cost.

    Attributes:
        attempts: Most attempts that an engine may have begun; those that none has begun go on to the next.
        patience_s: Least time without an answer after which another engine is tried as well.
        deadline: Clock value after which no attempt begins.
        final: Reasons after which there is no other attempt.
    """

    attempts: int
    patience_s: float
    deadline: float
    final: frozenset[str] = frozenset()


class Attempts:
    """Tries a batch until there is an answer or no sense in going on."""

    def __init__(self, roster: Roster, hooks: Hooks, clock: Callable[[], float]) -> None:
        """Nothing runs yet; `clock` gives seconds."""
        self._roster = roster
        self._hooks = hooks
        self._clock = clock
        # Attempts whose batch has been answered by another engine; their own still has to end.
        self._overtaken: set[asyncio.Task[BatchReply]] = set()

    async def run(
        self, first: Holder, batch: Batch, limits: AttemptLimits, pay: Callable[[], bool]
    ) -> BatchReply:
        """Give the first answer.

        Args:
            first: Where room is taken.
            batch: What to ask.
            limits: See `AttemptLimits`.
            pay: Asked before every attempt but the first; False means that it may not be made.

        Raises:
            EngineError: There is none; the last failure.
        """
        one = _OneBatch(batch=batch, limits=limits, pay=pay)
        self._begin(one, first)
        try:
            while True:
                done, _ = await asyncio.wait(
                    one.running, timeout=self._patience(one), return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    self._hedge(one)
                elif reply := await self._settle(one, done):
                    return replace(reply, troubled=True) if one.failures or one.hedged else reply
        finally:
            for task, (holder, _) in one.running.items():
                self._overtaken.add(task)
                task.add_done_callback(partial(self._end, holder))

    async def _settle(self, one: _OneBatch, done: Iterable[asyncio.Task[BatchReply]]) -> BatchReply | None:
        """Give the answer if there is one; None when another attempt runs."""
        for task in done:
            holder, _ = one.running.pop(task)
            try:
                return task.result()
            except EngineError as error:
                one.failures[error.reason] += 1
                if not one.running and not await self._try_again(one, holder, error):
                    raise
        return None

    async def _try_again(self, one: _OneBatch, failed: Holder, error: EngineError) -> bool:
        if error.reason in one.limits.final or not (error.retryable or error.reason == "missing"):
            return False
        if one.count(SUSPICIOUS) >= _MOST_LOSSES:
            return False
        if self._another(one, failed):
            return True
        if error.reason not in _WORTH_THE_SAME_ENGINE:
            return False
        if error.reason == "overloaded":
            await asyncio.sleep(_PAUSE_S)
        return len(one.tried) < one.limits.attempts and self._another(one, failed, besides=())

    def _hedge(self, one: _OneBatch) -> None:
        """An attempt takes far too long: try another engine as well, once; if there is none, look again."""
        ((holder, begun),) = one.running.values()
        if not self._has_another(one, holder):
            return
        one.hedged = True
        self._roster.overdue(holder, begun)
        self._another(one, holder)

    def _another(self, one: _OneBatch, failed: Holder, besides: Iterable[Holder] | None = None) -> bool:
        """Begin one more attempt on an engine that has not been tried, if that may be."""
        begun = len(one.tried) - one.count(_NOT_BEGUN)
        if begun >= one.limits.attempts or self._clock() >= one.limits.deadline:
            return False
        holder = self._roster.choose(failed.ref, one.tried if besides is None else besides)
        if holder is None or not one.pay():
            return False
        self._roster.enter(holder)
        self._begin(one, holder)
        self._hooks.retried(failed)
        return True

    def _begin(self, one: _OneBatch, holder: Holder) -> None:
        one.tried.append(holder)
        work = self._hooks.send(holder, one.batch, len(one.tried))
        task = asyncio.get_running_loop().create_task(work)
        one.running[task] = holder, self._clock()

    def _patience(self, one: _OneBatch) -> float | None:
        """Seconds to wait before another engine is tried as well; None: until the attempt ends."""
        if one.hedged or len(one.running) != 1:
            return None
        ((holder, begun),) = one.running.values()
        # It may wait there for one that is larger.
        images = max(one.batch.count, holder.hand.largest)
        most = patience([other.pace for other in self._good(holder)], images, one.limits.patience_s)
        if most is None:
            return None
        least = 0.0 if self._has_another(one, holder) else _LOOK_S
        return max(least, begun + most - self._clock())

    def _good(self, holder: Holder) -> list[Holder]:
        return [other for other in self._roster.of(holder.ref) if other.standing.closed]

    def _has_another(self, one: _OneBatch, holder: Holder) -> bool:
        return any(other not in one.tried for other in self._good(holder))

    def _end(self, holder: Holder, task: asyncio.Task[BatchReply]) -> None:
        self._overtaken.discard(task)
        if not task.cancelled():
            task.exception()  # it has been counted where it happened
        self._hooks.ended(holder)


@dataclass(eq=False, slots=True, kw_only=True)
class _OneBatch:
    """How far one batch has come."""

    batch: Batch
    limits: AttemptLimits
    pay: Callable[[], bool]
    tried: list[Holder] = field(default_factory=list)
    running: dict[asyncio.Task[BatchReply], tuple[Holder, float]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    hedged: bool = False

    def count(self, reasons: Iterable[str]) -> int:
        """Attempts that failed for one of these reasons."""
        return sum(self.failures[reason] for reason in reasons)
