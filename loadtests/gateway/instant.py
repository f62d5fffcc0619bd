"""The gateway as it ships, but for its engine, which has its answer at hand: all that is left is the gateway.

`loadtests.bench_gateway` starts this file by its path, so that it runs with the `serve` of any checkout.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from functools import cache
from typing import Final

import numpy as np
from rich.console import Console

from serve import logs
from serve.config import read_config
from serve.core.card import ModelCard
from serve.core.messages import Batch, BatchReply, ModelRef, Timings
from serve.loading import House
from serve.metrics import Metrics
from serve.run import run
from serve.settings import Config
from serve.watching import RemoteOnly

MODEL: Final = "instant"
SIDE: Final = 112  # of the tensors `input`, in pixels: 150 KB each
MAX_BATCH: Final = 16


class InstantEngine:
    """Implements `Engine`; every image has the same answer."""

    name = "instant"

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._row = np.full((1, card.classes), 1 / card.classes, np.float32)
        self._reply = cache(self._make_reply)

    async def predict(self, _ref: ModelRef, batch: Batch, _timeout_s: float) -> BatchReply:
        """Answer in the loop's next turn, since an engine that is asked over a wire never answers sooner."""
        await asyncio.sleep(0)
        return self._reply(batch.count)

    async def describe(self, _ref: ModelRef, _timeout_s: float) -> ModelCard:
        """The card."""
        return self._card

    async def close(self, grace_s: float = 0.0) -> None:
        """Nothing is open."""

    def _make_reply(self, images: int) -> BatchReply:
        return BatchReply(
            status=(0,) * images,
            messages={},
            outputs={"probabilities": np.repeat(self._row, images, axis=0)},
            timings=Timings(decode_s=0.0, inference_s=0.0, encode_s=0.0),
        )


class InstantFleet:
    """Implements `Fleet` with one such engine."""

    def __init__(self, _config: Config, house: House, metrics: Metrics) -> None:
        self.loader = RemoteOnly()
        self._house = house
        self._metrics = metrics

    def elsewhere(self) -> tuple[()]:
        """No other process reaches the engine."""
        return ()

    async def start(self) -> None:
        """See `Fleet`."""
        card = card_of(int(sys.argv[1]))
        self._metrics.start_engine(InstantEngine.name)
        self._house.repository.pinned.add(MODEL)
        self._house.admit(card, InstantEngine(card))

    async def run(self) -> None:
        """There is nothing to watch."""
        await asyncio.Event().wait()

    async def stop(self, _timeout_s: float) -> None:
        """See `Fleet`."""


def card_of(classes: int) -> ModelCard:
    """What the gateway knows of the model."""
    signature: Mapping[str, object] = {}
    return ModelCard(
        ref=ModelRef(name=MODEL, version="1"),
        labels=tuple(f"class {number}" for number in range(classes)),
        input_size=(SIDE, SIDE),
        attention="none",
        attention_layout=(),
        trained=True,
        max_batch=MAX_BATCH,
        contents_sha256="",
        signature=signature,
    )


def main() -> int:
    """Serve until SIGTERM, as `attnserve serve` does."""
    config = read_config(None, os.environ)
    logs.configure(config.log_level, config.log_format)
    return run(config, None, Console(stderr=True), InstantFleet)


if __name__ == "__main__":
    sys.exit(main())
