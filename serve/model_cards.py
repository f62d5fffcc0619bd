"""ModelCards: what people are shown of each version: its state, its card, what calls it, what it has done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serve.core.card import ModelCard
from serve.core.catalog import IndexEntry, ModelUsage
from serve.core.errors import NotFoundError
from serve.core.messages import ModelRef
from serve.experiments.directory import Directory
from serve.repository import Repository
from serve.usage import UsageBook


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """One version, ready or not.

    Attributes:
        line: Its name, version and state; the version is "" where a model should be there and none is.
        card: None while it has never been ready.
        default: Whether it answers where the model is called without a version.
        aliases: Other names by which it is called now.
        usage: What it has done since the start.
    """

    line: IndexEntry
    card: ModelCard | None
    default: bool
    aliases: tuple[str, ...]
    usage: ModelUsage


class ModelCards:
    """Puts together what the repository, the directory and the usage book know.

    Attributes:
        since: When counting began, as Unix time.
    """

    def __init__(
        self,
        repository: Repository,
        directory: Directory,
        usage: UsageBook,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Look at nothing yet; `clock` gives Unix time."""
        self._repository = repository
        self._directory = directory
        self._usage = usage
        self.since = clock()

    def all(self) -> list[KnownModel]:
        """Every version that is known, by name and ascending version."""
        index = self._repository.index()
        defaults = {line.name: self._repository.find(line.name).ref for line in index}
        aliases = self._directory.aliases()
        return [self._known(line, defaults[line.name], aliases) for line in index]

    def one(self, name: str, version: str) -> KnownModel:
        """One of them.

        Raises:
            NotFoundError: It is not known.
        """
        entry = self._repository.find(name, version)
        if not entry.ref.version:
            raise NotFoundError(f"model {name!r} has no version {version!r}: {entry.reason}")
        line = IndexEntry(name=name, version=version, state=entry.state, reason=entry.reason)
        return self._known(line, self._repository.find(name).ref, self._directory.aliases())

    def _known(
        self, line: IndexEntry, default: ModelRef, aliases: Mapping[ModelRef, tuple[str, ...]]
    ) -> KnownModel:
        ref = ModelRef(name=line.name, version=line.version)
        entry = self._repository.get(ref)
        return KnownModel(
            line=line,
            card=entry.card if entry else None,
            default=entry is not None and default == ref,
            aliases=aliases.get(ref, ()),
            usage=self._usage.read(ref),
        )
