"""The fake engine is an engine: same verbs, same errors, and what it does is known beforehand."""

from __future__ import annotations

import asyncio
import hashlib
import time

import numpy as np
import pytest

from serve.core.card import AttentionBlock, ModelCard
from serve.core.errors import EngineError
from serve.core.messages import Batch, Items, Kind, ModelRef
from serve.engines.base import Engine
from serve.engines.fake import FakeEngine, Pace, class_of

REF = ModelRef(name="net", version="2")


def card(ref: ModelRef = REF, columns: int = 0) -> ModelCard:
    """A card of three classes."""
    return ModelCard(
        ref=ref,
        labels=("a", "b", "c"),
        input_size=(8, 8),
        attention="se" if columns else "none",
        attention_layout=(AttentionBlock(block="1", channels=columns, branches=1),) if columns else (),
        trained=True,
        max_batch=8,
        contents_sha256="",
        signature={},
    )


def batch(*images: bytes, outputs: tuple[str, ...] = ("probabilities",)) -> Batch:
    """A batch of encoded images."""
    return Batch(parts=(Items(kind=Kind.IMAGE, blobs=images),), outputs=frozenset(outputs))


async def test_the_class_of_an_image_follows_from_its_bytes() -> None:
    """The same image has the same class in every batch, and probabilities add up to 1."""
    engine: Engine = FakeEngine("fake", [card()])
    images = [bytes([value]) for value in range(20)]

    together = (await engine.predict(REF, batch(*images), 1)).outputs["probabilities"]
    alone = [(await engine.predict(REF, batch(image), 1)).outputs["probabilities"][0] for image in images]

    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-6)
    expected = [hashlib.sha256(image).digest()[0] % 3 for image in images]
    assert together.argmax(axis=1).tolist() == expected == [class_of(image, 3) for image in images]


async def test_images_of_a_tensor_are_told_apart() -> None:
    """A raw tensor's images have the classes of their own bytes."""
    pixels = Items(kind=Kind.PIXELS, blobs=(bytes(12) + bytes([7] * 12),), shape=(2, 2, 2, 3))
    reply = await FakeEngine("fake", [card()]).predict(
        REF, Batch(parts=(pixels,), outputs=frozenset({"logits"})), 1
    )
    assert list(reply.outputs) == ["logits"]
    assert reply.outputs["logits"].argmax(axis=1).tolist() == [
        class_of(bytes(12), 3),
        class_of(bytes([7] * 12), 3),
    ]


async def test_a_bad_image_fails_alone() -> None:
    """It has a code, a message and a row of NaN; its neighbour is well."""
    reply = await FakeEngine("fake", [card()]).predict(REF, batch(b"good", b"BAD image"), 1)
    assert (reply.status, list(reply.messages)) == ((0, 3), [1])
    assert np.isnan(reply.outputs["probabilities"]).all(axis=1).tolist() == [False, True]


async def test_attention_has_the_cards_columns_or_is_refused() -> None:
    """A plain net does not offer it."""
    engine = FakeEngine("fake", [card(columns=5)])
    reply = await engine.predict(REF, batch(b"1", outputs=("attention",)), 1)
    assert reply.outputs["attention"].shape == (1, 5)
    engine.hold(card())
    with pytest.raises(EngineError, match="attention") as failed:
        await engine.predict(REF, batch(b"1", outputs=("attention",)), 1)
    assert (failed.value.reason, failed.value.retryable) == ("refused", False)


async def test_the_default_version_is_the_highest() -> None:
    """Numbers are compared as numbers; a model that was dropped is missing."""
    ten = card(ModelRef(name="net", version="10"))
    engine = FakeEngine("fake", [card(), ten])
    anybody = ModelRef(name="net", version="")
    assert await engine.describe(anybody, 1) == ten
    engine.drop(ten.ref)
    assert await engine.describe(anybody, 1) == card()
    engine.drop(REF)
    with pytest.raises(EngineError) as failed:
        await engine.describe(anybody, 1)
    assert (failed.value.reason, failed.value.retryable) == ("missing", False)


async def test_failures_come_as_often_as_asked() -> None:
    """The next batches fail with the error given, the one after them does not."""
    engine = FakeEngine("fake", [card()])
    error = EngineError("worker died", reason="lost")
    engine.fail_next(error, times=2)
    results = await asyncio.gather(
        *(engine.predict(REF, batch(b"1"), 1) for _ in range(3)), return_exceptions=True
    )
    assert results[:2] == [error, error]
    assert not isinstance(results[2], BaseException)
    assert len(engine.batches) == 3


async def test_a_batch_takes_its_time_and_a_worker_runs_one() -> None:
    """Four batches on two workers take as long as two."""
    engine = FakeEngine("fake", [card()], Pace(workers=2, batch_s=0.05, image_s=0.025))
    began = time.monotonic()
    replies = await asyncio.gather(*(engine.predict(REF, batch(b"1", b"2"), 5) for _ in range(4)))
    assert 0.2 <= time.monotonic() - began < 0.4
    assert replies[0].timings.inference_s == pytest.approx(0.1)


async def test_a_hanging_engine_ends_calls_in_time_and_can_go_on() -> None:
    """The deadline holds; after `wake` it answers again."""
    engine = FakeEngine("fake", [card()])
    engine.hang()
    for call in (engine.predict(REF, batch(b"1"), 0.02), engine.describe(REF, 0.02)):
        with pytest.raises(EngineError) as failed:
            await call
        assert (failed.value.reason, failed.value.retryable) == ("timeout", True)
    engine.wake()
    assert (await engine.predict(REF, batch(b"1"), 1)).status == (0,)


async def test_a_closed_engine_is_unreachable() -> None:
    """Calls after `close` fail as they do on a real engine."""
    engine = FakeEngine("fake", [card()])
    await engine.close()
    with pytest.raises(EngineError) as failed:
        await engine.predict(REF, batch(b"1"), 1)
    assert (failed.value.reason, failed.value.retryable) == ("unreachable", True)
