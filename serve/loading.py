"""What loaders write to: which versions can be answered, by which engines, and why the others cannot."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from serve.batcher import Batcher
from serve.core.card import ModelCard
from serve.core.catalog import ModelState
from serve.core.errors import ServeError, UnavailableError
from serve.core.messages import ModelRef
from serve.engines.base import Engine
from serve.engines.pool import EnginePool
from serve.repository import Entry, Repository

DESCRIBE_TIMEOUT_S = 5.0
DRAIN_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class House:
    """The table of versions, their engines and their queues, changed together."""

    repository: Repository
    pool: EnginePool
    batcher: Batcher

    def admit(self, card: ModelCard, engine: Engine) -> None:
        """A version can be answered by this engine from now on."""
        self.repository.put(Entry(ref=card.ref, state=ModelState.READY, card=card))
        self.pool.attach(card.ref, engine, card.contents_sha256)

    def dismiss(self, ref: ModelRef, engine: Engine, state: ModelState, reason: str) -> None:
        """A version can no longer be answered by this engine; without another one it is not ready."""
        self.pool.detach(ref, engine)
        if self.pool.holders(ref):
            self.reflect(ref, self.pool.why(ref))
            return
        self.repository.put(Entry(ref=ref, state=state, reason=reason))
        self._end_waiting(ref, reason)

    async def drain(self, ref: ModelRef) -> None:
        """Let a version take no new requests, and wait until those that it has are answered."""
        self.repository.put(Entry(ref=ref, state=ModelState.UNLOADING))
        # A poll, since it is rare and short and no event need be kept for it.
        while self.batcher.waiting(ref) or self.pool.running(ref):  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_POLL_S)

    def reflect(self, ref: ModelRef, reason: str) -> None:
        """Show whether the engines that hold a version can answer now, which the pool knows.

        Where none can, what waits ends with UNAVAILABLE. A version that no engine holds stays as it is.
        """
        entry = self.repository.get(ref)
        if entry is None:
            return
        able = self.pool.available(ref)
        if able and entry.state is ModelState.UNAVAILABLE:
            self.repository.put(Entry(ref=ref, state=ModelState.READY))
        elif not able and entry.state in (ModelState.READY, ModelState.UNLOADING):
            if entry.state is ModelState.READY:
                self.show_unavailable(ref, reason)
            self._end_waiting(ref, reason)

    def show_unavailable(self, ref: ModelRef, reason: str) -> None:
        """A version is known and cannot be answered."""
        self.repository.put(Entry(ref=ref, state=ModelState.UNAVAILABLE, reason=reason))

    def _end_waiting(self, ref: ModelRef, reason: str) -> None:
        def gone() -> ServeError:
            message = f"model {ref.name!r} version {ref.version} went away: {reason}"
            return UnavailableError(message, retry_after_s=1.0)

        self.batcher.forget(ref, gone)
