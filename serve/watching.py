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
# These say that the engine cannot answer; the others only that it did not answer now.
LOST_AT_ONCE = frozenset({"unreachable", "missing", "refused", "garbled", "lost"})
FAILURES_TO_LOSE = 3


class RemoteWatcher:
    """Learns from a remote engine what it holds, and notices when it stops holding it."""

    def __init__(self, house: House, engine: Engine, models: tuple[str, ...], interval_s: float) -> None:
        """Watch the named models on one engine; `run` does it."""
        self._house = house
        self._engine = engine
        self._models = models
        self._interval_s = interval_s
        self._admitted: dict[str, ModelCard] = {}
        self._failures: Counter[str] = Counter()
        house.repository.pinned |= set(models)

    async def run(self) -> None:
        """Ask for each model's card, again and again, until cancelled."""
        while True:
            await asyncio.gather(*(self._look(name) for name in self._models))
            await asyncio.sleep(self._interval_s)

    async def _look(self, name: str) -> None:
        known = self._admitted.get(name)
        try:
            card = await self._engine.describe(ModelRef(name=name, version=""), DESCRIBE_TIMEOUT_S)
            if known is None or known.ref != card.ref:
                self._compare_with_others(card)
                await canary(self._engine, card, CANARY_TIMEOUT_S)
            else:
                self._compare(card, known.contents_sha256, "it had")
        except EngineError as error:
            self._failed(name, known, error)
            return
        self._failures[name] = 0
        if known is None or known.ref != card.ref:
            self._admit(name, known, card)

    def _admit(self, name: str, known: ModelCard | None, card: ModelCard) -> None:
        if known is not None:
            self._house.dismiss(known.ref, self._engine, ModelState.UNAVAILABLE, f"replaced by {card.ref}")
        self._admitted[name] = card
        self._house.admit(card, self._engine)
        log.info("model ready", model=str(card.ref), engine=self._engine.name)

    def _failed(self, name: str, known: ModelCard | None, error: EngineError) -> None:
        if known is None:
            log.warning("model not ready", model=name, engine=self._engine.name, error=error.message)
        elif self._is_loss(known, error):
            del self._admitted[name]
            self._failures[name] = 0
            self._house.dismiss(known.ref, self._engine, ModelState.UNAVAILABLE, error.message)
            log.warning("model lost", model=str(known.ref), engine=self._engine.name, error=error.message)

    def _is_loss(self, known: ModelCard, error: EngineError) -> bool:
        if error.reason in LOST_AT_ONCE:
            return True
        # The question is a prediction like any other, and waits behind the batches that are running.
        if self._house.pool.running(known.ref):
            return False
        self._failures[known.ref.name] += 1
        return self._failures[known.ref.name] >= FAILURES_TO_LOSE

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
    """The loader of a gateway whose engines run elsewhere: they change models by rollout."""

    async def load(self, name: str) -> None:
        """Refuse."""
        raise UnsupportedError(f"model {name!r}: {BY_ROLLOUT}")

    async def unload(self, name: str) -> None:
        """Refuse."""
        raise UnsupportedError(f"model {name!r}: {BY_ROLLOUT}")
