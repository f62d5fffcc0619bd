"""The wiring: every object of a gateway is made here, by hand, and started and drained in order.

Start: ports first (a busy one is said before anything else runs), then both doors and the metrics, then
the engines; requests that come before a model is ready hear so. End: new requests are refused, those in
flight are answered, then doors, engines and TorchServe go, all within `drain_timeout_s`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import asdict
from importlib.metadata import version

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from serve import laboratory
from serve.audit import Act, AuditFile, AuditLog
from serve.batcher import Batcher, Surroundings
from serve.core.batching import Limits
from serve.core.ratelimit import RateLimiter
from serve.core.room import Room
from serve.core.standing import Rules
from serve.doors import Addresses, Doors, SetupError
from serve.edge.grpc_api import build_grpc_server
from serve.edge.limits import EdgeLimits
from serve.edge.page_parts import PageParts
from serve.edge.rest_api import build_rest_app
from serve.engines.pool import EnginePool, PoolOptions
from serve.fleet import Fleet, FleetOf, build_fleet
from serve.inference import Inference, RequestLimits
from serve.laboratory import Laboratory
from serve.live import Live
from serve.loading import House
from serve.metrics import Metrics
from serve.repository import Repository
from serve.service import Parts, Service, ServiceOptions
from serve.settings import Config
from serve.siblings import Leader, Siblings
from serve.tracing import build_tracing
from serve.trust import Trust
from serve.usage import UsageBook

log = structlog.get_logger(__name__)

# Kept of drain_timeout_s for closing the doors and ending TorchServe after the last answer.
CLOSING_SHARE = 0.4
# For the last words of calls that were cut off, and for removing files and threads at the very end.
DOORS_GRACE_S = 0.5
_JOIN_POLL_S = 0.05
ENDING_S = 1.0
# For the last traces: a collector that is there has them in milliseconds.
LAST_TRACES_S = 2.0


class Gateway:
    """One gateway process: `start`, then `close`, which drains."""

    def __init__(self, config: Config, fleet_of: FleetOf = build_fleet) -> None:
        """Make every object; nothing runs and no port is bound yet.

        Raises:
            ConfigError: The store of experiments, or what traces requests, cannot be.
        """
        self.config = config
        # Described, so that whoever asks the page for some series alone (`name[]`) may ask for any of them.
        self.registry = CollectorRegistry(auto_describe=True)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        metrics, usage = Metrics(self.registry), UsageBook()
        pool = EnginePool(metrics, _pool_options(config), time.monotonic)
        repository = Repository(metrics, default_versions=config.default_versions)
        around = Surroundings(pool, metrics, usage, time.monotonic)
        batcher = Batcher(_batching_limits(config), around)
        house = House(repository, pool, batcher)
        pool.on_change = lambda ref: house.reflect(ref, pool.why(ref))
        self._pool = pool
        self.fleet: Fleet = fleet_of(config, house, metrics)
        self.audit = AuditLog(AuditFile(config.audit_path).append, metrics)
        self._trust = Trust(config, metrics, self.audit.reloaded)
        access, certificates = self._trust.access, self._trust.certificates
        rates = RateLimiter(access.limit_of)
        inference = Inference(batcher, rates, metrics, _request_limits(config))
        self._laboratory = Laboratory(
            config,
            laboratory.Surroundings(
                repository=repository,
                inference=inference,
                metrics=metrics,
                registry=self.registry,
                audit=self.audit,
                keys=self._trust.keys,
            ),
        )
        parts = Parts(
            repository=repository,
            directory=self._laboratory.directory,
            inference=inference,
            trials=self._laboratory.trials,
            batcher=batcher,
            loader=self.fleet.loader,
            metrics=metrics,
            usage=usage,
            audit=self.audit,
        )
        self._live = Live(metrics, self._laboratory.metrics, config.place)
        options = _service_options(config)
        self.service = Service(parts, options)
        self._tracing = build_tracing(config.tracing, options.version)
        limits, desk = _edge_limits(config), self._laboratory.desk
        self.grpc = build_grpc_server(self.service, access, limits, desk, self._tracing)
        rest = build_rest_app(self.service, access, limits, desk, self._tracing, self._page_parts())
        self._doors = Doors(config, self.grpc, rest, limits, certificates)
        self.addresses = Addresses(http="", grpc="", metrics="")
        repository.on_change = self.grpc.refresh
        self._laboratory.on_change = self.grpc.refresh
        self._siblings = Siblings(config, self._as_leader)
        self._watching: asyncio.Task[None] | None = None
        self._ends = 0.0
        self._exit = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Bind the ports, open the doors, start the engines and load the models.

        Raises:
            SetupError: A port is busy, a file, the run folder or a variable of the tracing library cannot be
                used; no engine has been started.
            ServeError: TorchServe cannot be started.
        """
        try:
            self._laboratory.make_keys()
            self._trust.reloader.load()
            if self._tracing is not None:
                self._tracing.start()
        except OSError as error:
            raise SetupError(f"{self.config.experiment_keys_path}: {error.strerror}") from None
        except ValueError as error:
            raise SetupError(str(error)) from None
        if self.config.share_ports:
            await self._models_first()
        self._exit.callback(self._doors.release)
        self.addresses = await self._doors.open(self.registry)
        self._exit.push_async_callback(self._end)
        self._publish_addresses()
        log.info("listening", **asdict(self.addresses))
        self.audit.record(Act(name="start", target="gateway"))
        await self._laboratory.start()
        await self.fleet.start()

    async def run(self) -> None:
        """Watch engines, experiments, and the files that may change; does not end by itself."""
        await asyncio.gather(
            self._watching or self.fleet.run(),
            self._trust.reloader.run(),
            self._laboratory.run(),
            self._live.run(),
            self._siblings.run(),
        )

    def reload(self) -> None:
        """Look at once at the files that may change: tokens and certificates."""
        self._trust.reloader.now()

    async def close(self) -> None:
        """Answer what is in flight, then end everything that was started, in the reverse order."""
        await self._exit.aclose()

    async def drain(self) -> None:
        """Take no new requests and answer those in flight, for some time; a second call changes nothing."""
        if self.service.draining:
            return
        self._ends = time.monotonic() + self.config.drain_timeout_s
        log.info("draining", inflight=self.service.inflight, drain_timeout_s=self.config.drain_timeout_s)
        self.grpc.drain()
        timeout_s = self.config.drain_timeout_s * (1 - CLOSING_SHARE)
        await asyncio.gather(self.service.drain(timeout_s), self._siblings.stop(timeout_s + DOORS_GRACE_S))

    async def _models_first(self) -> None:
        """Find the models before the ports are shared: a caller must not land where nothing answers yet."""
        self._watching = asyncio.create_task(self.fleet.run(), name="engines")
        self._exit.callback(self._watching.cancel)
        while not self.service.ready():  # noqa: ASYNC110  over once and for all in a moment
            await asyncio.sleep(_JOIN_POLL_S)

    def _page_parts(self) -> PageParts:
        given = self.config.page
        return PageParts(
            samples=given.samples,
            grafana_url=given.grafana_url,
            processes=self.config.place.of,
            live=self._live,
        )

    def _as_leader(self) -> Leader:
        return Leader(
            http_port=_port(self.addresses.http),
            grpc_port=_port(self.addresses.grpc),
            engines=self.fleet.elsewhere(),
        )

    async def _end(self) -> None:
        await self.drain()
        # Whoever is still here has heard why; the doors need a moment to send it.
        left = self._ends - time.monotonic() - ENDING_S
        await self._pool.close()
        await self._laboratory.close(max(DOORS_GRACE_S, left / 2))
        await asyncio.gather(self._close_doors(), self.fleet.stop(max(DOORS_GRACE_S, left)))
        log.info("drained")
        self.audit.record(Act(name="stop", target="gateway"))
        self.audit.close()

    async def _close_doors(self) -> None:
        await self._doors.close(DOORS_GRACE_S)
        if self._tracing is not None:  # every trace has its end by now
            left = self._ends - time.monotonic() - ENDING_S
            await self._tracing.close(min(LAST_TRACES_S, max(DOORS_GRACE_S, left)))

    def _publish_addresses(self) -> None:
        """For scripts that let the ports be picked."""
        file = self.config.run_dir / "addresses.json"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(asdict(self.addresses)) + "\n", encoding="utf-8")
        except OSError as error:
            raise SetupError(f"run_dir: {file.parent} cannot be written: {error.strerror}") from None
        self._exit.callback(file.unlink, missing_ok=True)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _pool_options(config: Config) -> PoolOptions:
    given = config.attempts
    rules = Rules(
        failures_to_eject=given.failures_to_eject,
        eject_s=given.eject_s,
        max_eject_s=given.max_eject_s,
        return_s=given.return_s,
    )
    return PoolOptions(
        workers=given.workers,
        attempts=given.attempts,
        attempt_timeout_s=given.attempt_timeout_s,
        patience_s=given.patience_s,
        retry_ratio=given.retry_ratio,
        slow_ratio=given.slow_ratio,
        poison_s=given.poison_s,
        rules=rules,
    )


def _batching_limits(config: Config) -> Limits:
    given = config.batching
    return Limits(
        max_batch=given.max_batch_images,
        max_queue_images=given.max_queue_images,
        max_queue_delay_s=given.max_queue_delay_ms / 1e3,
        prefetch=given.prefetch_batches,
    )


def _service_options(config: Config) -> ServiceOptions:
    return ServiceOptions(
        version=version("attnserve"),
        max_queue_delay_s=config.batching.max_queue_delay_ms / 1e3,
    )


def _request_limits(config: Config) -> RequestLimits:
    return RequestLimits(timeout_s=config.request_timeout_s, max_images=config.max_request_images)


def _edge_limits(config: Config) -> EdgeLimits:
    return EdgeLimits(
        max_message_bytes=config.max_request_bytes,
        max_connections=config.max_connections,
        max_connection_age_s=config.max_connection_age_s,
        header_timeout_s=config.header_timeout_s,
        body_timeout_s=config.body_timeout_s,
        room=Room(config.max_inflight_bytes),
        share_ports=config.shares_ports,
    )
