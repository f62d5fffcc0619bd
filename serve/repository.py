"""What models there are: every version that is known, its state, its card, and which one is the default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
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
        version = f" version {self.ref.version}" if self.ref.version else ""
        message = f"model {self.ref.name!r}{version} is not ready, it is {state}"
        return UnavailableError(message, retry_after_s=1.0)


class Repository:
    """The table of versions; loaders write it, the service reads it."""

    def __init__(
        self,
        metrics: Metrics,
        pinned: Iterable[str] = (),
        default_versions: Mapping[str, str] | None = None,
    ) -> None:
        """Start with no version known.

        Args:
            metrics: Where readiness is shown.
            pinned: Names that must be ready for the server to be ready.
            default_versions: The version of a model that answers where none is named.

        Attributes:
            on_change: Called with the name of a model of which a version has changed.
        """
        self._metrics = metrics
        self._entries: dict[ModelRef, Entry] = {}
        self._default_versions = dict(default_versions or {})
        self._expected: dict[str, str] = {}
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
        self._show_awaited(entry.ref.name)
        self._metrics.model_ready.labels(entry.ref.name, entry.ref.version).set(entry.ready)
        self.on_change(entry.ref.name)

    def expect(self, name: str, reason: str) -> None:
        """Say why no version of a model is known that should be: until one is, it is unavailable."""
        if self._expected.get(name) != reason:
            self._expected[name] = reason
            self._show_awaited(name)
            self.on_change(name)

    def remove(self, ref: ModelRef) -> None:
        """Forget a version, which must be known."""
        del self._entries[ref]
        self._metrics.model_ready.remove(ref.name, ref.version)
        self._show_awaited(ref.name)
        self.on_change(ref.name)

    def get(self, ref: ModelRef) -> Entry | None:
        """The entry of a version, if it is known."""
        return self._entries.get(ref)

    def entries(self, name: str = "") -> tuple[Entry, ...]:
        """Every version (of that name), by name and ascending version."""
        chosen = [entry for entry in self._entries.values() if name in ("", entry.ref.name)]
        return tuple(sorted(chosen, key=lambda entry: (entry.ref.name, int(entry.ref.version))))

    def find(self, name: str, version: str = "") -> Entry:
        """The version asked for; without one the pinned default, else the highest that is ready or known.

        A pinned default that is not ready is not replaced by another: whoever pins a version does not want
        the answers of a different one, and "not now" can be repeated while a wrong answer cannot be undone.

        Raises:
            NotFoundError: No such model, or no such version of it.
        """
        versions = self.entries(name) if name else ()
        if not versions and name in self._expected:
            return self._awaited(name)
        if not versions:
            raise NotFoundError(f"model {name!r} is not found")
        if version:
            return self._exact(versions, version)
        pinned = self.pinned_version(name)
        if pinned is not None:
            return self._entries.get(pinned) or _unknown(pinned)
        ready = [entry for entry in versions if entry.ready]
        return (ready or versions)[-1]

    def pinned_version(self, name: str) -> ModelRef | None:
        """The version that the configuration names as the default of a model, known or not."""
        version = self._default_versions.get(name)
        return ModelRef(name=name, version=version) if version else None

    def newer(self, ref: ModelRef, without: AbstractSet[ModelRef] = frozenset()) -> int:
        """How many higher versions of that model can answer, those apart that do not count."""
        higher = (entry for entry in self.entries(ref.name) if int(entry.ref.version) > int(ref.version))
        return sum(entry.ready and entry.ref not in without for entry in higher)

    def ready(self, name: str) -> bool:
        """Whether that model can answer where no version is named."""
        return bool(self.entries(name)) and self.find(name).ready

    def all_ready(self) -> bool:
        """Whether every pinned model can answer, and there is one: before any is known, nothing is ready."""
        return bool(self.pinned) and all(self.ready(name) for name in self.pinned)

    def index(self, *, ready_only: bool = False) -> tuple[IndexEntry, ...]:
        """A line for every version, and for every model that should be there and has none."""
        awaited = [self._awaited(name) for name in sorted(self._expected) if not self.entries(name)]
        return tuple(
            IndexEntry(name=entry.ref.name, version=entry.ref.version, state=entry.state, reason=entry.reason)
            for entry in (*self.entries(), *awaited)
            if entry.ready or not ready_only
        )

    def _show_awaited(self, name: str) -> None:
        # Else a model whose workers were gone before this process began would be missed by no alert.
        if name in self._expected and not self.entries(name):
            self._metrics.model_ready.labels(name, "").set(0)
        else:
            self._metrics.model_ready.remove_by_labels({"model": name, "version": ""})

    def _awaited(self, name: str) -> Entry:
        # Which versions there will be is not known, and a caller's version must not become a label.
        ref = ModelRef(name=name, version="")
        return Entry(ref=ref, state=ModelState.UNAVAILABLE, reason=self._expected[name])

    @staticmethod
    def _exact(versions: tuple[Entry, ...], version: str) -> Entry:
        for entry in versions:
            if entry.ref.version == version:
                return entry
        known = ", ".join(entry.ref.version for entry in versions)
        raise NotFoundError(f"model {versions[0].ref.name!r} has no version {version!r}; known: {known}")


def _unknown(ref: ModelRef) -> Entry:
    return Entry(ref=ref, state=ModelState.UNAVAILABLE, reason="it is the pinned default, and not there")
