"""A model store on disk, and a loader that brings it into a TorchServe that is only pretended."""

from __future__ import annotations

import asyncio
import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from serve.archive import open_archive, ref_of_store_name
from serve.batcher import Batcher, Surroundings
from serve.core.errors import EngineError
from serve.core.messages import ModelRef, Prediction
from serve.engines.fake import FakeEngine, Pace
from serve.engines.pool import EnginePool
from serve.loading import House
from serve.local_loader import LocalLoader, LocalOptions
from serve.metrics import Metrics
from serve.repository import Repository
from serve.store_watch import StoreWatch
from serve.usage import UsageBook
from tests.service.house import FAR, LIMITS, POOL_OPTIONS, query_of
from tests.service.virtual_time import clock


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


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for some seconds at most."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  of events that nobody else needs
            await asyncio.sleep(0.002)


class Control:
    """A TorchServe's management port: what is registered there can be answered by `engine`."""

    def __init__(self, target: Path, engine: FakeEngine) -> None:
        self.target = target
        self.engine = engine
        self.registered: set[ModelRef] = set()
        self.loads: list[ModelRef] = []
        self.load_errors: dict[ModelRef, EngineError] = {}
        self.unload_error: EngineError | None = None
        # A load goes on only when it is set.
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, archive: str, timeout_s: float) -> None:
        """Refuse what is registered already, as TorchServe does; register even what then fails."""
        assert timeout_s > 0
        ref = ref_of_store_name(archive)
        self.loads.append(ref)
        if ref in self.registered:
            raise EngineError(f"{ref} is loaded already", reason="refused", retryable=False)
        self.registered.add(ref)
        await self.gate.wait()
        if ref in self.load_errors:
            raise self.load_errors[ref]
        path = self.target / archive
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.engine.hold(open_archive(path, {archive: digest}).card)

    async def unload(self, ref: ModelRef, timeout_s: float) -> None:
        """Forget a version, or fail when told to."""
        assert timeout_s > 0
        if self.unload_error:
            raise self.unload_error
        self.registered.discard(ref)
        self.engine.drop(ref)


class Place:
    """A house, and a model store with a loader that brings it into a fake TorchServe."""

    def __init__(
        self,
        folder: Path,
        *models: str,
        keep_versions: int = 0,
        default_versions: Mapping[str, str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.store = folder / "store"
        self.target = folder / "target"
        for one in (self.store, self.target):
            one.mkdir(exist_ok=True)
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.pool = EnginePool(metrics, POOL_OPTIONS, clock)
        self.repository = Repository(metrics, default_versions=default_versions)
        self.batcher = Batcher(LIMITS, Surroundings(self.pool, metrics, UsageBook(), clock))
        self.house = House(self.repository, self.pool, self.batcher)
        self.engine = FakeEngine("local", [], pace)
        self.control = Control(self.target, self.engine)
        options = LocalOptions(source=self.store, models=models, keep_versions=keep_versions)
        self.loader = LocalLoader(self.house, self.engine, self.control, options)
        self.watch = StoreWatch(self.store, 1.0, self.loader, metrics)

    async def start(self) -> None:
        """Load what is wanted, as when TorchServe has started."""
        self.control.registered.clear()
        await self.loader.load_all(self.target)

    async def restart(self) -> None:
        """TorchServe dies and is started again."""
        self.loader.lose_all("it has ended")
        for entry in self.repository.entries():
            self.engine.drop(entry.ref)
        await self.start()

    async def look(self, times: int = 2) -> None:
        """Let the watch look at the store; a change is settled after two looks."""
        for _ in range(times):
            await self.watch.look()

    async def ask(self, name: str, version: str = "") -> Prediction:
        """Ask for the answer to one image, as a service does."""
        card = self.repository.find(name, version).serving_card()
        query = replace(query_of((b"x",), card), wants=frozenset({"probabilities"}))
        return await self.batcher.predict(card, query, FAR)

    def default(self, name: str) -> str:
        """The version that answers where none is named."""
        return self.repository.find(name).ref.version

    def states(self) -> dict[str, str]:
        """The state of every version that is known."""
        return {f"{e.name}:{e.version}": e.state.value for e in self.repository.index()}

    def ready(self) -> set[str]:
        """The versions that can be asked."""
        return {name for name, state in self.states().items() if state == "READY"}

    def reason(self, ref: ModelRef) -> str:
        """Why a version is in its state."""
        entry = self.repository.get(ref)
        assert entry is not None
        return entry.reason

    def sound(self) -> float | None:
        """The metric that says whether the store, as it is, could be taken over."""
        return self.registry.get_sample_value("attnserve_config_reload_success", {"what": "model_store"})
