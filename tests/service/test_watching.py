"""How models come in from engines that hold them, and how it is noticed that they hold something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from serve.batcher import Batcher, Surroundings
from serve.core.card import ModelCard
from serve.core.catalog import ModelState
from serve.core.errors import EngineError, NotFoundError, UnavailableError
from serve.core.messages import Batch, BatchReply, ModelRef
from serve.engines.fake import FakeEngine, Pace
from serve.engines.pool import EnginePool
from serve.loading import House
from serve.metrics import Metrics
from serve.repository import Repository
from serve.usage import UsageBook
from serve.watching import RemoteWatcher
from tests.service.house import CARD, FAR, LIMITS, POOL_OPTIONS, REF, query_of
from tests.service.virtual_time import at_end, clock, in_virtual_time

INTERVAL_S = 2.0
NAME = frozenset({REF.name})
SECOND = replace(CARD, ref=replace(REF, version="2"), contents_sha256="2" * 64)
OTHER = replace(CARD, contents_sha256="d" * 64)


class Watched:
    """A house with watchers for some engines, which look every INTERVAL_S seconds."""

    def __init__(self, *engines: FakeEngine, models: frozenset[str] = NAME) -> None:
        metrics = Metrics(CollectorRegistry())
        self.pool = EnginePool(metrics, POOL_OPTIONS, clock)
        at_end.append(self.pool.close)
        self.repository = Repository(metrics)
        batcher = Batcher(LIMITS, Surroundings(self.pool, metrics, UsageBook(), clock))
        self.house = House(self.repository, self.pool, batcher)
        self.pool.on_change = lambda ref: self.house.reflect(ref, self.pool.why(ref))
        self.watchers = [RemoteWatcher(self.house, engine, INTERVAL_S) for engine in engines]
        for watcher in self.watchers:
            watcher.watch(models)

    def holders(self, ref: ModelRef = REF) -> list[str]:
        """The engines that hold a version."""
        return [engine.name for engine in self.pool.holders(ref)]

    def states(self) -> dict[str, str]:
        """The state of every version that is known."""
        return {f"{e.name}:{e.version}": e.state.value for e in self.repository.index()}

    def ask(self, card: ModelCard = CARD) -> asyncio.Task[object]:
        """Begin a request."""
        return asyncio.create_task(self.house.batcher.predict(card, query_of((b"x",), card), FAR))


class Faulty(FakeEngine):
    """A fake engine whose `describe`, or all of it, fails as told."""

    error: EngineError | None = None
    deaf = False

    async def describe(self, ref: ModelRef, timeout_s: float) -> ModelCard:
        """The card, or the error."""
        if self.error:
            raise self.error
        return await super().describe(ref, timeout_s)

    async def predict(self, ref: ModelRef, batch: Batch, timeout_s: float) -> BatchReply:
        """The answer, or the error."""
        if self.error and self.deaf:
            raise self.error
        return await super().predict(ref, batch, timeout_s)


@asynccontextmanager
async def watched(*engines: FakeEngine, models: frozenset[str] = NAME) -> AsyncIterator[Watched]:
    """Watchers at work; half an interval has passed."""
    house = Watched(*engines, models=models)
    tasks = [asyncio.create_task(watcher.run()) for watcher in house.watchers]
    await asyncio.sleep(INTERVAL_S / 2)
    try:
        yield house
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@in_virtual_time
async def test_a_busy_engine_is_not_lost() -> None:
    """While a batch runs on it, an engine that has no time to describe its model keeps its requests."""
    engine = Faulty("a", [CARD], Pace(batch_s=10.0))
    async with watched(engine) as house:
        await asyncio.sleep(10)
        asked = house.ask()
        engine.error = EngineError("no answer in time", reason="timeout")
        await asyncio.sleep(INTERVAL_S * 3)
        assert house.pool.available(REF)
        engine.error = None
        await asked
        assert house.pool.available(REF)


@in_virtual_time
@pytest.mark.parametrize("reason", ["timeout", "overloaded"])
async def test_an_idle_engine_that_stays_silent_is_ejected(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """One silence may be chance, and an answer between two begins the count again."""
    engine = Faulty("a", [CARD])
    async with watched(engine) as house:
        heard: list[tuple[ModelRef, str]] = []
        monkeypatch.setattr(house.pool, "fail", lambda ref, _, error: heard.append((ref, error.reason)))
        for silent, failures in ((True, 0), (False, 0), (True, 0), (True, 1)):
            engine.error = EngineError("not now", reason=reason) if silent else None
            await asyncio.sleep(INTERVAL_S)
            assert heard == [(REF, reason)] * failures


@in_virtual_time
async def test_an_engine_that_cannot_be_reached_is_ejected_and_comes_back() -> None:
    """At once; it goes on holding its models, and the pool finds out that it is well again."""
    engine = Faulty("a", [CARD])
    engine.deaf = True
    async with watched(engine) as house:
        engine.error = EngineError("the network is cut", reason="unreachable")
        await asyncio.sleep(INTERVAL_S)
        assert (house.holders(), house.pool.available(REF)) == (["a"], False)
        assert house.states() == {str(REF): "UNAVAILABLE"}
        assert "the network is cut" in house.repository.find(REF.name).reason
        engine.error = None
        await asyncio.sleep(POOL_OPTIONS.rules.max_eject_s)
        assert house.states() == {str(REF): "READY"}
        await house.ask()


@in_virtual_time
@pytest.mark.parametrize("reason", ["missing", "refused", "garbled"])
async def test_an_engine_that_holds_it_no_more_is_dropped(reason: str) -> None:
    """At once, until it has been described again and has answered a canary; what runs goes on."""
    engine = Faulty("a", [CARD], Pace(batch_s=5.0))
    async with watched(engine) as house:
        await asyncio.sleep(5)
        asked = house.ask()
        engine.error = EngineError("gone", reason=reason)
        await asyncio.sleep(INTERVAL_S)
        assert (house.holders(), house.states()) == ([], {str(REF): "UNAVAILABLE"})
        assert house.repository.find(REF.name).reason == "gone"
        await asked
        engine.error = None
        await asyncio.sleep(2 * INTERVAL_S + 5)
        assert (house.holders(), house.states()) == (["a"], {str(REF): "READY"})


@in_virtual_time
async def test_an_ejected_engine_does_not_answer_for_one_that_is_gone() -> None:
    """When the last engine that can answer drops a version, it is not ready, although another one has it."""
    first, second = Faulty("a", [CARD]), FakeEngine("b", [CARD])
    first.deaf = True
    async with watched(first, second) as house:
        first.error = EngineError("engine a: the network is cut", reason="unreachable")
        await asyncio.sleep(INTERVAL_S)
        assert house.states() == {str(REF): "READY"}
        second.drop(REF)
        await asyncio.sleep(INTERVAL_S)
        assert house.states() == {str(REF): "UNAVAILABLE"}
        assert house.repository.find(REF.name).reason == "engine a: the network is cut"


@in_virtual_time
async def test_an_engine_with_other_contents_gets_no_requests() -> None:
    """Whether it had them from the start or since: the other engine goes on alone."""
    first, second = FakeEngine("a", [CARD]), FakeEngine("b", [CARD])
    async with watched(first, second) as house:
        assert sorted(house.holders()) == ["a", "b"]
        second.hold(OTHER)
        await asyncio.sleep(3 * INTERVAL_S)
        assert house.holders() == ["a"]
        second.hold(CARD)
        await asyncio.sleep(INTERVAL_S)
        assert sorted(house.holders()) == ["a", "b"]


@in_virtual_time
async def test_of_two_contents_found_at_once_one_is_used() -> None:
    """Engines that are first asked at the same moment are compared, too."""
    engines = [FakeEngine("a", [CARD], Pace(batch_s=0.1)), FakeEngine("b", [OTHER], Pace(batch_s=0.1))]
    async with watched(*engines) as house:
        await asyncio.sleep(INTERVAL_S)
        assert len(house.holders()) == 1


@in_virtual_time
async def test_a_lone_engine_with_other_contents_says_why() -> None:
    """It is out until it has been asked again and its new card and canary are known."""
    engine = FakeEngine("a", [CARD])
    async with watched(engine) as house:
        engine.hold(OTHER)
        await asyncio.sleep(INTERVAL_S)
        assert "has contents dddddddddddd, it had cccccccccccc" in house.repository.find(REF.name).reason
        await asyncio.sleep(INTERVAL_S)
        assert house.repository.find(REF.name).serving_card().contents_sha256 == "d" * 64


@in_virtual_time
async def test_a_new_default_version_takes_over() -> None:
    """After its canary; what waits for the old one is answered by it before that goes, and nothing fails."""
    engine = FakeEngine("a", [CARD], Pace(batch_s=3.0, workers=2))
    async with watched(engine) as house:
        await asyncio.sleep(3)
        engine.hold(SECOND)  # seen at 5 s, and its canary is answered at 8 s
        await asyncio.sleep(2)
        asked = [house.ask() for _ in range(3)]  # in two batches, which end at 9 s and 12 s
        await asyncio.sleep(2.5)
        assert house.states() == {str(REF): "UNLOADING", str(SECOND.ref): "READY"}
        assert not any(one.done() for one in asked)
        await asyncio.gather(*asked)
        await asyncio.sleep(INTERVAL_S)
        assert house.states() == {str(REF): "UNAVAILABLE", str(SECOND.ref): "READY"}
        assert (house.holders(), house.holders(SECOND.ref)) == ([], ["a"])
        assert house.repository.find(REF.name, REF.version).reason == f"replaced by {SECOND.ref}"


@in_virtual_time
async def test_a_version_may_be_asked_for_by_its_number() -> None:
    """Beside the default one; that both are the same version for a time harms neither."""
    engine = FakeEngine("a", [CARD])
    async with watched(engine, models=frozenset({REF.name, str(REF)})) as house:
        assert house.states() == {str(REF): "READY"}
        engine.hold(SECOND)
        await asyncio.sleep(INTERVAL_S)
        assert house.states() == {str(REF): "READY", str(SECOND.ref): "READY"}
        engine.drop(REF)
        await asyncio.sleep(INTERVAL_S)
        assert house.states() == {str(REF): "UNAVAILABLE", str(SECOND.ref): "READY"}


@in_virtual_time
async def test_a_model_that_was_never_found_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """It is unavailable, not unknown, whatever version is asked for; the log repeats nothing."""
    engine = Faulty("a", [])
    engine.error = EngineError("engine a: cannot be reached", reason="unreachable")
    async with watched(engine) as house:
        await asyncio.sleep(3 * INTERVAL_S)
        for version in ("", "7"):
            entry = house.repository.find(REF.name, version)
            assert (entry.ready, entry.state) == (False, ModelState.UNAVAILABLE)
            with pytest.raises(
                UnavailableError, match=f"model '{REF.name}' is not ready, .*cannot be reached"
            ):
                entry.serving_card()
        assert house.states() == {f"{REF.name}:": "UNAVAILABLE"}
        assert house.repository.index(ready_only=True) == ()
        with pytest.raises(NotFoundError):
            house.repository.find("stranger")
        assert capsys.readouterr().out.count("model not ready") == 1
        engine.error = None
        engine.hold(CARD)
        await asyncio.sleep(INTERVAL_S)
        assert house.states() == {str(REF): "READY"}


@in_virtual_time
async def test_what_is_no_longer_asked_for_is_let_go() -> None:
    """Also a model whose answer is only just on its way."""
    engine = FakeEngine("a", [CARD], Pace(batch_s=1.5))
    async with watched(engine) as house:
        house.watchers[0].watch(frozenset(), "not wanted")
        await asyncio.sleep(INTERVAL_S)
        assert house.holders() == []
        house.watchers[0].watch(NAME)
        await asyncio.sleep(2 * INTERVAL_S)
        assert house.holders() == ["a"]
        engine.drop(REF)
        engine.hang()
        await asyncio.sleep(INTERVAL_S)
        house.watchers[0].watch(frozenset(), "not wanted")
        engine.wake()  # and says that it has no such model, which nobody asks any more
        await asyncio.sleep(INTERVAL_S)
        assert (house.holders(), house.repository.find(REF.name).reason) == ([], "not wanted")
