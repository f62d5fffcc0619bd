"""Which models are to be served: those that are named or all in the store, less what callers unloaded."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from serve.core.messages import ModelRef
from serve.store import Store


class Wishes:
    """Remembers what was asked for, over any number of TorchServes.

    What a caller has unloaded is remembered with the file that it came from: it is wanted again when that
    file changes, or when a caller loads it.
    """

    def __init__(self, models: Iterable[str]) -> None:
        """Want these models; none means all that are in the store."""
        self._named: set[str] | None = set(models) or None
        self._unloaded: dict[ModelRef, str] = {}

    def load(self, ref: ModelRef) -> None:
        """A version has been loaded: it is wanted from now on."""
        self._unloaded.pop(ref, None)
        if self._named is not None:
            self._named.add(ref.name)

    def unload(self, ref: ModelRef, sha256: str) -> None:
        """A version is not wanted any more, as long as its file has that hash ("" for one without)."""
        self._unloaded[ref] = sha256

    def of(self, store: Store) -> Store:
        """What of a store is wanted, and the files of which nobody knows what they are."""
        return Store(
            archives=tuple(
                one
                for one in store.archives
                if self._names(one.card.ref) and self._unloaded.get(one.card.ref) != one.sha256
            ),
            refusals=tuple(
                one
                for one in store.refusals
                if one.ref is None or (self._names(one.ref) and one.ref not in self._unloaded)
            ),
            unsettled=store.unsettled,
        )

    def names(self, store: Store) -> AbstractSet[str]:
        """The models that are wanted, whether they are in the store or not."""
        there = self.of(store).names
        asleep = {ref.name for ref in self._unloaded} - there
        return ((self._named or set()) | there) - asleep

    def _names(self, ref: ModelRef) -> bool:
        return self._named is None or ref.name in self._named
