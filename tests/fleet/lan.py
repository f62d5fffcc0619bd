"""Hosts of our own: network namespaces on one bridge, each with an address, and a link that can be cut."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.faults.network import Namespace, ip, namespace

_NETWORK = "10.78.0"
_LAST = 254


@dataclass(frozen=True, slots=True)
class Host:
    """A machine, or a pod: what runs in it has its own address and its own loopback."""

    space: Namespace
    number: int

    @property
    def address(self) -> str:
        """Where the others reach it."""
        return f"{_NETWORK}.{self.number}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread's new sockets, and its new processes, are in there."""
        with self.space.entered():
            yield

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Whatever is sent to it or by it vanishes meanwhile; nobody is told, and it runs on."""
        end = ("-n", self.space.name, "link", "set", "eth0")
        ip(*end, "down")
        try:
            yield
        finally:
            ip(*end, "up")


class Lan:
    """A node with a bridge, and the hosts that were plugged into it."""

    def __init__(self, folder: Path) -> None:
        """Make nothing yet; the folder gets the file that names the name server."""
        self._prefix = f"fleet-{secrets.token_hex(3)}"
        self._numbers = count(1)
        self._life = ExitStack()
        self._resolver = folder / "resolv.conf"

    @contextmanager
    def open(self) -> Iterator[Host]:
        """Make the node, where the name server is to run; all hosts go with it. Skips without root."""
        with self._life:
            number = next(self._numbers)
            node = Host(self._life.enter_context(namespace(f"{self._prefix}-node")), number)
            self._node = node
            ip("-n", node.space.name, "link", "add", "bridge0", "type", "bridge")
            ip("-n", node.space.name, "address", "add", f"{node.address}/24", "dev", "bridge0")
            ip("-n", node.space.name, "link", "set", "bridge0", "up")
            self._resolver.write_text(f"nameserver {node.address}\noptions timeout:1 attempts:2\n")
            yield node

    def plug(self) -> Host:
        """Add a host; the kernel takes it away with the node's other ones."""
        number = next(self._numbers)
        assert number <= _LAST, "no address is left"
        host = Host(self._life.enter_context(namespace(f"{self._prefix}-{number}")), number)
        near, node = f"pod{number}", self._node.space.name
        peer = ("peer", "name", "eth0", "netns", host.space.name)
        ip("-n", node, "link", "add", near, "type", "veth", *peer)
        ip("-n", node, "link", "set", near, "master", "bridge0", "up")
        ip("-n", host.space.name, "address", "add", f"{host.address}/24", "dev", "eth0")
        ip("-n", host.space.name, "link", "set", "eth0", "up")
        return host

    @property
    def resolving(self) -> Sequence[str]:
        """A command that becomes the one that it is given, which then asks the node's name server."""
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, str(self._resolver)]
