"""Network namespaces of our own: a gateway's, and one for each engine, joined by a cable that can be cut."""

from __future__ import annotations

import ctypes
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")


@dataclass(frozen=True, slots=True)
class Namespace:
    """One of them; see ip-netns(8)."""

    name: str

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread's new sockets, and its new processes, are in there."""
        with Path("/proc/thread-self/ns/net").open("rb") as before:
            _enter(NAMESPACES / self.name)
            try:
                yield
            finally:
                _set(before.fileno())


@dataclass(frozen=True, slots=True)
class Cable:
    """Joins two namespaces; addresses are 10.77.NUMBER.1 at the gateway's end and .2 at the engine's."""

    number: int
    near: Namespace
    far: Namespace

    @property
    def far_host(self) -> str:
        """The address at the engine's end."""
        return f"10.77.{self.number}.2"

    def lay(self) -> None:
        """Make both ends and connect them."""
        near, far = f"near{self.number}", f"far{self.number}"
        peer = ("peer", "name", far, "netns", self.far.name)
        ip("-n", self.near.name, "link", "add", near, "type", "veth", *peer)
        for end, space, last in ((near, self.near, 1), (far, self.far, 2)):
            ip("-n", space.name, "address", "add", f"10.77.{self.number}.{last}/30", "dev", end)
            ip("-n", space.name, "link", "set", end, "up")

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Whatever is sent meanwhile vanishes; nobody is told."""
        end = ("-n", self.far.name, "link", "set", f"far{self.number}")
        ip(*end, "down")
        try:
            yield
        finally:
            ip(*end, "up")


@contextmanager
def star(engines: int) -> Iterator[tuple[Namespace, list[Cable]]]:
    """A namespace for the gateway and, at the end of a cable each, one for every engine.

    Skips the test where namespaces may not be made.
    """
    prefix = f"faults-{secrets.token_hex(3)}"
    with ExitStack() as life:
        hub, *others = (life.enter_context(namespace(f"{prefix}-{n}")) for n in range(engines + 1))
        cables = [Cable(number, hub, other) for number, other in enumerate(others, 1)]
        for cable in cables:
            cable.lay()
        yield hub, cables


@contextmanager
def namespace(name: str) -> Iterator[Namespace]:
    """A new one while the context lasts; skips the test where that may not be."""
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces, which only root may")
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
    try:
        ip("-n", name, "link", "set", "lo", "up")
        yield Namespace(name)
    finally:
        ip("netns", "delete", name)


def ip(*arguments: str) -> None:
    """Change something of the network, as iproute2 does."""
    subprocess.run(["ip", *arguments], check=True)


def _enter(path: Path) -> None:
    with path.open("rb") as space:
        _set(space.fileno())


def _set(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
