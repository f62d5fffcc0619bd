"""What a check finds, and what it is given to look at."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from serve.sections import TokenConfig
from serve.settings import Config
from serve.store import Store, StoreReader


class Severity(StrEnum):
    """How bad it is; errors alone make `attnserve doctor` fail."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence on each of what there is, why it matters, and what to do."""

    severity: Severity
    what: str
    why: str = ""
    do: str = ""


def error(what: str, why: str, do: str) -> Finding:
    """Unsafe, or it will not work."""
    return Finding(severity=Severity.ERROR, what=what, why=why, do=do)


def warning(what: str, why: str, do: str) -> Finding:
    """It works, and is likely not what was meant, or not for long."""
    return Finding(severity=Severity.WARNING, what=what, why=why, do=do)


def info(what: str, why: str, do: str) -> Finding:
    """Good to know."""
    return Finding(severity=Severity.INFO, what=what, why=why, do=do)


class Patient:
    """A configuration, and the process's surroundings."""

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        *,
        path: Path | None = None,
        tokens: tuple[TokenConfig, ...] = (),
    ) -> None:
        """Look at nothing yet.

        Args:
            config: Which has been read without an error.
            environ: The process's variables.
            path: Where it was read from; None: defaults and variables only.
            tokens: All that are in force, those of tokens_file included.
        """
        self.config = config
        self.environ = environ
        self.path = path
        self.tokens = tokens

    @property
    def supervises(self) -> bool:
        """Whether TorchServe runs on this machine, beside the gateway."""
        return not self.config.engines

    @cached_property
    def store(self) -> Store:
        """The content of the model store; every archive is read once, which takes its time."""
        empty = Store(archives=(), refusals=())
        return StoreReader(self.config.model_store).read() if self.supervises else empty


def readable_by_others(path: Path) -> bool:
    """Whether users who are neither the owner nor of the group may read it."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def writable_by_others(path: Path) -> bool:
    """Whether such users may change it, or put another in its place."""
    if path.stat().st_mode & stat.S_IWOTH and not _is_sticky(path):
        return True
    folder = path.absolute().parent
    return bool(folder.stat().st_mode & stat.S_IWOTH) and not _is_sticky(folder)


def _is_sticky(path: Path) -> bool:
    """Whether it is a folder where everybody may only remove what is their own, as /tmp is."""
    mode = path.stat().st_mode
    return stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX)
