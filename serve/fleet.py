"""The engines of a gateway: a TorchServe of its own, or those that run elsewhere; started, watched, ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from serve.core.errors import UnavailableError
from serve.engines.torchserve import TorchServeControl, TorchServeEngine
from serve.engines.torchserve_link import ChannelOptions
from serve.loading import House
from serve.local_loader import LocalLoader, LocalOptions
from serve.metrics import Metrics
from serve.remote_fleet import RemoteFleet
from serve.sections import EngineConfig
from serve.service import Loader
from serve.settings import Config
from serve.store_watch import StoreWatch
from serve.supervisor import Supervisor
from serve.torchserve_process import Launch
from serve.watching import RemoteOnly

LOCAL = "local"
BY_RESTART = "several gateway processes (processes) change models by a restart, not by this call"


class Fleet(Protocol):
    """All engines of one gateway."""

    @property
    def loader(self) -> Loader:
        """What brings models in while the gateway runs."""
        ...

    def elsewhere(self) -> tuple[EngineConfig, ...]:
        """How another gateway process reaches the same models, as its configuration would list them."""
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


FleetOf = Callable[[Config, House, Metrics], Fleet]


def build_fleet(config: Config, house: House, metrics: Metrics) -> Fleet:
    """The fleet that the configuration describes."""
    return RemoteFleet(config, house, metrics) if config.engines else LocalFleet(config, house, metrics)


class LocalFleet:
    """One TorchServe beside the gateway, under its supervision."""

    def __init__(self, config: Config, house: House, metrics: Metrics) -> None:
        """Nothing runs before `start`."""
        given = config.torchserve
        self._shared = config.processes > 1
        self._repository = house.repository
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
            source=config.model_store,
            models=config.models,
            load_timeout_s=given.load_timeout_s,
            keep_versions=config.keep_versions,
        )
        self._loader = LocalLoader(house, self._engine, self._control, archives)
        interval_s = config.model_store_watch_s
        self._watch = (
            StoreWatch(config.model_store, interval_s, self._loader, metrics) if interval_s else None
        )

    @property
    def loader(self) -> Loader:
        """See `Fleet`."""
        return RemoteOnly(BY_RESTART) if self._shared else self._loader

    def elsewhere(self) -> tuple[EngineConfig, ...]:
        """See `Fleet`; nothing while no model is ready."""
        refs = [entry.ref for entry in self._repository.entries() if entry.ready]
        try:
            address = self._supervisor.endpoints.inference_grpc
        except UnavailableError:  # it has just ended, and its models are about to be said to be loading
            return ()
        token_file = self._supervisor.token_file.absolute()
        models = tuple(f"{ref.name}:{ref.version}" for ref in refs)
        return (EngineConfig(address=address, models=models, token_file=token_file),) if models else ()

    async def start(self) -> None:
        """See `Fleet`."""
        await self._supervisor.start()

    async def run(self) -> None:
        """See `Fleet`."""
        watching = asyncio.create_task(self._watch.run(), name="model-store-watch") if self._watch else None
        try:
            await self._supervisor.run()
        finally:
            if watching:
                watching.cancel()

    async def stop(self, timeout_s: float) -> None:
        """See `Fleet`."""
        await self._loader.close()
        await self._engine.close()
        await self._control.close()
        await self._supervisor.stop(timeout_s)

    async def _load(self) -> None:
        await self._loader.load_all(self._supervisor.store)

    def _lost(self) -> None:
        self._restarts.inc()
        self._loader.lose_all("TorchServe has ended and is started again")
