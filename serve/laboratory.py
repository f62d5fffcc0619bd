"""Everything about experiments in one gateway: made here by hand, started, run, ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry

from serve.audit import AuditLog
from serve.config import ConfigError
from serve.core.errors import UnavailableError
from serve.core.experiment import LIVE, Plan
from serve.experiment_metrics import ExperimentMetrics
from serve.experiments import keys
from serve.experiments.desk import Desk
from serve.experiments.desk_parts import DeskParts
from serve.experiments.directory import Directory
from serve.experiments.keys import Keys
from serve.experiments.mirror import MirrorRoom
from serve.experiments.notes import Notes
from serve.experiments.plans import Plans
from serve.experiments.recorder import Recorder
from serve.experiments.steward import Steward
from serve.experiments.threads import LedgerThreads
from serve.experiments.trials import TrialParts, Trials
from serve.inference import Inference
from serve.ledger.database import LedgerError, told
from serve.ledger.ledger import Ledger
from serve.metrics import Metrics
from serve.repository import Repository
from serve.settings import Config

log = structlog.get_logger(__name__)

PURGE_S = 3600.0
AGAIN_S = 5.0
# For people who ask for reports and exports: their threads, and how many may wait for one.
READERS, MOST_READING = 2, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the laboratory needs of the house."""

    repository: Repository
    inference: Inference
    metrics: Metrics
    registry: CollectorRegistry
    audit: AuditLog
    keys: Keys


class Laboratory:
    """The experiments of one gateway; empty where they are disabled.

    Attributes:
        directory: Tells experiments, aliases and models apart.
        trials: Answers requests to experiments; None where they are disabled.
        desk: What people do with experiments; None where they are disabled.
        metrics: Of the experiments; None where they are disabled.
        on_change: Called with a name when it may be called, or answered, otherwise than before.
    """

    def __init__(self, config: Config, around: Surroundings) -> None:
        """Make every object; nothing runs, and no database is opened yet.

        Raises:
            ConfigError: There can be no store at that address.
        """
        self._config = config
        self._bench = _Bench(config, around) if config.experiments.enabled else None
        self.trials = self._bench.trials if self._bench else None
        self.desk = self._bench.desk if self._bench else None
        self.metrics = self._bench.metrics if self._bench else None
        self.directory = Directory(around.repository, self._bench.plans if self._bench else None)
        self.on_change: Callable[[str], None] = lambda _name: None

    def make_keys(self) -> None:
        """Make the file with the keys where the operator has named none.

        Raises:
            OSError: It cannot be written.
        """
        if self._bench and not self._config.experiments.keys_file:
            keys.make(self._config.experiment_keys_path)

    async def start(self) -> None:
        """Open the ledger and read the experiments; one that does not answer is tried again later."""
        if self._bench:
            self._bench.plans.on_change = self._changed
            await self._bench.plans.refresh()

    async def run(self) -> None:
        """Follow the ledger, write records, look for harm; does not end by itself."""
        if self._bench:
            await self._bench.run()

    async def close(self, timeout_s: float) -> None:
        """Give up mirrored calls, and write down what is left, for some time."""
        if self._bench:
            await self._bench.close(timeout_s)

    def _changed(self, old: Plan, new: Plan) -> None:
        assert self._bench  # noqa: S101  who reads plans has a bench
        for name, experiment in new.experiments.items():
            if old.experiments.get(name) is experiment:  # of a thousand, one has changed
                continue
            if experiment.state in LIVE:
                self._bench.metrics.start_experiment(experiment)
            elif name in old.experiments and old.experiments[name].state in LIVE:
                self._bench.metrics.forget_experiment(name)
        self.on_change("")


def _ledger(url: str) -> Ledger:
    try:
        return Ledger(url)
    except LedgerError as error:
        raise ConfigError(f"experiments.store_url: {error.message}") from None


async def for_ever(run: Callable[[], Awaitable[None]]) -> None:
    """Begin a task again that a bug has ended: neither the gateway nor the other tasks end with it."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("a task of experiments failed, it begins again", after_s=AGAIN_S)
        await asyncio.sleep(AGAIN_S)


class _Bench:
    """The objects themselves."""

    def __init__(self, config: Config, around: Surroundings) -> None:
        given = config.experiments
        self._given = given
        self._ledger = _ledger(config.experiments_url)
        self._threads = LedgerThreads()
        self._readers = LedgerThreads(READERS, most_waiting=MOST_READING)
        self.metrics = ExperimentMetrics(around.registry)
        self.plans = Plans(self._ledger, self._threads, around.metrics, time.time, given.poll_interval_s)
        self._recorder = Recorder(self._ledger, self._threads, self.metrics, given.max_queued_records)
        self.trials = Trials(
            TrialParts(
                repository=around.repository,
                inference=around.inference,
                notes=Notes(self._recorder, self.metrics, around.keys),
                room=MirrorRoom(given.max_mirrors, config.max_request_bytes),
                mirror_timeout_s=given.mirror_timeout_s,
            )
        )
        parts = DeskParts(
            repository=around.repository,
            ledger=self._ledger,
            threads=self._threads,
            readers=self._readers,
            plans=self.plans,
            keys=around.keys,
            audit=around.audit,
            poll_interval_s=given.poll_interval_s,
            token_life_s=given.token_life_s,
        )
        self.desk = Desk(parts)
        self._steward = Steward(self.desk, parts, self.metrics)

    async def run(self) -> None:
        tasks = (self.plans.run, self._recorder.run, self._steward.run, self._purge_from_time_to_time)
        await asyncio.gather(*map(for_ever, tasks))

    async def close(self, timeout_s: float) -> None:
        await self.trials.close()
        await asyncio.gather(self._recorder.close(timeout_s), self.desk.close(timeout_s))
        for threads in (self._threads, self._readers):
            threads.close()
        self._ledger.close()

    async def _purge_from_time_to_time(self) -> None:
        while True:
            try:
                await self._threads.run(self._ledger.purge, time.time(), self._given.keep_raw_days)
            except UnavailableError as error:
                log.warning("old predictions are not removed", error=told(error))
            await asyncio.sleep(PURGE_S)
