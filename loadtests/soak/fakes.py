"""The gateway under test, as it ships, but for its engines: fake ones, which obey a socket.

`python -m loadtests.soak.fakes` is started by the soak, which breaks and repairs the engines from
`loadtests.soak.remote`. A line of JSON asks, a line of JSON answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from rich.console import Console

from loadtests.soak.faults import FaultKind
from loadtests.soak.questions import Model
from serve import logs
from serve.config import read_config
from serve.core.card import AttentionBlock, ModelCard
from serve.core.catalog import ModelState
from serve.core.errors import EngineError
from serve.core.messages import ModelRef
from serve.engines.fake import FakeEngine, Pace
from serve.loading import House
from serve.metrics import Metrics
from serve.run import run
from serve.sections import EngineConfig
from serve.settings import Config
from serve.watching import RemoteOnly

Order: TypeAlias = Mapping[str, Any]

SOCKET: Final = "engines.sock"
ENGINES: Final = 3
LABELS: Final = tuple("0123456789")
SIDE: Final = 8  # of the tensors `input`, in pixels
MODELS: Final = (
    Model(name="plain", version="1"),
    Model(name="squeeze", version="1", gates=6, default=False),
    Model(name="squeeze", version="2", gates=6),
)
_PACE: Final = Pace(workers=4, batch_s=0.002, image_s=0.0001)
_SLOW: Final = Pace(batch_s=20 * _PACE.batch_s, image_s=20 * _PACE.image_s)

# Reason -> whether a real engine's error of that sort says that another attempt can help.
FAILURES: Final[Mapping[str, bool]] = {
    "lost": True,
    "timeout": True,
    "overloaded": True,
    "unreachable": True,
    "missing": False,
    "refused": False,
    "garbled": True,
}
FAULTS: Final = (
    *(
        FaultKind(
            name=f"fail-{reason}",
            seconds=(0.0, 0.0),
            recovery_s=2.0,
            share=0.5,
            # An engine refuses what every other one would refuse, too: it is not asked of a second one.
            on_request=reason == "refused",
        )
        for reason in FAILURES
    ),
    FaultKind(name="hang", seconds=(0.5, 4.0), recovery_s=3.0),
    FaultKind(name="slow", seconds=(0.5, 4.0), recovery_s=3.0),
    FaultKind(name="remove", seconds=(0.5, 3.0), recovery_s=3.0),
    FaultKind(name="outage", seconds=(0.2, 1.0), recovery_s=3.0, share=0.3, all_engines=True),
)


class FakeFleet:
    """Implements `Fleet` with fake engines; all hold all models."""

    def __init__(self, config: Config, house: House, metrics: Metrics) -> None:
        self.loader = RemoteOnly()
        self._house = house
        self._path = config.run_dir / SOCKET
        self._cards = [card_of(model) for model in MODELS]
        self._engines = [
            FakeEngine(f"fake-{number}", self._cards, _PACE, keep=0) for number in range(ENGINES)
        ]
        for engine in self._engines:
            metrics.start_engine(engine.name)
        self._verbs: Mapping[str, Callable[[FakeEngine, Order], None]] = {
            "look": lambda _engine, _order: None,
            "fail": self._fail,
            "hang": lambda engine, _order: engine.hang(),
            "wake": lambda engine, _order: engine.wake(),
            "slow": lambda engine, _order: engine.run_at(_SLOW),
            "brisk": lambda engine, _order: engine.run_at(_PACE),
            "drop": self._drop,
            "dismiss": self._dismiss,
            "restore": self._restore,
        }

    def elsewhere(self) -> tuple[EngineConfig, ...]:
        """See `Fleet`; no other process can reach objects of this one."""
        return ()

    async def start(self) -> None:
        """See `Fleet`."""
        self._house.repository.pinned |= {card.ref.name for card in self._cards}
        for engine in self._engines:
            self._admit(engine)

    async def run(self) -> None:
        """Obey the socket."""
        server = await asyncio.start_unix_server(self._serve, self._path)
        async with server:
            await server.serve_forever()

    async def stop(self, _timeout_s: float) -> None:
        """See `Fleet`."""
        for engine in self._engines:
            engine.wake()
            await engine.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            order: dict[str, Any] = json.loads(line)
            for number in order["engines"]:
                self._verbs[order["verb"]](self._engines[number], order)
            writer.write(json.dumps({"tasks": len(asyncio.all_tasks())}).encode() + b"\n")
        writer.close()

    def _fail(self, engine: FakeEngine, order: Order) -> None:
        reason = order["reason"]
        error = EngineError(f"engine {engine.name}: {reason}", reason=reason, retryable=FAILURES[reason])
        engine.fail_next(error, order["times"])

    def _drop(self, engine: FakeEngine, _order: Order) -> None:
        for card in self._cards:
            engine.drop(card.ref)

    def _restore(self, engine: FakeEngine, _order: Order) -> None:
        for card in self._cards:
            engine.hold(card)
        self._admit(engine)

    def _admit(self, engine: FakeEngine) -> None:
        for card in self._cards:
            self._house.admit(card, engine)

    def _dismiss(self, engine: FakeEngine, _order: Order | None = None) -> None:
        for card in self._cards:
            self._house.dismiss(card.ref, engine, ModelState.UNAVAILABLE, f"{engine.name} was removed")


def card_of(model: Model) -> ModelCard:
    """What the gateway knows of a model."""
    gates = (AttentionBlock(block="block", channels=model.gates, branches=1),) if model.gates else ()
    return ModelCard(
        ref=ModelRef(name=model.name, version=model.version),
        labels=LABELS,
        input_size=(SIDE, SIDE),
        attention="se" if gates else "none",
        attention_layout=gates,
        trained=True,
        max_batch=16,
        contents_sha256="",
        signature={},
    )


def main() -> int:
    """Serve until SIGTERM, as `attnserve serve` does."""
    config = read_config(None, os.environ)
    logs.configure(config.log_level, config.log_format)
    return run(config, None, Console(stderr=True), FakeFleet)


if __name__ == "__main__":
    sys.exit(main())
