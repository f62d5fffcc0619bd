"""How models come in: from the model store into a supervised TorchServe, or from engines that hold them.

The walk of an archive: its hash is checked while it is copied into TorchServe's own store, TorchServe
loads it and warms it up, the engine describes it, and a canary prediction must come back finite. Only
then does the version become ready.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from serve.archive import Archive, copy_verified, open_archive, read_sums
from serve.batcher import Batcher
from serve.core.card import ModelCard
from serve.core.catalog import ModelState
from serve.core.errors import (
    ConflictError,
    EngineError,
    NotFoundError,
    ServeError,
    UnavailableError,
    UnsupportedError,
)
from serve.core.messages import Batch, Items, Kind, ModelRef
from serve.engines.base import Engine, ModelControl
from serve.engines.pool import EnginePool
from serve.repository import Entry, Repository

log = structlog.get_logger(__name__)

CANARY_TIMEOUT_S = 30.0
DESCRIBE_TIMEOUT_S = 5.0
# TorchServe loads one model in one process: importing torch is most of it, and two keep two cores busy.
LOADS_AT_ONCE = 2
UNLOAD_POLL_S = 0.02
BY_ROLLOUT = "engines that run elsewhere change models by rollout, not by this call"


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


async def canary(engine: Engine, card: ModelCard) -> None:
    """Predict one grey image, and see that what comes back is finite.

    Raises:
        EngineError: It is not, or there is no answer.
    """
    height, width = card.input_size
    blob = np.zeros((1, 3, height, width), dtype="<f4").tobytes()
    items = Items(kind=Kind.INPUT, blobs=(blob,), shape=(1, 3, height, width))
    batch = Batch(parts=(items,), outputs=frozenset({"probabilities"}))
    reply = await engine.predict(card.ref, batch, CANARY_TIMEOUT_S)
    rows = reply.outputs["probabilities"]
    if reply.status != (0,) or rows.shape != (1, card.classes) or not np.isfinite(rows).all():
        why = reply.messages.get(0, f"shape {rows.shape}")
        raise EngineError(
            f"{card.ref}: the canary prediction failed: {why}", reason="garbled", retryable=False
        )


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
        self._wanted: set[str] = set(options.models)
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
            await self._load_wanted()

    def lose_all(self, reason: str) -> None:
        """Say that nothing can be answered until `load_all` is through again: TorchServe is gone."""
        self._target = None
        for entry in self._house.repository.entries():
            if entry.state is ModelState.READY:
                self._house.dismiss(entry.ref, self._engine, ModelState.LOADING, reason)

    async def _load_wanted(self) -> None:
        files = _files(self._options.source)
        if not files:
            store = str(self._options.source)
            log.warning("the model store is empty", store=store, hint="attnserve build --demo")
        wanted = self._wanted or files.keys()
        self._house.repository.pinned |= wanted
        for name in sorted(wanted - files.keys()):
            log.error("model not in the model store", model=name, store=str(self._options.source))
        chosen = [path for name in sorted(wanted & files.keys()) for path in files[name]]
        await asyncio.gather(*(self._try(path) for path in chosen))

    async def load(self, name: str) -> None:
        """Load every archive of that name, anew or again.

        Raises:
            NotFoundError: The model store has none.
            ServeError: One cannot be loaded; a version that was ready stays ready.
        """
        paths = _files(self._options.source).get(name, [])
        if not paths:
            raise NotFoundError(f"model {name!r} is not in the model store")
        async with self._changes:
            for path in paths:
                await self._load_new(await self._open(path))
        self._house.repository.pinned.add(name)
        if self._wanted:
            self._wanted.add(name)

    async def unload(self, name: str) -> None:
        """Let every version of that name go, once what it runs is answered.

        Raises:
            NotFoundError: No version is known.
        """
        self._house.repository.find(name)
        self._wanted.discard(name)
        self._house.repository.pinned.discard(name)
        async with self._changes:
            for entry in self._house.repository.entries(name):
                if entry.state is ModelState.READY:
                    await self._unload(entry.ref)

    async def _unload(self, ref: ModelRef) -> None:
        self._house.repository.put(Entry(ref=ref, state=ModelState.UNLOADING))
        # A poll, since it is rare and short and no event need be kept for it.
        while self._house.batcher.waiting(ref) or self._house.pool.running(ref):  # noqa: ASYNC110
            await asyncio.sleep(UNLOAD_POLL_S)
        self._house.dismiss(ref, self._engine, ModelState.UNAVAILABLE, "unloaded")
        await self._control.unload(ref, self._options.load_timeout_s)
        log.info("model unloaded", model=str(ref))

    async def _open(self, path: Path) -> Archive:
        return await asyncio.to_thread(lambda: open_archive(path, read_sums(path.parent)))

    async def _try(self, path: Path) -> None:
        try:
            await self._load(await self._open(path))
        except ServeError as error:
            log.error("model not loaded", archive=path.name, error=error.message)  # noqa: TRY400  an expected end

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
                file_name = await asyncio.to_thread(copy_verified, archive, self._target)
                await self._control.load(file_name, self._options.load_timeout_s)
                card = await self._engine.describe(ref, DESCRIBE_TIMEOUT_S)
                await canary(self._engine, card)
        except ServeError as error:
            self._house.repository.put(Entry(ref=ref, state=ModelState.UNAVAILABLE, reason=error.message))
            raise
        self._house.admit(card, self._engine)
        log.info(
            "model ready", model=str(ref), attention=card.attention, contents_sha256=card.contents_sha256[:12]
        )


def _files(store: Path) -> dict[str, list[Path]]:
    """The archives of a folder by model: NAME.mar and NAME-vVERSION.mar."""
    found: dict[str, list[Path]] = {}
    for path in sorted(store.glob("*.mar")):
        found.setdefault(re.sub(r"(-v[0-9]+)?\.mar$", "", path.name), []).append(path)
    return found


class RemoteWatcher:
    """Learns from remote engines what they hold, and notices when they stop holding it."""

    def __init__(self, house: House, engine: Engine, models: tuple[str, ...], interval_s: float) -> None:
        """Watch the named models on one engine; `run` does it."""
        self._house = house
        self._engine = engine
        self._models = models
        self._interval_s = interval_s
        self._admitted: dict[str, ModelRef] = {}
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
            if known == card.ref:
                return
            self._compare(card)
            await canary(self._engine, card)
        except ServeError as error:
            self._lost(name, known, error)
            return
        if known is not None:
            self._house.dismiss(known, self._engine, ModelState.UNAVAILABLE, f"replaced by {card.ref}")
        self._admitted[name] = card.ref
        self._house.admit(card, self._engine)
        log.info("model ready", model=str(card.ref), engine=self._engine.name)

    def _lost(self, name: str, known: ModelRef | None, error: ServeError) -> None:
        if known is None:
            log.warning("model not ready", model=name, engine=self._engine.name, error=error.message)
            return
        del self._admitted[name]
        self._house.dismiss(known, self._engine, ModelState.UNAVAILABLE, error.message)
        log.warning("model lost", model=str(known), engine=self._engine.name, error=error.message)

    def _compare(self, card: ModelCard) -> None:
        """Two engines must not answer for one version with different contents."""
        entry = self._house.repository.get(card.ref)
        if entry is None or entry.card is None or not self._house.pool.holders(card.ref):
            return
        if entry.card.contents_sha256 != card.contents_sha256:
            message = (
                f"model {card.ref} on engine {self._engine.name} has contents {card.contents_sha256[:12]}, "
                f"other engines have {entry.card.contents_sha256[:12]}: it gets no requests"
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
