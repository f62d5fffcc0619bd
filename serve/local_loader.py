"""How models come in from the model store into a supervised TorchServe, and how versions take turns.

A new version is loaded beside those that serve, and is the default from the moment at which it can answer;
after that the versions that are not kept are let go, each once everything that waits for it is answered.
A version that cannot be loaded is shown with the reason and changes nothing for the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from serve.archive import Archive
from serve.core.catalog import ModelState
from serve.core.errors import ConflictError, NotFoundError, ServeError, UnavailableError
from serve.core.messages import ModelRef
from serve.dock import Dock
from serve.engines.base import Engine, ModelControl
from serve.errands import Errands
from serve.loading import House
from serve.repository import Entry
from serve.shelf import NOT_THERE, Shelf
from serve.store import Store
from serve.wishes import Wishes

log = structlog.get_logger(__name__)

NOT_KEPT = "not kept: keep_versions is {}, and newer versions are ready"
EMPTY_HINT = "attnserve build --demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """Where archives come from, and which are served.

    Attributes:
        source: The model store: archives and SHA256SUMS.
        models: Names to load; empty means all in the store.
        load_timeout_s: Longest time for a model to load and warm up.
        keep_versions: Newest ready versions of a model that stay loaded, the pinned default besides; 0: all.
    """

    source: Path
    models: tuple[str, ...] = ()
    load_timeout_s: float = 300.0
    keep_versions: int = 0


class LocalLoader:
    """Loads archives into the TorchServe that this gateway supervises."""

    def __init__(self, house: House, engine: Engine, control: ModelControl, options: LocalOptions) -> None:
        """Nothing is loaded before `load_all`."""
        self._house = house
        self._repository = house.repository
        self._engine = engine
        self._control = control
        self._options = options
        self._wishes = Wishes(options.models)
        self._shelf = Shelf(house, options.source, self._wishes)
        self._dock: Dock | None = None
        # What TorchServe is to hold, by the archive that it came from.
        self._held: dict[ModelRef, Archive] = {}
        # Served until others do, since their files are gone: they do not count among the kept ones.
        self._leaving: set[ModelRef] = set()
        # Two changes of one model at once would find it half there; models do not wait for each other.
        # Gone with the last change, since callers may ask for any name.
        self._changes: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._errands = Errands()
        self._begun = False

    async def load_all(self, target: Path) -> None:
        """Load every wanted model into a TorchServe that has just started and has `target` for its store.

        What the last one held comes back as it was, whatever has become of its file. What cannot be
        loaded is shown as unavailable with the reason; the rest is served.
        """
        self._dock = Dock(target, self._engine, self._control, self._options.load_timeout_s)
        store = await self._shelf.read()
        if not store.names:
            log.warning("the model store is empty", store=str(self._options.source), hint=EMPTY_HINT)
        if not self._begun:
            # Later only what has been ready once: a bad file must not make a server unready that works.
            self._repository.pinned |= self._wishes.names(store)
            self._begun = True
        await asyncio.gather(*(self._restore(name, store) for name in self._names(store)))

    def lose_all(self, reason: str) -> None:
        """Say that nothing can be answered until `load_all` is through again: TorchServe is gone."""
        if self._dock is not None:
            self._dock.close()
        self._dock = None
        for entry in self._repository.entries():
            if entry.ref in self._held:
                self._house.dismiss(entry.ref, self._engine, ModelState.LOADING, reason)
            elif self._serves(entry.ref):  # it was being let go, and has nobody now to answer what waits
                self._house.dismiss(entry.ref, self._engine, ModelState.UNAVAILABLE, reason)

    async def load(self, name: str) -> None:
        """Load every archive of that name that is kept, anew or again.

        It goes on when the caller does not wait for its end.

        Raises:
            NotFoundError: The model store has none.
            ServeError: One cannot be loaded; a version that was ready stays ready.
        """
        await self._errands.run(self._load_named(name))

    async def unload(self, name: str) -> None:
        """Let every version of that name go, once what waits for it and what it runs is answered.

        It goes on when the caller does not wait for its end.

        Raises:
            NotFoundError: No version is known.
            EngineError: TorchServe does not let one go.
        """
        await self._errands.run(self._unload_named(name))

    async def follow(self, unsettled: AbstractSet[str]) -> None:
        """Serve what lies in the store now: load what is new, let go what is not there any more.

        Args:
            unsettled: Files that are just being changed: nothing happens to them.

        Raises:
            UnavailableError: TorchServe is not running; once it does, this has to be called again.
        """
        if self._dock is None:
            raise UnavailableError("TorchServe is not running", retry_after_s=1.0)
        store = await self._shelf.read(unsettled)
        await asyncio.gather(*(self._follow(name, store) for name in self._names(store)))
        # A server does not wait for what nobody wants to be there.
        self._repository.pinned.intersection_update(self._names(store))

    @property
    def sound(self) -> bool:
        """Whether everything that is wanted and there could be served when it was last tried."""
        return self._shelf.sound

    async def close(self) -> None:
        """Give up what is still being loaded or unloaded."""
        await self._errands.close()

    async def _restore(self, name: str, store: Store) -> None:
        async with self._change_of(name):
            held = [one for ref, one in self._held.items() if ref.name == name]
            await asyncio.gather(*map(self._consider, held))
            tried = {one.sha256 for one in held}
            mine = self._wishes.of(store).only([name]).archives
            await self._bring_up(name, [one for one in mine if one.sha256 not in tried])

    async def _load_named(self, name: str) -> None:
        async with self._change_of(name):
            mine = (await self._shelf.read()).only([name])
            if not mine.names:
                raise NotFoundError(f"model {name!r} {NOT_THERE}")
            self._shelf.show_refusals(mine)
            errors = await self._bring_up(name, mine.archives)
            for error in (*errors, *(refusal.error for refusal in mine.refusals)):
                raise error.again()

    async def _unload_named(self, name: str) -> None:
        async with self._change_of(name):
            self._repository.find(name)
            known = [entry.ref for entry in self._repository.entries(name)]
            there = {one.card.ref: one for one in (await self._shelf.read()).only([name]).archives}
            for ref in {*known, *there}:
                file = there.get(ref) or self._held.get(ref)
                self._wishes.unload(ref, file.sha256 if file else "")
            self._repository.pinned.discard(name)
            for ref in known:
                await self._let_go(ref, "unloaded")

    async def _follow(self, name: str, store: Store) -> None:
        async with self._change_of(name):
            mine = self._wishes.of(store).only([name]).archives
            leaving = [ref for ref in self._held if ref.name == name and self._is_gone(ref, store)]
            self._leaving.update(leaving)
            await self._bring_up(name, [one for one in mine if not self._shelf.tried(one)])
            self._leaving.difference_update(leaving)
            for ref in leaving:
                if self._has_heir(ref, store):
                    await self._try_to_let_go(ref, NOT_THERE)
            await self._let_go_surplus(name)

    async def _bring_up(self, name: str, archives: Iterable[Archive]) -> list[ServeError]:
        """Load the newest of some versions of a model, as many as are kept; then let go what is not kept."""
        newest_first = sorted(archives, key=lambda one: int(one.card.ref.version), reverse=True)
        if self._options.keep_versions:
            # One after the other: an older one is wanted only where a newer one fails.
            ends = [await self._consider(one) for one in newest_first]
        else:
            ends = await asyncio.gather(*map(self._consider, newest_first))
        await self._let_go_surplus(name)
        return [error for error in ends if error]

    async def _let_go_surplus(self, name: str) -> None:
        for entry in self._repository.entries(name):
            if entry.ready and self._is_surplus(entry.ref):
                await self._try_to_let_go(entry.ref, NOT_KEPT.format(self._options.keep_versions))

    async def _consider(self, archive: Archive) -> ServeError | None:
        """Load an archive if it is wanted and not there yet; gives what went wrong, which is shown."""
        ref = archive.card.ref
        try:
            if self._serves(ref):
                _check_same(self._repository.find(ref.name, ref.version), archive)
            elif self._is_surplus(ref):
                self._held.pop(ref, None)
                self._house.show_unavailable(ref, NOT_KEPT.format(self._options.keep_versions))
            else:
                await self._load(archive)
        except ServeError as error:
            self._shelf.blame(archive, error)
            return error
        self._shelf.clear(archive)
        return None

    async def _load(self, archive: Archive) -> None:
        if self._dock is None:
            raise UnavailableError("TorchServe is not running", retry_after_s=1.0)
        ref = archive.card.ref
        self._repository.put(Entry(ref=ref, state=ModelState.LOADING))
        try:
            card = await self._dock.bring_in(archive, again=self._held.get(ref) is archive)
        except ServeError as error:
            self._house.show_unavailable(ref, error.message)
            raise
        self._house.admit(card, self._engine)
        self._held[ref] = archive
        self._wishes.load(ref)
        self._repository.pinned.add(ref.name)
        log.info(
            "model ready",
            model=str(ref),
            attention=card.attention,
            contents_sha256=card.contents_sha256[:12],
            recipe=card.recipe,
        )

    async def _try_to_let_go(self, ref: ModelRef, reason: str) -> None:
        try:
            await self._let_go(ref, reason)
        except ServeError as error:
            log.error("model not unloaded", model=str(ref), error=error.message)  # noqa: TRY400  an expected end

    async def _let_go(self, ref: ModelRef, reason: str) -> None:
        dock = self._dock
        self._held.pop(ref, None)
        await self._house.drain(ref)
        try:
            if dock is not None:
                await dock.take_out(ref)
        except ServeError as error:
            reason = f"could not be unloaded: {error.message}"
            raise
        finally:
            self._house.dismiss(ref, self._engine, ModelState.UNAVAILABLE, reason)
        log.info("model unloaded", model=str(ref), reason=reason)

    def _change_of(self, name: str) -> asyncio.Lock:
        return self._changes.setdefault(name, asyncio.Lock())

    def _serves(self, ref: ModelRef) -> bool:
        return self._engine in self._house.pool.holders(ref)

    def _names(self, store: Store) -> AbstractSet[str]:
        return self._wishes.names(store) | {ref.name for ref in self._held}

    def _is_surplus(self, ref: ModelRef) -> bool:
        keep = self._options.keep_versions
        if not keep or ref == self._repository.pinned_version(ref.name):
            return False
        return self._repository.newer(ref, self._leaving) >= keep

    def _is_gone(self, ref: ModelRef, store: Store) -> bool:
        return ref not in store.refs and not store.unreadable(self._held[ref].file_name)

    def _has_heir(self, ref: ModelRef, store: Store) -> bool:
        """Whether what has taken the place of a version's file, if anything has, serves already."""
        if ref not in self._held:
            return False
        place = self._held[ref].file_name
        return all(self._serves(one.card.ref) for one in store.archives if one.file_name == place)


def _check_same(entry: Entry, archive: Archive) -> None:
    """A version that is served keeps its contents; raises ConflictError."""
    if entry.known_card().contents_sha256 != archive.card.contents_sha256:
        message = f"model {archive.card.ref} is already served with other contents"
        raise ConflictError(f"{message}: give the new archive a higher version")
