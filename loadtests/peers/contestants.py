"""The servers in one form, however they are started: attnserve with its own TorchServe, and the peers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from loadtests.peers.catalogue import ATTNSERVE, ATTNSERVE_DOORS, TORCHSERVE, Peer, Variant
from loadtests.peers.doors import Door, Target
from loadtests.peers.environments import Environments
from loadtests.peers.found import Served
from loadtests.peers.launch import Order, Running, program
from loadtests.peers.meter import Meter
from loadtests.peers.nets import PeersNet
from loadtests.peers.plan import Workload
from loadtests.peers.torchserves import torchserve
from loadtests.stack import running_stack

Starter = Callable[[], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of a server before it runs.

    Attributes:
        name: Of the peer, or attnserve.
        doors: How it is asked.
        net: What it serves; the labels are for doors whose answers name them.
        settings: For the record.
        versions: Of what is installed; asked for when it runs.
        recipe: The module that it says it serves; asked for when it runs.
    """

    name: str
    doors: tuple[Door, ...]
    net: PeersNet
    settings: Mapping[str, Any]
    versions: Callable[[], Sequence[str]] = tuple
    recipe: Callable[[Running], str] | None = None


@dataclass(slots=True)
class Contestant:
    """A server that can be started and stopped several times."""

    entry: Entry
    starter: Starter
    restless: bool = False
    _stack: ExitStack = field(default_factory=ExitStack)
    _running: Running | None = None
    _meter: Meter | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.entry.name

    @property
    def doors(self) -> tuple[Door, ...]:
        """How it is asked."""
        return self.entry.doors

    @property
    def meter(self) -> Meter:
        """Of its processes."""
        if self._meter is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._meter

    def start(self) -> None:
        """Start it; it may not answer yet."""
        self._running = self._stack.enter_context(self.starter())
        self._meter = Meter(self._running.pid)

    def stop(self) -> None:
        """End it, if it runs."""
        self._stack.close()
        self._meter = None

    def target(self, door: Door) -> Target:
        """Whom to ask."""
        if self._running is None:
            raise RuntimeError(f"{self.name} was never started")
        address = f"127.0.0.1:{self._running.ports[door.port]}"
        return Target(door=door, address=address, labels=self.entry.net.labels)

    def last_words(self) -> str:
        """The end of its log."""
        return "" if self._running is None else self._running.last_words()

    def served(self, workloads: Sequence[Workload]) -> Served:
        """For the record; while it runs."""
        entry, recipe = self.entry, self.entry.net.recipe
        if entry.recipe is not None and self._running is not None:
            recipe = entry.recipe(self._running)
        return Served(
            workloads=tuple(workload.name for workload in workloads),
            server=self.name,
            recipe=recipe,
            settings=entry.settings,
            versions=tuple(entry.versions()),
        )


def peer_server(peer: Peer, variant: Variant, where: Environments, net: PeersNet, folder: Path) -> Contestant:
    """A peer with a net."""
    setup = peer.setups[variant]
    order = Order(peer=peer, setup=setup, python=where.python(peer), net=net, folder=folder)
    begin = torchserve if peer.name == TORCHSERVE else program
    entry = Entry(
        name=peer.name,
        doors=setup.doors,
        net=net,
        settings={"variant": variant, **setup.settings, **setup.environment, **net.environment},
        versions=lambda: where.versions(peer),
    )
    return Contestant(entry, lambda: begin(order))


def attnserve(store: Path, net: PeersNet, folder: Path, *, wished: bool) -> Contestant:
    """The gateway with its own TorchServe, with its own defaults.

    Args:
        store: With the archive.
        net: What the peers have.
        folder: For its files.
        wished: Serve the recipe that the peers have, and no other.
    """
    settings = {"ATTNSERVE_MODEL_STORE": str(store), "ATTNSERVE_MODELS": json.dumps([net.model])}
    if wished:
        settings["ATTNSERVE_RECIPE"] = net.recipe
    doors = tuple(
        Door(name=door.name, protocol=door.protocol, path=path, port=door.port)
        for door, path in zip(ATTNSERVE_DOORS, (net.model, f"/v2/models/{net.model}/infer"), strict=True)
    )
    entry = Entry(
        name=ATTNSERVE,
        doors=doors,
        net=net,
        settings={"settings": "its defaults"} | ({"recipe": net.recipe} if wished else {}),
        recipe=lambda running: _recipe(running.ports[1], net.model),
    )
    return Contestant(entry, lambda: _stack(folder, settings))


@contextmanager
def _stack(folder: Path, settings: Mapping[str, str]) -> Iterator[Running]:
    with running_stack(folder, settings) as stack:
        addresses = (stack.target.grpc, stack.target.http)
        ports = tuple(int(address.rpartition(":")[2]) for address in addresses)
        yield Running(pid=stack.pid, ports=ports, log=folder / "gateway.log")


def _recipe(port: int, model: str) -> str:
    """What the worker says it serves."""
    url = f"http://127.0.0.1:{port}/v2/models/{model}/config"
    document = httpx.get(url, timeout=10.0, trust_env=False).json()
    parameters: Mapping[str, Any] = document.get("parameters") or {}
    found = parameters.get("recipe", "portable")
    return str(found.get("string_value", found) if isinstance(found, dict) else found)
