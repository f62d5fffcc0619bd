"""An engine without models: deterministic answers, delays and faults on demand.

For tests, and for measuring the gateway alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serve.core.card import ModelCard
from serve.core.errors import EngineError
from serve.core.messages import Batch, BatchReply, Items, Kind, ModelRef, Timings

BAD_IMAGE = b"BAD"
_OK = 0
_INVALID_ARGUMENT = 3
_CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a fake engine is.

    Attributes:
        workers: Batches that run at the same time; others wait.
        batch_s: Seconds that every batch takes.
        image_s: Seconds that every image adds.
    """

    workers: int = 1
    batch_s: float = 0.0
    image_s: float = 0.0


class FakeEngine:
    """Implements `Engine`; an image's class is given by its bytes, see `class_of`."""

    def __init__(
        self, name: str, cards: Iterable[ModelCard], pace: Pace | None = None, *, keep: int | None = None
    ) -> None:
        """Hold these models; a later card of the same name and version replaces an earlier one.

        Args:
            name: Label in metrics and logs.
            cards: The models.
            pace: How fast it is.
            keep: How many of the latest batches stay in `batches`; None keeps all.
        """
        self._name = name
        self._cards = {card.ref: card for card in cards}
        self._pace = pace or Pace()
        self._free = asyncio.Semaphore(self._pace.workers)
        self._failures: deque[EngineError] = deque()
        self._awake = asyncio.Event()
        self._awake.set()
        self._closed = False
        self.batches: deque[tuple[ModelRef, Batch]] = deque(maxlen=keep)

    @property
    def name(self) -> str:
        """Label of this engine in metrics and logs."""
        return self._name

    def fail_next(self, error: EngineError, times: int = 1) -> None:
        """Let the next `times` batches fail with this error, after those that are to fail already."""
        self._failures.extend([error] * times)

    def hang(self) -> None:
        """Answer nothing any more, until `wake`."""
        self._awake.clear()

    def wake(self) -> None:
        """Go on after `hang`."""
        self._awake.set()

    def run_at(self, pace: Pace) -> None:
        """Take so long for every batch that begins from now on; the number of workers stays."""
        self._pace = replace(pace, workers=self._pace.workers)

    def hold(self, card: ModelCard) -> None:
        """Load a model."""
        self._cards[card.ref] = card

    def drop(self, ref: ModelRef) -> None:
        """Unload a model; one that is not there is no error."""
        self._cards.pop(ref, None)

    async def predict(self, ref: ModelRef, batch: Batch, timeout_s: float) -> BatchReply:
        """Run one batch; see `Engine`. Images whose bytes begin with `BAD_IMAGE` fail."""
        self.batches.append((ref, batch))
        async with self._in_time(timeout_s), self._free:
            card = self._card(ref)
            if "attention" in batch.outputs and not card.attention_columns:
                message = f"engine {self._name}: {ref} has no output attention"
                raise EngineError(message, reason="refused", retryable=False)
            await asyncio.sleep(self._pace.batch_s + self._pace.image_s * batch.count)
            if self._failures:
                raise self._failures.popleft()
            return _reply(card, batch, self._pace)

    async def describe(self, ref: ModelRef, timeout_s: float) -> ModelCard:
        """The card that it was given; see `Engine`."""
        async with self._in_time(timeout_s):
            return self._card(ref)

    async def close(self, grace_s: float = 0.0) -> None:
        """Answer no calls that come later; those that run end by themselves."""
        del grace_s
        self._closed = True

    @asynccontextmanager
    async def _in_time(self, timeout_s: float) -> AsyncIterator[None]:
        if self._closed:
            raise EngineError(f"engine {self._name}: closed", reason="unreachable")
        try:
            async with asyncio.timeout(timeout_s):
                await self._awake.wait()
                yield
        except TimeoutError:
            raise EngineError(f"engine {self._name}: no answer in time", reason="timeout") from None

    def _card(self, ref: ModelRef) -> ModelCard:
        if ref.version:
            card = self._cards.get(ref)
        else:
            held = [card for card in self._cards.values() if card.ref.name == ref.name]
            card = max(held, key=lambda card: int(card.ref.version), default=None)
        if card is None:
            raise EngineError(f"engine {self._name}: does not hold {ref}", reason="missing", retryable=False)
        return card


def class_of(image: bytes, classes: int) -> int:
    """The class that a fake engine gives an image: the first byte of its sha256, modulo the classes."""
    return hashlib.sha256(image).digest()[0] % classes


def _reply(card: ModelCard, batch: Batch, pace: Pace) -> BatchReply:
    images = [image for part in batch.parts for image in _images(part)]
    bad = [index for index, image in enumerate(images) if image.startswith(BAD_IMAGE)]
    rest = (1 - _CONFIDENCE) / max(card.classes - 1, 1)
    probabilities = np.full((len(images), card.classes), rest, np.float32)
    for index, image in enumerate(images):
        probabilities[index, class_of(image, card.classes)] = _CONFIDENCE
    probabilities[bad] = np.nan
    return BatchReply(
        status=tuple(_INVALID_ARGUMENT if index in bad else _OK for index in range(len(images))),
        messages=dict.fromkeys(bad, "cannot decode: it begins with BAD"),
        outputs={
            name: array for name, array in _outputs(card, probabilities).items() if name in batch.outputs
        },
        timings=Timings(decode_s=0.0, inference_s=pace.batch_s + pace.image_s * len(images), encode_s=0.0),
    )


def _outputs(card: ModelCard, probabilities: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    attention = np.repeat(probabilities[:, :1], card.attention_columns, axis=1)
    return {"probabilities": probabilities, "logits": np.log(probabilities), "attention": attention}


def _images(part: Items) -> list[bytes]:
    """Each image's own bytes, of whatever kind."""
    if part.kind is Kind.IMAGE:
        return list(part.blobs)
    return [part.cut(index, index + 1).blobs[0] for index in range(part.count)]
