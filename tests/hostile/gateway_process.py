"""A gateway over the fake engine as a process of its own, with short limits: `python -m ... RUN_DIR`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from serve import logs
from serve.core.card import ModelCard
from serve.core.catalog import ModelState
from serve.core.errors import NotFoundError
from serve.core.messages import ModelRef
from serve.engines.fake import FakeEngine
from serve.loading import House
from serve.metrics import Metrics
from serve.repository import Entry
from serve.run import run
from serve.sections import EngineConfig
from serve.service import Loader
from serve.settings import Config

MODEL = "digits"
CLASSES = 10
MAX_REQUEST_BYTES = 8 << 20
MAX_INFLIGHT_BYTES = 80 << 20
MAX_CONNECTIONS = 64
HEADER_TIMEOUT_S = 1.5
BODY_TIMEOUT_S = 1.5
REQUEST_TIMEOUT_S = 10.0

CARD = ModelCard(
    ref=ModelRef(name=MODEL, version="1"),
    labels=tuple(map(str, range(CLASSES))),
    input_size=(2, 2),
    attention="none",
    attention_layout=(),
    trained=True,
    max_batch=16,
    contents_sha256="c" * 64,
    signature={},
)


class NoLoader:
    """There is no model store."""

    async def load(self, name: str) -> None:
        """Never find it."""
        raise NotFoundError(f"model {name!r} is not in the model store")

    async def unload(self, name: str) -> None:
        """As `load`."""
        await self.load(name)


@dataclass
class FakeFleet:
    """One fake engine that holds one model."""

    config: Config
    house: House
    metrics: Metrics
    loader: Loader = field(default_factory=NoLoader)

    def elsewhere(self) -> tuple[EngineConfig, ...]:
        """Nobody else can reach it."""
        return ()

    async def start(self) -> None:
        """Let it answer."""
        self.metrics.start_engine("fake")
        engine = FakeEngine("fake", [CARD], keep=0)  # memory is looked at here
        self.house.repository.pinned = {MODEL}
        self.house.repository.put(Entry(ref=CARD.ref, state=ModelState.READY, card=CARD))
        self.house.pool.attach(CARD.ref, engine)

    async def run(self) -> None:
        """Nothing to watch."""
        await asyncio.Event().wait()

    async def stop(self, _timeout_s: float) -> None:
        """Nothing to end."""


def config(run_dir: Path) -> Config:
    """Limits so short that tests can wait for them."""
    return Config(
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        run_dir=run_dir,
        max_request_bytes=MAX_REQUEST_BYTES,
        max_inflight_bytes=MAX_INFLIGHT_BYTES,
        max_connections=MAX_CONNECTIONS,
        header_timeout_s=HEADER_TIMEOUT_S,
        body_timeout_s=BODY_TIMEOUT_S,
        request_timeout_s=REQUEST_TIMEOUT_S,
        drain_timeout_s=3.0,
    )


if __name__ == "__main__":
    logs.configure("info", "json")
    raise SystemExit(run(config(Path(sys.argv[1])), None, Console(stderr=True), FakeFleet))
