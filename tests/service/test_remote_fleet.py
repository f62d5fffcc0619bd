"""Engines behind host names: every address is one, and they come and go with what the names stand for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from serve.batcher import Batcher, Surroundings
from serve.core.catalog import ModelState
from serve.core.errors import EngineError, UnavailableError
from serve.core.messages import ModelRef
from serve.discovery import Address, Answers
from serve.engines.fake import FakeEngine, Pace
from serve.engines.pool import EnginePool
from serve.loading import House
from serve.metrics import Metrics
from serve.remote_fleet import RemoteFleet, World
from serve.repository import Repository
from serve.sections import AttemptsConfig, EngineConfig
from serve.settings import Config
from serve.usage import UsageBook
from tests.service.house import CARD, FAR, LIMITS, POOL_OPTIONS, REF, query_of
from tests.service.virtual_time import at_end, clock, in_virtual_time

SOON_S = 2.0
OTHER = replace(CARD, ref=ModelRef(name="digits_eca", version="1"))
BATCH_S = 1.5
LONGEST_S = 10.0


class Pod(FakeEngine):
    """An engine that remembers when it was hung up on, and waits for what runs before."""

    closed_at: float | None = None

    async def close(self, grace_s: float = 0.0) -> None:
        """Wait as a real one does."""
        await asyncio.sleep(min(grace_s, BATCH_S))
        await super().close()
        self.closed_at = clock()


class Cluster:
    """Pods behind host names, a gateway that has them for engines, and its table of models."""

    def __init__(self, *engines: EngineConfig) -> None:
        self.names: dict[str, Answers | str] = {}
        self.pods: dict[str, list[Pod]] = {}
        self.cards = [CARD, OTHER]
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.pool = EnginePool(metrics, POOL_OPTIONS, clock)
        at_end.append(self.pool.close)
        self.repository = Repository(metrics)
        self.batcher = Batcher(LIMITS, Surroundings(self.pool, metrics, UsageBook(), clock))
        house = House(self.repository, self.pool, self.batcher)
        attempts = AttemptsConfig(attempt_timeout_s=LONGEST_S)
        config = Config(engines=engines, attempts=attempts)
        self.fleet = RemoteFleet(config, house, metrics, World(self.look_up, self.connect))

    async def look_up(self, address: Address) -> Answers:
        """The addresses that a name has now."""
        answer = self.names[address.host]
        if isinstance(answer, str):
            raise UnavailableError(answer)
        return frozenset(Address(host=one.host, port=address.port) for one in answer)

    def connect(self, address: Address, _token_file: Path | None) -> Pod:
        """A pod that holds the models that pods hold now."""
        pod = Pod(str(address), self.cards, Pace(batch_s=0.1))
        self.pods.setdefault(str(address), []).append(pod)
        return pod

    def holders(self, ref: ModelRef = REF) -> list[str]:
        """The engines of a version."""
        return sorted(engine.name for engine in self.pool.holders(ref))

    def engines_shown(self) -> set[str]:
        """The engines that the metrics name."""
        return {
            sample.labels["engine"]
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "attnserve_engine_ejected"
        }

    def ask(self) -> asyncio.Task[object]:
        """Begin a request."""
        return asyncio.create_task(self.batcher.predict(CARD, query_of((b"x",)), FAR))


def at(*hosts: str) -> Answers:
    """What a name stands for."""
    return frozenset(Address(host=host, port=1) for host in hosts)


def engine(address: str, *models: str) -> EngineConfig:
    """An entry of the configuration."""
    return EngineConfig(address=address, models=models or (REF.name,))


@asynccontextmanager
async def running(cluster: Cluster) -> AsyncIterator[None]:
    """The fleet at work."""
    work = asyncio.create_task(cluster.fleet.run())
    try:
        await asyncio.sleep(0.5)
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await cluster.fleet.stop(0)


@in_virtual_time
async def test_every_address_of_a_name_is_an_engine() -> None:
    """With a name of its own in metrics and logs; a number is never looked up."""
    cluster = Cluster(engine("dns:///workers:7070"), engine("10.0.0.9:7071"))
    cluster.names["workers"] = at("10.0.0.1", "10.0.0.2")
    async with running(cluster):
        names = ["10.0.0.1:7070", "10.0.0.2:7070", "10.0.0.9:7071"]
        assert cluster.holders() == names
        assert cluster.engines_shown() == set(names)


@in_virtual_time
async def test_an_address_that_comes_and_goes() -> None:
    """A new one is used within two seconds; a vanished one gets nothing new, and then is forgotten."""
    cluster = Cluster(engine("workers:7070"))
    cluster.names["workers"] = at("10.0.0.1")
    async with running(cluster):
        cluster.names["workers"] = at("10.0.0.1", "10.0.0.2")
        await asyncio.sleep(SOON_S)
        assert cluster.holders() == ["10.0.0.1:7070", "10.0.0.2:7070"]
        cluster.names["workers"] = at("10.0.0.2")
        await asyncio.sleep(SOON_S)
        assert cluster.holders() == ["10.0.0.2:7070"]
        await asyncio.sleep(BATCH_S)
        assert cluster.engines_shown() == {"10.0.0.2:7070"}
        ((gone,), (stays,)) = cluster.pods["10.0.0.1:7070"], cluster.pods["10.0.0.2:7070"]
        assert gone.closed_at is not None
        assert stays.closed_at is None


@in_virtual_time
async def test_what_runs_on_a_vanished_engine_is_answered() -> None:
    """The connection is closed after the batch, not under it."""
    cluster = Cluster(engine("workers:7070"))
    cluster.names["workers"] = at("10.0.0.1")
    async with running(cluster):
        (pod,) = cluster.pods["10.0.0.1:7070"]
        pod.run_at(Pace(batch_s=BATCH_S))
        await asyncio.sleep(0.4)
        asked = cluster.ask()
        cluster.names["workers"] = at("10.0.0.2")
        await asked
        assert pod.batches[-1][1].count == 1
        assert pod.closed_at is None


@in_virtual_time
async def test_an_address_that_comes_back_before_it_is_forgotten() -> None:
    """It is an engine anew, and the end of its former self takes nothing from it."""
    cluster = Cluster(engine("workers:7070"))
    cluster.names["workers"] = at("10.0.0.1", "10.0.0.2")
    async with running(cluster):
        cluster.names["workers"] = at("10.0.0.2")
        await asyncio.sleep(1)
        cluster.names["workers"] = at("10.0.0.1", "10.0.0.2")
        await asyncio.sleep(SOON_S + BATCH_S)
        assert cluster.holders() == ["10.0.0.1:7070", "10.0.0.2:7070"]
        assert cluster.engines_shown() == {"10.0.0.1:7070", "10.0.0.2:7070"}
        former, present = cluster.pods["10.0.0.1:7070"]
        assert former.closed_at is not None
        assert present.closed_at is None


@in_virtual_time
async def test_a_name_server_that_fails_changes_nothing() -> None:
    """The last known addresses go on being used, until it names others."""
    cluster = Cluster(engine("workers:7070"))
    cluster.names["workers"] = at("10.0.0.1")
    async with running(cluster):
        cluster.names["workers"] = "host 'workers' cannot be looked up: SERVFAIL"
        await asyncio.sleep(60)
        assert cluster.holders() == ["10.0.0.1:7070"]
        assert cluster.repository.all_ready()
        await cluster.ask()


@in_virtual_time
async def test_a_name_that_was_never_found_says_why() -> None:
    """Its models are unavailable from the start, the gateway is not ready, and it recovers by itself."""
    cluster = Cluster(engine("workers:7070", REF.name, "digits_eca:1"))
    cluster.names["workers"] = why = "host 'workers' cannot be looked up: no such name"
    assert "no engine has been reached yet" in cluster.repository.find(REF.name).reason
    async with running(cluster):
        for name in (REF.name, "digits_eca"):
            entry = cluster.repository.find(name)
            assert (entry.state, entry.reason) == (ModelState.UNAVAILABLE, why)
        assert not cluster.repository.all_ready()
        cluster.names["workers"] = at("10.0.0.1")
        await asyncio.sleep(SOON_S)
        assert cluster.repository.all_ready()


@in_virtual_time
async def test_two_names_for_one_address_are_one_engine() -> None:
    """It is asked for the models of both, and keeps those of the name that still leads to it."""
    cluster = Cluster(engine("workers:7070"), engine("others:7070", "digits_eca"))
    cluster.names["workers"] = cluster.names["others"] = at("10.0.0.1")
    async with running(cluster):
        await asyncio.sleep(SOON_S)
        assert cluster.holders() == cluster.holders(OTHER.ref) == ["10.0.0.1:7070"]
        assert len(cluster.pods["10.0.0.1:7070"]) == 1
        cluster.names["workers"] = at("10.0.0.2")
        await asyncio.sleep(SOON_S)
        assert (cluster.holders(), cluster.holders(OTHER.ref)) == (["10.0.0.2:7070"], ["10.0.0.1:7070"])


@in_virtual_time
async def test_the_last_engine_leaves() -> None:
    """Callers hear that it is gone, and where it was; with the next one the model is back."""
    cluster = Cluster(engine("workers:7070"))
    cluster.names["workers"] = at("10.0.0.1")
    async with running(cluster):
        cluster.cards = []
        cluster.names["workers"] = at("10.0.0.2")
        await asyncio.sleep(1)
        with pytest.raises(
            UnavailableError, match=r"10\.0\.0\.1:7070 is no longer an address of workers:7070"
        ):
            cluster.repository.find(REF.name).serving_card()
        cluster.pods["10.0.0.2:7070"][0].hold(CARD)
        await asyncio.sleep(2 * SOON_S)
        assert cluster.repository.find(REF.name).ready


@in_virtual_time
async def test_stopping_waits_for_nobody() -> None:
    """An engine that is being let go with a batch on it does not hold up the end."""
    cluster = Cluster(engine("workers:7070"))
    cluster.names["workers"] = at("10.0.0.1")
    async with running(cluster):
        cluster.names["workers"] = at("10.0.0.2")
        await asyncio.sleep(1)
        began = clock()
    assert clock() - began <= BATCH_S
    for (pod,) in cluster.pods.values():
        with pytest.raises(EngineError):
            await pod.describe(REF, 1)
