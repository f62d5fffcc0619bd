"""How models come in from the model store into a supervised TorchServe.

The walk of an archive: its hash is checked while it is copied into TorchServe's own store, TorchServe
loads it and warms it up, the engine describes it, and a canary prediction must come back finite. Only
then does the version become ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import structlog

from serve.archive import Archive, copy_verified
from serve.batcher import Batcher
from serve.core.card import ModelCard
from serve.core.catalog import ModelState
from serve.core.errors import (
    ConflictError,
    NotFoundError,
    ServeError,
    UnavailableError,
)
from serve.core.messages import ModelRef
from serve.engines.base import Engine, ModelControl
from serve.engines.canary import CANARY_TIMEOUT_S, canary
from serve.engines.pool import EnginePool
from serve.repository import Entry, Repository
from serve.store import Store, may_be_name, read_store

log = structlog.get_logger(__name__)

DESCRIBE_TIMEOUT_S = 5.0
# TorchServe loads one model in one process: importing torch is most of it, and two keep two cores busy.
LOADS_AT_ONCE = 2
UNLOAD_POLL_S = 0.02
NOT_THERE = "is not in the model store"


@dataclass(frozen=True, slots=True)
class House:
    """What loaders write to."""

    repository: Repository
    pool: EnginePool
    batcher: Batcher

    def admit(self, card: ModelCard, engine: Engine) -> None:
        """A version can be answered by this engine from now on."""
        self.repository.put(Entry(ref=card.ref, state=ModelState.READY, card=card))
        self.pool.attach(card.ref, engine)

    def dismiss(self, ref: ModelRef, engine: Engine, state: ModelState, reason: str) -> None:
        """A version can no longer be answered by this engine; without another one it is not ready."""
        self.pool.detach(ref, engine)
        if self.pool.holders(ref):
            return
        self.repository.put(Entry(ref=ref, state=state, reason=reason))

        def gone() -> ServeError:
            message = f"model {ref.name!r} version {ref.version} went away: {reason}"
            return UnavailableError(message, retry_after_s=1.0)

        self.batcher.forget(ref, gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """Where archives come from.

    Attributes:
        source: The model store: archives and SHA256SUMS.
        models: Names to load; empty means all in the store.
        load_timeout_s: Longest time for a model to load and warm up.
    """

    source: Path
    models: tuple[str, ...] = ()
    load_timeout_s: float = 300.0


class LocalLoader:
    """Loads archives into the TorchServe that this gateway supervises."""

    def __init__(self, house: House, engine: Engine, control: ModelControl, options: LocalOptions) -> None:
        """Nothing is loaded before `load_all`."""
        self._house = house
        self._engine = engine
        self._control = control
        self._options = options
        # None: all that are in the store. What a caller has unloaded stays so in the next TorchServe, too.
        self._named: set[str] | None = set(options.models) or None
        self._unloaded: set[str] = set()
        # Begun to load or to unload and not ended well: this TorchServe may still have them registered.
        self._remains: set[ModelRef] = set()
        self._target: Path | None = None
        self._room = asyncio.Semaphore(LOADS_AT_ONCE)
        # Two loads of one model at once would find it half there.
        self._changes = asyncio.Lock()

    async def load_all(self, target: Path) -> None:
        """Load every wanted model into a TorchServe that has just started and has `target` for its store.

        One that cannot be loaded is shown as unavailable with the reason; the others are served.
        """
        async with self._changes:
            self._target = target
            self._remains.clear()
            await self._load_wanted(await self._read_store())

    def lose_all(self, reason: str) -> None:
        """Say that nothing can be answered until `load_all` is through again: TorchServe is gone."""
        self._target = None
        for entry in self._house.repository.entries():
            if entry.state is ModelState.READY:
                self._house.dismiss(entry.ref, self._engine, ModelState.LOADING, reason)

    async def load(self, name: str) -> None:
        """Load every archive of that name, anew or again.

        Raises:
            NotFoundError: The model store has none.
            ServeError: One cannot be loaded; a version that was ready stays ready.
        """
        async with self._changes:
            store = (await self._read_store()).only([name])
            if not store.names:
                raise NotFoundError(f"model {name!r} is not in the model store")
            self._show_refusals(store)
            for archive in store.archives:
                await self._load_new(archive)
            for refusal in store.refusals:
                raise refusal.error
            self._want(name)

    async def unload(self, name: str) -> None:
        """Let every version of that name go, once what it runs is answered.

        Raises:
            NotFoundError: No version is known.
            EngineError: TorchServe does not let one go.
        """
        async with self._changes:
            self._house.repository.find(name)
            self._unloaded.add(name)
            self._house.repository.pinned.discard(name)
            for entry in self._house.repository.entries(name):
                await self._unload(entry.ref)

    def _want(self, name: str) -> None:
        self._house.repository.pinned.add(name)
        self._unloaded.discard(name)
        if self._named is not None:
            self._named.add(name)

    async def _read_store(self) -> Store:
        return await asyncio.to_thread(read_store, self._options.source)

    async def _load_wanted(self, store: Store) -> None:
        if not store.names:
            where = str(self._options.source)
            log.warning("the model store is empty", store=where, hint="attnserve build --demo")
        wanted = (store.names if self._named is None else self._named) - self._unloaded
        self._house.repository.pinned |= wanted
        self._show_missing(wanted - store.names)
        for refusal in store.refusals:
            if refusal.ref is None or refusal.ref.name in wanted:
                log.error("model not loaded", archive=refusal.file_name, error=refusal.error.message)
        store = store.only(wanted)
        self._show_refusals(store)
        self._show_vanished({archive.card.ref for archive in store.archives})
        await asyncio.gather(*(self._try(archive) for archive in store.archives))

    def _show_missing(self, names: AbstractSet[str]) -> None:
        for name in sorted(names):
            log.error("model not in the model store", model=name, store=str(self._options.source))
            if may_be_name(name) and not self._house.repository.entries(name):
                self._put_unavailable(ModelRef(name=name, version="1"), NOT_THERE)

    def _show_refusals(self, store: Store) -> None:
        for refusal in store.refusals:
            entry = self._house.repository.get(refusal.ref) if refusal.ref else None
            # What is loaded goes on being served, whatever has become of its file.
            if refusal.ref and not (entry and entry.ready):
                self._put_unavailable(refusal.ref, refusal.error.message)

    def _show_vanished(self, there: AbstractSet[ModelRef]) -> None:
        """Versions that the last TorchServe had, and that this one will not have."""
        for entry in self._house.repository.entries():
            if entry.state is ModelState.LOADING and entry.ref not in there:
                self._put_unavailable(entry.ref, NOT_THERE)

    def _put_unavailable(self, ref: ModelRef, reason: str) -> None:
        self._house.repository.put(Entry(ref=ref, state=ModelState.UNAVAILABLE, reason=reason))

    async def _unload(self, ref: ModelRef) -> None:
        self._house.repository.put(Entry(ref=ref, state=ModelState.UNLOADING))
        # A poll, since it is rare and short and no event need be kept for it.
        while self._house.batcher.waiting(ref) or self._house.pool.running(ref):  # noqa: ASYNC110
            await asyncio.sleep(UNLOAD_POLL_S)
        reason = "unloaded"
        try:
            if self._target is not None:
                await self._unregister(ref)
        except ServeError as error:
            reason = f"could not be unloaded: {error.message}"
            raise
        finally:
            self._house.dismiss(ref, self._engine, ModelState.UNAVAILABLE, reason)
        log.info("model unloaded", model=str(ref))

    async def _unregister(self, ref: ModelRef) -> None:
        self._remains.add(ref)
        await self._control.unload(ref, self._options.load_timeout_s)
        self._remains.discard(ref)

    async def _try(self, archive: Archive) -> None:
        try:
            await self._load(archive)
        except ServeError as error:
            log.error("model not loaded", archive=archive.file_name, error=error.message)  # noqa: TRY400  an expected end

    async def _load_new(self, archive: Archive) -> None:
        entry = self._house.repository.get(archive.card.ref)
        if entry is None or not entry.ready:
            await self._load(archive)
        elif entry.known_card().contents_sha256 != archive.card.contents_sha256:
            message = f"model {archive.card.ref} is already served with other contents"
            raise ConflictError(f"{message}: give the new archive a higher version")

    async def _load(self, archive: Archive) -> None:
        if self._target is None:
            raise UnavailableError("TorchServe is not running", retry_after_s=1.0)
        ref = archive.card.ref
        self._house.repository.put(Entry(ref=ref, state=ModelState.LOADING))
        try:
            async with self._room:
                card = await self._bring_in(archive, self._target)
        except ServeError as error:
            self._put_unavailable(ref, error.message)
            raise
        self._house.admit(card, self._engine)
        log.info(
            "model ready", model=str(ref), attention=card.attention, contents_sha256=card.contents_sha256[:12]
        )

    async def _bring_in(self, archive: Archive, target: Path) -> ModelCard:
        ref = archive.card.ref
        file_name = await asyncio.to_thread(copy_verified, archive, target)
        if ref in self._remains:
            await self._unregister(ref)
        self._remains.add(ref)
        await self._control.load(file_name, self._options.load_timeout_s)
        card = await self._engine.describe(ref, DESCRIBE_TIMEOUT_S)
        await canary(self._engine, card, CANARY_TIMEOUT_S)
        self._remains.discard(ref)
        return card
