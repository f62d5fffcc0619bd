"""The engines of a gateway: a TorchServe of its own, or those that run elsewhere; started, watched, ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from serve.engines.torchserve import TorchServeControl, TorchServeEngine
from serve.engines.torchserve_link import ChannelOptions
from serve.loading import House, LocalLoader, LocalOptions
from serve.metrics import Metrics
from serve.service import Loader
from serve.settings import Config, EngineConfig
from serve.supervisor import Supervisor
from serve.torchserve_process import Launch
from serve.watching import RemoteOnly, RemoteWatcher

LOCAL = "local"


class Fleet(Protocol):
    """All engines of one gateway."""

    @property
    def loader(self) -> Loader:
        """What brings models in while the gateway runs."""
        ...

    async def start(self) -> None:
        """Start what has to be started; ServeError when that fails."""
        ...

    async def run(self) -> None:
        """Watch the engines until cancelled."""
        ...

    async def stop(self, timeout_s: float) -> None:
        """End everything that was started."""
        ...


def build_fleet(config: Config, house: House, metrics: Metrics) -> Fleet:
    """The fleet that the configuration describes."""
    return RemoteFleet(config, house, metrics) if config.engines else LocalFleet(config, house, metrics)


class LocalFleet:
    """One TorchServe beside the gateway, under its supervision."""

    def __init__(self, config: Config, house: House, metrics: Metrics) -> None:
        """Nothing runs before `start`."""
        given = config.torchserve
        metrics.start_engine(LOCAL)
        self._restarts = metrics.engine_restarts.labels(LOCAL)
        self._supervisor = Supervisor(
            config.run_dir,
            Launch(
                java_options=given.jvm_options,
                max_message_bytes=given.max_message_bytes,
                start_timeout_s=given.start_timeout_s,
            ),
            on_started=self._load,
            on_restart=self._lost,
        )
        options = ChannelOptions(max_message_bytes=given.max_message_bytes)
        where = self._supervisor
        self._engine = TorchServeEngine(
            LOCAL, lambda: where.endpoints.inference_grpc, lambda: where.endpoints.inference_token, options
        )
        self._control = TorchServeControl(
            LOCAL,
            lambda: where.endpoints.management_grpc,
            lambda: where.endpoints.management_token,
            where.tail,
        )
        archives = LocalOptions(
            source=config.model_store, models=config.models, load_timeout_s=given.load_timeout_s
        )
        self._loader = LocalLoader(house, self._engine, self._control, archives)

    @property
    def loader(self) -> Loader:
        """See `Fleet`."""
        return self._loader

    async def start(self) -> None:
        """See `Fleet`."""
        await self._supervisor.start()

    async def run(self) -> None:
        """See `Fleet`."""
        await self._supervisor.run()

    async def stop(self, timeout_s: float) -> None:
        """See `Fleet`."""
        await self._engine.close()
        await self._control.close()
        await self._supervisor.stop(timeout_s)

    async def _load(self) -> None:
        await self._loader.load_all(self._supervisor.store)

    def _lost(self) -> None:
        self._restarts.inc()
        self._loader.lose_all("TorchServe has ended and is started again")


class RemoteFleet:
    """TorchServes that run elsewhere and hold their models already."""

    def __init__(self, config: Config, house: House, metrics: Metrics) -> None:
        """Nothing is asked before `run`."""
        self.loader: Loader = RemoteOnly()
        self._engines = [_remote(engine, config) for engine in config.engines]
        self._watchers: Sequence[RemoteWatcher] = [
            RemoteWatcher(house, engine, given.models, config.attempts.probe_interval_s)
            for engine, given in zip(self._engines, config.engines, strict=True)
        ]
        for engine in self._engines:
            metrics.start_engine(engine.name)

    async def start(self) -> None:
        """See `Fleet`; there is nothing to start."""

    async def run(self) -> None:
        """See `Fleet`."""
        await asyncio.gather(*(watcher.run() for watcher in self._watchers))

    async def stop(self, _timeout_s: float) -> None:
        """See `Fleet`."""
        await asyncio.gather(*(engine.close() for engine in self._engines))


def _remote(given: EngineConfig, config: Config) -> TorchServeEngine:
    options = ChannelOptions(max_message_bytes=config.torchserve.max_message_bytes)
    return TorchServeEngine(given.address, given.address, None, options)
