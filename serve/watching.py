"""How models come in from engines that run elsewhere: asked again and again for what they hold."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog

from serve.core.card import ModelCard
from serve.core.catalog import ModelState
from serve.core.errors import EngineError, UnsupportedError
from serve.core.messages import ModelRef
from serve.engines.base import Engine
from serve.engines.canary import CANARY_TIMEOUT_S, canary
from serve.loading import DESCRIBE_TIMEOUT_S, House

log = structlog.get_logger(__name__)

BY_ROLLOUT = "engines that run elsewhere change models by rollout, not by this call"
# What a failed question says of a version that the engine had. By these, that it has it no more, or no
# longer as it was:
GONE = frozenset({"missing", "refused", "garbled"})
# By these, nothing for sure: the question is a prediction like any other, and waits behind those that run.
BUSY = frozenset({"timeout", "overloaded"})
# In a row, on an engine to which we have sent nothing that runs. By any other failure, it cannot answer.
BUSY_TO_FAIL = 2
# What waits for a version that is being replaced is answered by it, unless that takes longer.
REPLACE_S = 30.0


class RemoteWatcher:
    """Learns from a remote engine what it holds, and notices when it holds something else.

    What is asked for is a model by its name, which means the version that is the engine's default one, or
    NAME:VERSION. Whether the engine answers at all, between these questions, is the pool's to notice.
    """

    def __init__(self, house: House, engine: Engine, interval_s: float) -> None:
        """Watch nothing; `watch` says what, and `run` does it."""
        self._house = house
        self._engine = engine
        self._interval_s = interval_s
        self._asked: frozenset[str] = frozenset()
        self._held: dict[str, ModelCard] = {}
        self._busy: Counter[str] = Counter()
        self._said: dict[str, str] = {}

    def watch(self, models: frozenset[str], reason: str = "") -> None:
        """Ask for these models from now on; those that are no longer among them get no more batches.

        Args:
            models: NAME or NAME:VERSION; none of them lets go of the engine.
            reason: Why some are not.
        """
        self._asked = models
        for asked in self._held.keys() - models:
            self._let_go(self._held.pop(asked).ref, reason)

    async def run(self) -> None:
        """Ask for each model's card, again and again, until cancelled."""
        while True:
            await asyncio.gather(*(self._look(asked) for asked in self._asked))
            await asyncio.sleep(self._interval_s)

    async def _look(self, asked: str) -> None:
        name, _, version = asked.partition(":")
        try:
            card = await self._engine.describe(ModelRef(name=name, version=version), DESCRIBE_TIMEOUT_S)
            held = self._held.get(asked)
            if held is None or held.ref != card.ref:
                await canary(self._engine, card, CANARY_TIMEOUT_S)
                self._compare_with_others(card)
            else:
                self._compare(card, held.contents_sha256, "it had")
        except EngineError as error:
            self._failed(asked, error)
        except Exception:  # one engine's oddity must not end the watch over all
            log.exception("look failed", model=asked, engine=self._engine.name)
        else:
            await self._answered(asked, card)

    async def _answered(self, asked: str, card: ModelCard) -> None:
        held = self._held.get(asked)
        self._busy[asked] = 0
        self._said.pop(asked, None)
        if asked not in self._asked or (held is not None and held.ref == card.ref):
            return
        self._held[asked] = card
        self._house.admit(card, self._engine)
        log.info("model ready", model=str(card.ref), engine=self._engine.name)
        if held is not None:
            try:
                await self._finish(held.ref)
            finally:
                self._let_go(held.ref, f"replaced by {card.ref}")

    def _failed(self, asked: str, error: EngineError) -> None:
        held = self._held.get(asked)
        if asked not in self._asked:
            return
        if held is None:
            self._house.repository.expect(asked.partition(":")[0], error.message)
            self._say("model not ready", asked, error)
        elif error.reason in GONE:
            self._say("model lost", asked, error)
            del self._held[asked]
            self._let_go(held.ref, error.message)
        elif error.reason not in BUSY or self._is_stuck(asked, held.ref):
            self._say("model does not answer", asked, error)
            self._house.pool.fail(held.ref, self._engine, error)

    def _is_stuck(self, asked: str, ref: ModelRef) -> bool:
        if self._house.pool.running(ref):
            return False
        self._busy[asked] += 1
        return self._busy[asked] >= BUSY_TO_FAIL

    async def _finish(self, ref: ModelRef) -> None:
        """Let what waits for a version be answered, where no other engine will do it."""
        if self._holds(ref) or self._house.pool.holders(ref) != (self._engine,):
            return
        try:
            async with asyncio.timeout(REPLACE_S):
                await self._house.drain(ref)
        except TimeoutError:
            log.warning("model replaced while requests wait for it", model=str(ref), engine=self._engine.name)

    def _let_go(self, ref: ModelRef, reason: str) -> None:
        if not self._holds(ref):
            self._house.dismiss(ref, self._engine, ModelState.UNAVAILABLE, reason)

    def _holds(self, ref: ModelRef) -> bool:
        """Whether that is known; it may be both the default version and one asked for by its number."""
        return any(card.ref == ref for card in self._held.values())

    def _say(self, event: str, asked: str, error: EngineError) -> None:
        """Log it, once for as long as it stays the same."""
        if self._said.get(asked) != error.message:
            self._said[asked] = error.message
            log.warning(event, model=asked, engine=self._engine.name, error=error.message)

    def _compare_with_others(self, card: ModelCard) -> None:
        """Two engines must not answer for one version with different contents."""
        entry = self._house.repository.get(card.ref)
        if entry is not None and entry.card is not None and self._house.pool.holders(card.ref):
            self._compare(card, entry.card.contents_sha256, "other engines have")

    def _compare(self, card: ModelCard, expected: str, whose: str) -> None:
        if card.contents_sha256 != expected:
            message = (
                f"model {card.ref} on engine {self._engine.name} has contents {card.contents_sha256[:12]}, "
                f"{whose} {expected[:12]}: it gets no requests"
            )
            raise EngineError(message, reason="refused", retryable=False)


class RemoteOnly:
    """The loader of a gateway that cannot change models, as one whose engines run elsewhere."""

    def __init__(self, why: str = BY_ROLLOUT) -> None:
        """Refuse for that reason."""
        self._why = why

    async def load(self, name: str) -> None:
        """Refuse."""
        raise UnsupportedError(f"model {name!r}: {self._why}")

    async def unload(self, name: str) -> None:
        """Refuse."""
        raise UnsupportedError(f"model {name!r}: {self._why}")
