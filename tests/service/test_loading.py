"""How models come in and go: from a model store into a TorchServe, and from engines that hold them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from serve.archive import ArchiveError, ref_of_store_name
from serve.batcher import Batcher, Surroundings
from serve.core.card import ModelCard
from serve.core.catalog import ModelState
from serve.core.errors import ConflictError, EngineError, NotFoundError, UnavailableError
from serve.core.messages import ModelRef
from serve.engines.fake import FakeEngine, Pace
from serve.engines.pool import EnginePool
from serve.loading import House, LocalLoader, LocalOptions
from serve.metrics import Metrics
from serve.repository import Repository
from serve.store import read_store
from serve.usage import UsageBook
from serve.watching import RemoteWatcher
from tests.service.house import CARD, FAR, LIMITS, POOL_OPTIONS, REF, query_of
from tests.service.virtual_time import clock, in_virtual_time, settle

INTERVAL_S = 2.0
UNREACHABLE = EngineError("TorchServe is gone", reason="unreachable")


def ref_of(name: str, version: str = "1") -> ModelRef:
    """Short for a ref."""
    return ModelRef(name=name, version=version)


def write(store: Path, file_name: str, ref: ModelRef, contents: bytes = b"one\n") -> None:
    """Put an archive into the store, and list it."""
    signature = {
        "format": 1, "name": ref.name, "version": ref.version, "input": {"size": [2, 2]},
        "labels": ["a", "b"], "attention": "none", "attention_layout": [], "trained": True,
        "batch_buckets": [1],
    }  # fmt: skip
    model = {"modelName": ref.name, "modelVersion": ref.version}
    with zipfile.ZipFile(store / file_name, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
        archive.writestr("signature.json", json.dumps(signature))
        archive.writestr("SHA256SUMS", contents)
    enlist(store)


def enlist(store: Path) -> None:
    """List every archive of the store with the hash that it has now."""
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in sorted(store.glob("*.mar"))]
    (store / "SHA256SUMS").write_text("".join(lines))


class Control:
    """A TorchServe's management port: what is registered there can be answered by `engine`."""

    def __init__(self, store: Path, engine: FakeEngine) -> None:
        self.store = store
        self.engine = engine
        self.registered: set[ModelRef] = set()
        self.unload_error: EngineError | None = None

    async def load(self, archive: str, timeout_s: float) -> None:
        """Refuse what is registered already, as TorchServe does."""
        assert timeout_s > 0
        ref = ref_of_store_name(archive)
        if ref in self.registered:
            raise EngineError(f"{ref} is loaded already", reason="refused", retryable=False)
        self.registered.add(ref)
        cards = {one.card.ref: one.card for one in read_store(self.store).archives}
        self.engine.hold(cards[ref])

    async def unload(self, ref: ModelRef, timeout_s: float) -> None:
        """Forget a version, or fail when told to."""
        assert timeout_s > 0
        if self.unload_error:
            raise self.unload_error
        self.registered.discard(ref)
        self.engine.drop(ref)


class Place:
    """A house, and a model store with a loader that brings it into a fake TorchServe."""

    def __init__(self, folder: Path, *models: str) -> None:
        self.store = folder / "store"
        self.target = folder / "target"
        for one in (self.store, self.target):
            one.mkdir(exist_ok=True)
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        pool = EnginePool(metrics, POOL_OPTIONS, clock)
        self.repository = Repository(metrics)
        batcher = Batcher(LIMITS, Surroundings(pool, metrics, UsageBook(), clock))
        self.house = House(self.repository, pool, batcher)
        self.engine = FakeEngine("local", [])
        self.control = Control(self.store, self.engine)
        options = LocalOptions(source=self.store, models=models)
        self.loader = LocalLoader(self.house, self.engine, self.control, options)

    async def start(self) -> None:
        """Load what is wanted, as when TorchServe has started."""
        self.control.registered.clear()
        await self.loader.load_all(self.target)

    async def restart(self) -> None:
        """TorchServe dies and is started again."""
        self.loader.lose_all("it has ended")
        await self.start()

    def states(self) -> dict[str, str]:
        """The state of every version that is known."""
        return {f"{e.name}:{e.version}": e.state.value for e in self.repository.index()}

    def reason(self, ref: ModelRef) -> str:
        """Why a version is in its state."""
        entry = self.repository.get(ref)
        assert entry is not None
        return entry.reason


