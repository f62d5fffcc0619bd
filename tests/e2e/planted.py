"""Engines of which the truth is known: how often a model errs, how often its calls fail, how long they take.

Whatever chance decides is a hash of the seed, the model and the image: the same in every run, in whatever
order the requests come. An image is text, "LABEL:NUMBER"; the label is what it shows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import exp
from statistics import NormalDist

import numpy as np

from serve.core.card import ModelCard
from serve.core.errors import EngineError
from serve.core.messages import Batch, BatchReply, ModelRef, Timings
from serve.fleet import FleetOf
from serve.loading import House
from serve.metrics import Metrics
from serve.sections import EngineConfig
from serve.settings import Config
from serve.watching import RemoteOnly

LABELS = tuple("0123456789")
CALL_S = 0.004
# Of the logarithm of a call's time: half of the calls take between 0.85 and 1.18 times the median.
SPREAD = 0.25
CONFIDENCE = 0.9

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is true of a model.

    Attributes:
        wrong: Share of the images that it names wrongly.
        failing: Share of the images on which its first attempt fails; the second one answers.
        call_s: Median time of a call, in seconds.
    """

    wrong: float = 0.1
    failing: float = 0.0
    call_s: float = CALL_S


class PlantedEngine:
    """Implements `Engine` for one model, one image a batch."""

    def __init__(self, model: str, truth: Truth, seed: int) -> None:
        """Be idle.

        Args:
            model: Its name; the version is 1.
            truth: What is true of it from now on; a test may change it.
            seed: Decides, with the image, all that chance decides.
        """
        self._card = card_of(model)
        self._seed = seed
        self._attempts: Counter[bytes] = Counter()
        self.truth = truth
        self.calls = 0

    @property
    def name(self) -> str:
        """See `Engine`."""
        return f"engine-of-{self._card.ref.name}"

    async def predict(self, _ref: ModelRef, batch: Batch, _timeout_s: float) -> BatchReply:
        """See `Engine`."""
        (part,) = batch.parts
        (image,) = part.blobs
        self.calls += 1
        self._attempts[image] += 1
        draw = self._draw("time", image)
        await asyncio.sleep(self.truth.call_s * exp(SPREAD * _NORMAL.inv_cdf(draw)))
        if self._attempts[image] == 1 and self._draw("failure", image) < self.truth.failing:
            raise EngineError(f"{self.name}: planted", reason="garbled", retryable=True)
        return self._reply(image)

    async def describe(self, _ref: ModelRef, _timeout_s: float) -> ModelCard:
        """See `Engine`."""
        return self._card

    async def close(self, grace_s: float = 0.0) -> None:
        """See `Engine`."""

    def _reply(self, image: bytes) -> BatchReply:
        shown = LABELS.index(image.decode().partition(":")[0])
        errs = self._draw("answer", image) < self.truth.wrong
        row = np.full((1, len(LABELS)), (1 - CONFIDENCE) / (len(LABELS) - 1), np.float32)
        row[0, (shown + errs) % len(LABELS)] = CONFIDENCE
        timings = Timings(decode_s=0.0, inference_s=self.truth.call_s, encode_s=0.0)
        return BatchReply(status=(0,), messages={}, outputs={"probabilities": row}, timings=timings)

    def _draw(self, what: str, image: bytes) -> float:
        """Uniform, above 0 and below 1."""
        data = f"{self._seed} {self._card.ref.name} {what} ".encode() + image
        return (int.from_bytes(sha256(data).digest()[:6]) + 0.5) / 2**48


class PlantedFleet:
    """Implements `Fleet`: an engine for each model."""

    def __init__(self, engines: Sequence[PlantedEngine], house: House, metrics: Metrics) -> None:
        self.loader = RemoteOnly()
        self._engines = engines
        self._house = house
        for engine in engines:
            metrics.start_engine(engine.name)

    def elsewhere(self) -> tuple[EngineConfig, ...]:
        """See `Fleet`; no other process can reach objects of this one."""
        return ()

    async def start(self) -> None:
        """See `Fleet`."""
        for engine in self._engines:
            card = await engine.describe(ModelRef(name="", version=""), 0.0)
            self._house.repository.pinned.add(card.ref.name)
            self._house.admit(card, engine)

    async def run(self) -> None:
        """See `Fleet`; there is nothing to watch."""
        await asyncio.Event().wait()

    async def stop(self, _timeout_s: float) -> None:
        """See `Fleet`."""


def planted(truths: Mapping[str, Truth], seed: int) -> tuple[dict[str, PlantedEngine], FleetOf]:
    """Engines by the model's name, and what gives them to a gateway."""
    engines = {model: PlantedEngine(model, truth, seed) for model, truth in truths.items()}

    def fleet_of(_config: Config, house: House, metrics: Metrics) -> PlantedFleet:
        return PlantedFleet(tuple(engines.values()), house, metrics)

    return engines, fleet_of


def card_of(model: str) -> ModelCard:
    """What the gateway knows of a model."""
    return ModelCard(
        ref=ModelRef(name=model, version="1"),
        labels=LABELS,
        input_size=(8, 8),
        attention="none",
        attention_layout=(),
        trained=True,
        max_batch=1,
        contents_sha256="",
        signature={},
    )
