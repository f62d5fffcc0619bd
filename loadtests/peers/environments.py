"""A virtual environment for each peer, made once and kept, with exact versions."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loadtests.peers.catalogue import COMMON, Peer

DONE: Final = "installed.txt"  # what pip was asked for; an environment that says something else is made anew
MEGABYTES: Final = 330  # of each to download, with torch as CPU build, which pip keeps after the first
_LAST_LINES: Final = 3


class SetUpError(Exception):
    """An environment could not be made; the message has pip's reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environments:
    """Where they are.

    Attributes:
        folder: One folder a peer.
        given: Interpreters that have a peer installed already, by the peer's name.
        pip: More arguments for pip.
    """

    folder: Path
    given: Mapping[str, Path] = field(default_factory=dict)
    pip: tuple[str, ...] = ()

    def python(self, peer: Peer) -> Path:
        """The interpreter that runs a peer."""
        # Not resolved: a link to the interpreter is what makes an environment.
        return self.given.get(peer.name, self.folder.absolute() / peer.name / "bin" / "python")

    def missing(self, peers: Sequence[Peer]) -> list[Peer]:
        """Those that have to be installed first."""
        return [peer for peer in peers if peer.name not in self.given and not self._is_done(peer)]

    def set_up(self, peer: Peer) -> None:
        """Make the environment of a peer.

        Raises:
            SetUpError: It cannot be had on this Python and with this torch; the message says why.
        """
        folder = self.folder / peer.name
        _do([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(self.python(peer)), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        _do([*pip, *self.pip, *requirements(peer)])
        (folder / DONE).write_text(_text(peer), encoding="utf-8")

    def versions(self, peer: Peer) -> list[str]:
        """All that is installed, as `pip freeze` says it."""
        command = [str(self.python(peer)), "-m", "pip", "freeze", "--disable-pip-version-check"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own
        return done.stdout.splitlines()

    def _is_done(self, peer: Peer) -> bool:
        done = self.folder / peer.name / DONE
        return done.is_file() and done.read_text(encoding="utf-8") == _text(peer)


def requirements(peer: Peer) -> tuple[str, ...]:
    """All that pip is asked for."""
    return (*COMMON, *peer.requirements)


def set_up(where: Environments, peers: Sequence[Peer], say: Callable[[str], None]) -> dict[str, str]:
    """Make what is missing; gives the reason for each peer that has to be left out, by name."""
    missing = where.missing(peers)
    if missing:
        names = ", ".join(peer.title for peer in missing)
        say(
            f"Installing {names} under {where.folder}, each in an environment of its own: up to "
            f"{MEGABYTES * len(missing):,} MB to download and three times that on disk; more where "
            "pip's torch is not the CPU build."
        )
    failed: dict[str, str] = {}
    for peer in missing:
        say(f"{peer.title}: pip install {shlex.join(requirements(peer))}")
        try:
            where.set_up(peer)
        except SetUpError as error:
            failed[peer.name] = f"cannot be installed: {error}"
    return failed


def _text(peer: Peer) -> str:
    return "\n".join((sys.version.split()[0], *requirements(peer), ""))


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own
    if done.returncode:
        lines = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR")
        ] or done.stderr.splitlines()
        raise SetUpError(" ".join(lines[-_LAST_LINES:]) or f"{shlex.join(command)} failed")