@pytest.mark.parametrize(
    ("file_name", "ref"),
    [("my-net-v2.mar", ref_of("my-net-v2")), ("production.mar", ref_of("net", "7")), ("Odd name.mar", REF)],
)
async def test_the_card_says_who_a_model_is(tmp_path: Path, file_name: str, ref: ModelRef) -> None:
    """Whatever the archive is called, the server becomes ready, and the model unloads by its own name."""
    place = Place(tmp_path)
    write(place.store, file_name, ref)
    await place.start()
    assert place.states() == {str(ref): "READY"}
    assert place.repository.all_ready()
    await place.loader.unload(ref.name)
    assert place.states() == {str(ref): "UNAVAILABLE"}
    await place.loader.load(ref.name)
    assert place.repository.all_ready()


async def test_two_archives_of_one_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy is no matter; one with other contents is ignored, and that is said."""
    place = Place(tmp_path)
    write(place.store, "a.mar", REF)
    write(place.store, "b.mar", REF)
    await place.start()
    assert "ignored" not in capsys.readouterr().out
    write(place.store, "c.mar", REF, b"other\n")
    await place.loader.load(REF.name)
    assert "c.mar" in capsys.readouterr().out
    assert place.states() == {str(REF): "READY"}


async def test_other_contents_are_a_conflict(tmp_path: Path) -> None:
    """A version that is served keeps its contents."""
    place = Place(tmp_path)
    write(place.store, "a.mar", REF)
    await place.start()
    write(place.store, "a.mar", REF, b"other\n")
    with pytest.raises(ConflictError, match="other contents"):
        await place.loader.load(REF.name)
    assert place.states() == {str(REF): "READY"}


@pytest.mark.parametrize("models", [(), ("one",), ("one", "two")])
async def test_what_was_unloaded_stays_so(tmp_path: Path, models: tuple[str, ...]) -> None:
    """In the next TorchServe, too, whether all models are served or some, until it is loaded again."""
    place = Place(tmp_path, *models)
    for name in ("one", "two"):
        write(place.store, f"{name}.mar", ref_of(name))
    await place.start()
    for name in models or ("one",):
        await place.loader.unload(name)
    await place.restart()
    ready = {entry.name for entry in place.repository.index(ready_only=True)}
    assert ready == ({"two"} if not models else set())
    await place.loader.load("one")
    await place.restart()
    assert {entry.name for entry in place.repository.index(ready_only=True)} == ready | {"one"}
    assert place.repository.all_ready()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [("cut", "cannot be read as a model archive"), ("change", "SHA256SUMS"), ("unlist", "is not listed")],
)
async def test_an_archive_that_cannot_be_opened_is_shown(tmp_path: Path, spoil: str, reason: str) -> None:
    """By its file name, as unavailable and with the reason; the others are served."""
    place = Place(tmp_path)
    write(place.store, "good.mar", ref_of("good"))
    write(place.store, "bad-v3.mar", ref_of("bad", "3"))
    bad = place.store / "bad-v3.mar"
    if spoil == "unlist":
        (place.store / "SHA256SUMS").write_text(
            f"{hashlib.sha256((place.store / 'good.mar').read_bytes()).hexdigest()}  good.mar\n"
        )
    else:
        bad.write_bytes(bad.read_bytes()[:100])
    if spoil == "cut":
        enlist(place.store)
    await place.start()
    assert place.states() == {"bad:3": "UNAVAILABLE", "good:1": "READY"}
    assert reason in place.reason(ref_of("bad", "3"))
    assert str(tmp_path) not in place.reason(ref_of("bad", "3"))
    shown = place.registry.get_sample_value("attnserve_model_ready", {"model": "bad", "version": "3"})
    assert shown == 0
    with pytest.raises(UnavailableError, match=reason):
        place.repository.find("bad").serving_card()
    with pytest.raises(ArchiveError, match=reason):
        await place.loader.load("bad")
    assert not place.repository.all_ready()
    write(place.store, "bad-v3.mar", ref_of("bad", "3"))
    await place.loader.load("bad")
    assert place.repository.all_ready()


async def test_a_name_that_is_not_in_the_store_is_shown(tmp_path: Path) -> None:
    """As unavailable, when a model can have that name; loading it is answered with not found."""
    place = Place(tmp_path, "absent", "No Name")
    await place.start()
    assert place.states() == {"absent:1": "UNAVAILABLE"}
    assert place.reason(ref_of("absent")) == "is not in the model store"
    with pytest.raises(NotFoundError):
        await place.loader.load("absent")


async def test_a_bad_file_does_not_hide_a_good_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file whose name is no model's, or that of a version which another file has, is only logged."""
    place = Place(tmp_path)
    write(place.store, "copy.mar", REF)
    for name in ("Bad.mar", f"{REF.name}.mar"):
        (place.store / name).write_bytes(b"junk")
    await place.start()
    assert place.states() == {str(REF): "READY"}
    assert place.repository.all_ready()
    said = capsys.readouterr().out
    assert "Bad.mar" in said
    assert f"{REF.name}.mar" in said


