"""One run of a supervised TorchServe, as the place that archives are brought into.

The walk of an archive: its hash is checked while it is copied into TorchServe's own store, TorchServe
loads it (its handler warms it up and compares it with its parity samples), the engine describes it, and a
canary prediction must come back finite. What fails on the way is cleared away: a worker that goes on
trying, and the copy.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from serve.archive import Archive, copy_verified, store_name
from serve.core.card import ModelCard
from serve.core.errors import EngineError, ServeError, UnavailableError
from serve.core.messages import ModelRef
from serve.engines.base import Engine, ModelControl
from serve.engines.canary import CANARY_TIMEOUT_S, canary
from serve.loading import DESCRIBE_TIMEOUT_S

log = structlog.get_logger(__name__)

UNLOAD_TIMEOUT_S = 30.0
# TorchServe loads one model in one process: importing torch is most of it, and two keep two cores busy.
LOADS_AT_ONCE = 2


class Dock:
    """A TorchServe that runs, from its start to its end."""

    def __init__(self, target: Path, engine: Engine, control: ModelControl, load_timeout_s: float) -> None:
        """Begin with a TorchServe that holds no model.

        Args:
            target: The folder that it loads archives from; may hold copies that its last run was given.
            engine: Runs its batches.
            control: Loads and unloads.
            load_timeout_s: Longest time for a model to load and warm up.
        """
        self._target = target
        self._engine = engine
        self._control = control
        self._load_timeout_s = load_timeout_s
        self._room = asyncio.Semaphore(LOADS_AT_ONCE)
        # Begun to load or to unload and not ended well: TorchServe may still have them registered.
        self._remains: set[ModelRef] = set()
        self._closed = False

    def close(self) -> None:
        """TorchServe has ended: what is being brought in fails, and nothing of it counts."""
        self._closed = True

    async def bring_in(self, archive: Archive, *, again: bool = False) -> ModelCard:
        """Load an archive, and see that it answers; gives the card that TorchServe tells.

        Args:
            archive: What to load.
            again: An earlier TorchServe held it: its copy is still there, whatever has become of its file.

        Raises:
            ServeError: Why it does not answer; nothing of it is left behind.
        """
        ref = archive.card.ref
        async with self._room:
            if not again:
                await asyncio.to_thread(copy_verified, archive, self._target)
            try:
                return await self._load(archive)
            except ServeError:
                await self._clear_away(ref)
                if not again:
                    self._remove_copy(ref)
                raise

    async def take_out(self, ref: ModelRef) -> None:
        """Let TorchServe forget a version; one that it does not hold is no error.

        Raises:
            EngineError: It does not, and it has not ended either.
        """
        self._remains.add(ref)
        if not self._closed:
            await self._control.unload(ref, UNLOAD_TIMEOUT_S)
        self._remains.discard(ref)
        self._remove_copy(ref)

    async def _load(self, archive: Archive) -> ModelCard:
        ref = archive.card.ref
        if ref in self._remains:
            await self._control.unload(ref, UNLOAD_TIMEOUT_S)
        self._check_open()
        self._remains.add(ref)
        await self._control.load(store_name(ref), self._load_timeout_s)
        card = await self._engine.describe(ref, DESCRIBE_TIMEOUT_S)
        if card.contents_sha256 != archive.card.contents_sha256:
            message = f"{ref}: TorchServe holds contents {card.contents_sha256[:12]}, not the archive's"
            raise EngineError(message, reason="refused", retryable=False)
        await canary(self._engine, card, CANARY_TIMEOUT_S)
        self._check_open()
        self._remains.discard(ref)
        return card

    async def _clear_away(self, ref: ModelRef) -> None:
        if self._closed or ref not in self._remains:
            return
        try:
            await self._control.unload(ref, UNLOAD_TIMEOUT_S)
            self._remains.discard(ref)
        except ServeError as error:
            log.warning("a failed model is not cleared away", model=str(ref), error=error.message)

    def _remove_copy(self, ref: ModelRef) -> None:
        (self._target / store_name(ref)).unlink(missing_ok=True)

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("TorchServe ended while the model was loading", retry_after_s=1.0)
