"""What models there are: every version that is known, its state, its card, and which one is the default."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from serve.core.card import ModelCard
from serve.core.catalog import IndexEntry, ModelState
from serve.core.errors import NotFoundError, UnavailableError
from serve.core.messages import ModelRef
from serve.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One version: its card is known once it has been loaded or described."""

    ref: ModelRef
    state: ModelState
    reason: str = ""
    card: ModelCard | None = None

    @property
    def ready(self) -> bool:
        """Whether it can answer."""
        return self.state is ModelState.READY and self.card is not None

    def serving_card(self) -> ModelCard:
        """Its card, if it can answer.

        Raises:
            UnavailableError: It cannot.
        """
        if self.state is not ModelState.READY:
            raise self._not_ready()
        return self.known_card()

    def known_card(self) -> ModelCard:
        """Its card, whether it can answer or not.

        Raises:
            UnavailableError: It has never been ready.
        """
        if self.card is None:
            raise self._not_ready()
        return self.card

    def _not_ready(self) -> UnavailableError:
        state = self.state.value.lower() + (f": {self.reason}" if self.reason else "")
        return UnavailableError(
            f"model {self.ref.name!r} version {self.ref.version} is not ready, it is {state}",
            retry_after_s=1.0,
        )


class Repository:
    """The table of versions; loaders write it, the service reads it."""

    def __init__(self, metrics: Metrics, pinned: Iterable[str] = ()) -> None:
        """Start with no version known.

        Args:
            metrics: Where readiness is shown.
            pinned: Names that must be ready for the server to be ready.

        Attributes:
            on_change: Called with the name of a model of which a version has changed.
        """
        self._metrics = metrics
        self._entries: dict[ModelRef, Entry] = {}
        self.pinned = set(pinned)
        self.on_change: Callable[[str], None] = lambda _name: None

    def put(self, entry: Entry) -> None:
        """Add or replace a version; a card that was known stays known."""
        old = self._entries.get(entry.ref)
        if old is None:
            self._metrics.start_model(entry.ref)
        elif entry.card is None:
            entry = replace(entry, card=old.card)
        self._entries[entry.ref] = entry
        self._metrics.model_ready.labels(entry.ref.name, entry.ref.version).set(entry.ready)
        self.on_change(entry.ref.name)

    def get(self, ref: ModelRef) -> Entry | None:
        """The entry of a version, if it is known."""
        return self._entries.get(ref)

    def entries(self, name: str = "") -> tuple[Entry, ...]:
        """Every version (of that name), by name and ascending version."""
        chosen = [entry for entry in self._entries.values() if name in ("", entry.ref.name)]
        return tuple(sorted(chosen, key=lambda entry: (entry.ref.name, int(entry.ref.version))))

    def find(self, name: str, version: str = "") -> Entry:
        """The version asked for; without one the highest that is ready, else the highest.

        Raises:
            NotFoundError: No such model, or no such version of it.
        """
        versions = self.entries(name) if name else ()
        if not versions:
            raise NotFoundError(f"model {name!r} is not found")
        if version:
            return self._exact(versions, version)
        ready = [entry for entry in versions if entry.ready]
        return (ready or versions)[-1]

    def ready(self, name: str) -> bool:
        """Whether any version of that model can answer."""
        return any(entry.ready for entry in self.entries(name))

    def all_ready(self) -> bool:
        """Whether every pinned model can answer, and there is one: before any is known, nothing is ready."""
        return bool(self.pinned) and all(self.ready(name) for name in self.pinned)

    def index(self, *, ready_only: bool = False) -> tuple[IndexEntry, ...]:
        """A line for every version."""
        return tuple(
            IndexEntry(name=entry.ref.name, version=entry.ref.version, state=entry.state, reason=entry.reason)
            for entry in self.entries()
            if entry.ready or not ready_only
        )

    @staticmethod
    def _exact(versions: tuple[Entry, ...], version: str) -> Entry:
        for entry in versions:
            if entry.ref.version == version:
                return entry
        known = ", ".join(entry.ref.version for entry in versions)
        raise NotFoundError(f"model {versions[0].ref.name!r} has no version {version!r}; known: {known}")