async def test_what_is_served_outlives_its_file(tmp_path: Path) -> None:
    """It answers until TorchServe is started again; then it says why it does not."""
    place = Place(tmp_path)
    write(place.store, "digits_se.mar", REF)
    write(place.store, "other.mar", ref_of("other"))
    await place.start()
    (place.store / "digits_se.mar").write_bytes(b"junk")
    (place.store / "other.mar").unlink()
    with pytest.raises(ArchiveError):
        await place.loader.load(REF.name)
    assert place.states() == {str(REF): "READY", "other:1": "READY"}
    await place.restart()
    assert place.states() == {str(REF): "UNAVAILABLE", "other:1": "UNAVAILABLE"}
    assert place.reason(ref_of("other")) == "is not in the model store"


async def test_an_unload_that_fails(tmp_path: Path) -> None:
    """It is told and shown, and another load clears away what is left of the version first."""
    place = Place(tmp_path)
    write(place.store, "a.mar", REF)
    await place.start()
    place.control.unload_error = UNREACHABLE
    with pytest.raises(EngineError, match="TorchServe is gone"):
        await place.loader.unload(REF.name)
    assert place.states() == {str(REF): "UNAVAILABLE"}
    assert place.reason(REF) == "could not be unloaded: TorchServe is gone"
    assert place.control.registered == {REF}
    place.control.unload_error = None
    await place.loader.load(REF.name)
    assert place.states() == {str(REF): "READY"}


async def test_unload_waits_for_what_runs(tmp_path: Path) -> None:
    """TorchServe hears of it only after the batch that runs has been answered."""
    place = Place(tmp_path)
    write(place.store, "a.mar", REF)
    await place.start()
    place.engine.hang()
    card = place.repository.find(REF.name).serving_card()
    asked = asyncio.create_task(place.house.batcher.predict(card, query_of((b"x",), card), FAR))
    await settle()
    unloading = asyncio.create_task(place.loader.unload(REF.name))
    await settle()
    assert place.control.registered == {REF}
    assert place.states() == {str(REF): "UNLOADING"}
    place.engine.wake()
    assert (await asked).status == (0,)
    await unloading
    assert place.control.registered == set()


