"""The engines of a gateway that run elsewhere: found by address or by name, watched, let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from serve.discovery import Address, Answers, LookUp, NameWatch, look_up
from serve.engines.base import Engine
from serve.engines.torchserve import TorchServeEngine
from serve.engines.torchserve_link import ChannelOptions
from serve.loading import House
from serve.metrics import Metrics
from serve.sections import EngineConfig
from serve.service import Loader
from serve.settings import Config
from serve.token_file import TokenFile
from serve.watching import RemoteOnly, RemoteWatcher

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """A remote engine, and what asks it for its models."""

    engine: Engine
    watcher: RemoteWatcher
    work: asyncio.Task[None]


@dataclass(frozen=True, slots=True)
class World:
    """How a remote fleet finds and reaches its engines."""

    look_up: LookUp
    connect: Callable[[Address, Path | None], Engine]


class RemoteFleet:
    """TorchServes that run elsewhere and hold their models already; they come and go with their addresses."""

    def __init__(self, config: Config, house: House, metrics: Metrics, world: World | None = None) -> None:
        """Nothing is looked up or asked before `run`."""
        self.loader: Loader = RemoteOnly()
        self._config = config
        self._house = house
        self._metrics = metrics
        self._world = world or World(look_up, partial(_connect, config))
        self._members: dict[Address, Member] = {}
        # Where each configured engine is; several may turn out to be at one address.
        self._places: dict[EngineConfig, Answers] = {}
        self._leaving: dict[asyncio.Task[None], Engine] = {}
        for engine in config.engines:
            house.repository.pinned |= engine.names
            self._expect(engine, "no engine has been reached yet")

    def elsewhere(self) -> tuple[EngineConfig, ...]:
        """See `Fleet`."""
        return self._config.engines

    async def start(self) -> None:
        """Nothing has to be started."""

    async def run(self) -> None:
        """Find the engines and watch them, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for engine in self._config.engines:
                address = Address.parse(engine.address)
                if address.is_number:
                    self._place(tasks, engine, frozenset({address}))
                else:
                    tasks.create_task(self._follow(tasks, engine, address))

    async def stop(self, _timeout_s: float) -> None:
        """Hang up; the engines go on without us."""
        engines = [*(member.engine for member in self._members.values()), *self._leaving.values()]
        await asyncio.gather(*(engine.close() for engine in engines))
        await asyncio.gather(*self._leaving)

    async def _follow(self, tasks: asyncio.TaskGroup, engine: EngineConfig, address: Address) -> None:
        """Use whatever addresses a name stands for at the moment."""
        watch = NameWatch(
            address,
            self._config.attempts.resolve_interval_s,
            on_answers=lambda answers: self._place(tasks, engine, answers),
            on_failure=lambda why: self._expect(engine, why),
            look_up=self._world.look_up,
        )
        await watch.run()

    def _expect(self, engine: EngineConfig, why: str) -> None:
        for name in engine.names:
            self._house.repository.expect(name, why)

    def _place(self, tasks: asyncio.TaskGroup, engine: EngineConfig, answers: Answers) -> None:
        self._places[engine] = answers
        everywhere = frozenset[Address]().union(*self._places.values())
        for address in everywhere - self._members.keys():
            self._members[address] = self._join(tasks, address)
        for address in self._members.keys() - everywhere:
            self._leave(self._members.pop(address), f"{address} is no longer an address of {engine.address}")
        for address, member in self._members.items():
            member.watcher.watch(self._models_at(address), f"they are no longer asked of {address}")

    def _models_at(self, address: Address) -> frozenset[str]:
        return frozenset(
            model for engine, places in self._places.items() if address in places for model in engine.models
        )

    def _token_file_at(self, address: Address) -> Path | None:
        files = (engine.token_file for engine, places in self._places.items() if address in places)
        return next((file for file in files if file), None)

    def _join(self, tasks: asyncio.TaskGroup, address: Address) -> Member:
        engine = self._world.connect(address, self._token_file_at(address))
        self._metrics.start_engine(engine.name)
        watcher = RemoteWatcher(self._house, engine, self._config.attempts.probe_interval_s)
        log.info("engine found", engine=engine.name)
        return Member(engine, watcher, tasks.create_task(watcher.run(), name=f"watch {engine.name}"))

    def _leave(self, member: Member, why: str) -> None:
        log.info("engine gone", engine=member.engine.name, reason=why)
        member.work.cancel()
        member.watcher.watch(frozenset(), why)
        task = asyncio.create_task(self._part(member), name=f"leave {member.engine.name}")
        self._leaving[task] = member.engine
        task.add_done_callback(self._leaving.pop)

    async def _part(self, member: Member) -> None:
        """Let an engine finish what it has, then forget it, unless it has come back meanwhile."""
        await member.engine.close(self._config.attempts.attempt_timeout_s)
        if all(other.engine.name != member.engine.name for other in self._members.values()):
            self._house.pool.forget(member.engine)


def _connect(config: Config, address: Address, token_file: Path | None) -> Engine:
    options = ChannelOptions(max_message_bytes=config.torchserve.max_message_bytes)
    return TorchServeEngine(
        str(address), str(address), TokenFile(token_file) if token_file else None, options
    )
