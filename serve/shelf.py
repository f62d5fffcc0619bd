"""The model store as the gateway shows it: what is no good there, what is missing, each said once."""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from pathlib import Path

import structlog

from serve.archive import Archive
from serve.core.catalog import ModelState
from serve.core.errors import ServeError
from serve.core.messages import ModelRef
from serve.loading import House
from serve.repository import Entry
from serve.store import Store, StoreReader, may_be_name
from serve.wishes import Wishes

log = structlog.get_logger(__name__)

NOT_THERE = "is not in the model store"
# An entry in one of these is being changed, and is shown by whoever does it.
_CHANGING = (ModelState.LOADING, ModelState.UNLOADING)


class Shelf:
    """Reads the model store, and keeps the index in step with what cannot be served of it."""

    def __init__(self, house: House, folder: Path, wishes: Wishes) -> None:
        """Nothing is read before `read`."""
        self._house = house
        self._wishes = wishes
        self._reader = StoreReader(folder)
        self._reading = asyncio.Lock()
        # Files that cannot be served: by name, the hash or the message that they had then.
        self._no_good: dict[str, str] = {}

    @property
    def sound(self) -> bool:
        """Whether every file that is wanted could be served when it was last tried."""
        return not self._no_good

    async def read(self, unsettled: AbstractSet[str] = frozenset()) -> Store:
        """What lies there now; the index shows afterwards what has become of it since the last time."""
        async with self._reading:
            store = await asyncio.to_thread(self._reader.read, unsettled)
        mine = self._wishes.of(store)
        files = {one.file_name for one in mine.archives} | {one.file_name for one in mine.refusals}
        self._no_good = {name: mark for name, mark in self._no_good.items() if name in files}
        for refusal in mine.refusals:
            self._note(refusal.file_name, refusal.error.message, refusal.error)
        self.show_refusals(mine)
        self._show_missing(store)
        return store

    def show_refusals(self, store: Store) -> None:
        """Show why the archives of a store cannot be opened; what is served hides its file's fate."""
        for refusal in store.refusals:
            if refusal.ref is None or self._house.pool.holders(refusal.ref):
                continue
            entry = self._house.repository.get(refusal.ref)
            if entry is None or entry.state not in _CHANGING:
                self._house.show_unavailable(refusal.ref, refusal.error.message)

    def tried(self, archive: Archive) -> bool:
        """Whether this very file could not be served before."""
        return self._no_good.get(archive.file_name) == archive.sha256

    def blame(self, archive: Archive, error: ServeError) -> None:
        """A file cannot be served."""
        self._note(archive.file_name, archive.sha256, error)

    def clear(self, archive: Archive) -> None:
        """Nothing is wrong with a file (any more)."""
        self._no_good.pop(archive.file_name, None)

    def _note(self, file_name: str, mark: str, error: ServeError) -> None:
        if self._no_good.get(file_name) != mark:
            self._no_good[file_name] = mark
            log.error("model not loaded", archive=file_name, error=error.message)

    def _show_missing(self, store: Store) -> None:
        repository = self._house.repository
        missing = self._wishes.names(store) - store.names
        for entry in repository.entries():
            if _is_stale(entry, store, missing):
                repository.remove(entry.ref)
        for name in sorted(missing):
            if may_be_name(name) and not repository.entries(name):
                log.error("model not in the model store", model=name)
                self._house.show_unavailable(ModelRef(name=name, version="1"), NOT_THERE)


def _is_stale(entry: Entry, store: Store, missing: AbstractSet[str]) -> bool:
    """Whether a version that was never ready, perhaps only guessed from a file's name, is there no more."""
    if entry.card or entry.state is not ModelState.UNAVAILABLE:
        return False
    # What is in a file that is being changed cannot be told now.
    if entry.ref in store.refs or store.unsettled:
        return False
    return entry.reason != NOT_THERE or entry.ref.name not in missing