class Watched:
    """A house with watchers for some engines, which look every INTERVAL_S seconds."""

    def __init__(self, *engines: FakeEngine) -> None:
        metrics = Metrics(CollectorRegistry())
        self.pool = EnginePool(metrics, POOL_OPTIONS, clock)
        self.repository = Repository(metrics)
        batcher = Batcher(LIMITS, Surroundings(self.pool, metrics, UsageBook(), clock))
        self.house = House(self.repository, self.pool, batcher)
        self.watchers = [RemoteWatcher(self.house, engine, (REF.name,), INTERVAL_S) for engine in engines]

    def holders(self) -> list[str]:
        """The engines that get requests."""
        return [engine.name for engine in self.pool.holders(REF)]

    def ask(self, card: ModelCard = CARD) -> asyncio.Task[object]:
        """Begin a request."""
        return asyncio.create_task(self.house.batcher.predict(card, query_of((b"x",), card), FAR))


class Faulty(FakeEngine):
    """A fake engine whose `describe` fails as told."""

    error: EngineError | None = None

    async def describe(self, ref: ModelRef, timeout_s: float) -> ModelCard:
        """The card, or the error."""
        if self.error:
            raise self.error
        return await super().describe(ref, timeout_s)


@asynccontextmanager
async def watched(*engines: FakeEngine) -> AsyncIterator[Watched]:
    """Watchers at work; half an interval has passed."""
    house = Watched(*engines)
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
        await asyncio.sleep(INTERVAL_S * 4)
        assert house.holders() == ["a"]
        engine.error = None
        await asked
        assert house.holders() == ["a"]


@in_virtual_time
@pytest.mark.parametrize("reason", ["timeout", "overloaded"])
async def test_an_idle_engine_is_lost_by_the_third_failure(reason: str) -> None:
    """One or two may be chance, and an answer between them begins the count again."""
    engine = Faulty("a", [CARD])
    async with watched(engine) as house:
        for error, kept in (("x", True), ("x", True), ("", True), ("x", True), ("x", True), ("x", False)):
            engine.error = EngineError("not now", reason=reason) if error else None
            await asyncio.sleep(INTERVAL_S)
            assert bool(house.holders()) is kept
        assert house.repository.find(REF.name).reason == "not now"
        engine.error = None
        await asyncio.sleep(INTERVAL_S)
        assert house.holders() == ["a"]


@in_virtual_time
@pytest.mark.parametrize("reason", ["unreachable", "missing", "refused", "garbled", "lost"])
async def test_an_engine_that_cannot_answer_is_lost_at_once(reason: str) -> None:
    """Busy or not."""
    engine = Faulty("a", [CARD], Pace(batch_s=5.0))
    async with watched(engine) as house:
        await asyncio.sleep(5)
        asked = house.ask()
        engine.error = EngineError("gone", reason=reason)
        await asyncio.sleep(INTERVAL_S)
        assert house.holders() == []
        assert house.repository.find(REF.name).state is ModelState.UNAVAILABLE
        await asked


@in_virtual_time
async def test_an_engine_with_other_contents_gets_no_requests() -> None:
    """Whether it had them from the start or since: the other engine goes on alone."""
    first, second = FakeEngine("a", [CARD]), FakeEngine("b", [CARD])
    async with watched(first, second) as house:
        assert sorted(house.holders()) == ["a", "b"]
        second.hold(replace(CARD, contents_sha256="d" * 64))
        await asyncio.sleep(3 * INTERVAL_S)
        assert house.holders() == ["a"]
        second.hold(CARD)
        await asyncio.sleep(INTERVAL_S)
        assert sorted(house.holders()) == ["a", "b"]


@in_virtual_time
async def test_a_lone_engine_with_other_contents_says_why() -> None:
    """It is out until it has been asked again and its new card and canary are known."""
    engine = FakeEngine("a", [CARD])
    async with watched(engine) as house:
        engine.hold(replace(CARD, contents_sha256="d" * 64))
        await asyncio.sleep(INTERVAL_S)
        assert "has contents dddddddddddd, it had cccccccccccc" in house.repository.find(REF.name).reason
        await asyncio.sleep(INTERVAL_S)
        assert house.repository.find(REF.name).serving_card().contents_sha256 == "d" * 64
