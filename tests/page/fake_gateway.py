"""`python -m tests.page.fake_gateway`: the gateway as it ships, but for its engine, which is a fake.

It starts in a second, and its models can be loaded and unloaded. `--hostile` adds two models whose labels are
written to be taken for markup.
"""

from __future__ import annotations

import asyncio
import os
import sys

from rich.console import Console

from serve import logs
from serve.config import read_config
from serve.core.catalog import ModelState
from serve.core.errors import NotFoundError
from serve.loading import House
from serve.metrics import Metrics
from serve.run import run
from serve.sections import EngineConfig
from serve.settings import Config
from tests.page.fake_engine import HOSTILE, HOSTILE_LABELS, PageEngine, card_of

CARDS = (
    card_of("digits_eca", "1", "eca"),
    card_of("digits_plain", "1", "none"),
    card_of("digits_se", "1", "se"),
    card_of("digits_se", "2", "se"),
    card_of("digits_sk", "1", "sk"),
)
HOSTILE_CARDS = tuple(card_of(name, "1", "se", HOSTILE_LABELS) for name in ("hostile", "hostile_too"))


class PageLoader:
    """Implements `Loader`: the fake engine holds everything, and what is unloaded is only not admitted."""

    def __init__(self, house: House, engine: PageEngine) -> None:
        self._house = house
        self._engine = engine

    async def load(self, name: str) -> None:
        """See `Loader`."""
        cards = [card for card in self._engine.cards if card.ref.name == name]
        if not cards:
            raise NotFoundError(f"model {name!r} is not in the model store")
        for card in cards:
            self._house.admit(card, self._engine)

    async def unload(self, name: str) -> None:
        """See `Loader`."""
        self._house.repository.find(name)
        self._house.repository.pinned.discard(name)
        for entry in self._house.repository.entries(name):
            await self._house.drain(entry.ref)
            self._house.dismiss(entry.ref, self._engine, ModelState.UNAVAILABLE, "unloaded")


class PageFleet:
    """Implements `Fleet` with one fake engine."""

    def __init__(self, _config: Config, house: House, metrics: Metrics) -> None:
        self._engine = PageEngine((*CARDS, *(HOSTILE_CARDS if HOSTILE in sys.argv else ())))
        self._house = house
        self.loader = PageLoader(house, self._engine)
        metrics.start_engine(self._engine.name)

    def elsewhere(self) -> tuple[EngineConfig, ...]:
        """See `Fleet`; no other process can reach objects of this one."""
        return ()

    async def start(self) -> None:
        """See `Fleet`."""
        for card in self._engine.cards:
            self._house.repository.pinned.add(card.ref.name)
            self._house.admit(card, self._engine)

    async def run(self) -> None:
        """See `Fleet`; there is nothing to watch."""
        await asyncio.Event().wait()

    async def stop(self, _timeout_s: float) -> None:
        """See `Fleet`."""


def main() -> int:
    """Serve until SIGTERM, as `attnserve serve` does."""
    config = read_config(None, os.environ)
    logs.configure(config.log_level, config.log_format)
    return run(config, None, Console(stderr=True), PageFleet)


if __name__ == "__main__":
    sys.exit(main())
