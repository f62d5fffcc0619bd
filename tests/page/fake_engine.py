"""An engine that answers as the demo's nets would, at once, for the tests of the page.

What it says follows from the model and the image alone. A sample of `tests.page.samples` is named rightly by
`digits_plain` and `digits_se`; the other two err on some images, so that variants disagree. Bytes that are no
image are refused with a sentence, as a worker does.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve.core.card import AttentionBlock, ModelCard
from serve.core.errors import EngineError
from serve.core.messages import Batch, BatchReply, Items, Kind, ModelRef, Timings
from tests.page.samples import DIGITS, digit_of

# The option of `tests.page.fake_gateway` that adds a model with these labels.
HOSTILE = "--hostile"
HOSTILE_LABELS = (
    "<img src=x onerror=\"document.title='owned'\">",
    "\"><script>document.title='owned'</script>",
    "javascript:document.title='owned'",
    "' onmouseover='alert(1)",
    "{{constructor.constructor('return 1')()}}",
    "\u202egnp.evil\u202c",
    "Zo\u0308e \U0001f9d1\u200d\U0001f52c",
    "x" * 300,
    "&lt;b&gt;bold&lt;/b&gt;",
    "${document.title='owned'}",
)
# Images that a model names wrongly, as a share of all.
ERRING: Mapping[str, float] = {"digits_eca": 0.15, "digits_sk": 0.1, "hostile_too": 0.5}
_BLOCKS = (("layer1.0.attention", 8), ("layer2.0.attention", 16), ("layer3.0.attention", 32))
_PARAMETERS = {"none": 19_946, "se": 20_470, "eca": 19_959, "sk": 40_522}
_SURE = 6.0  # the logit of the class that is named, where the others' lie around 0
_BATCH_S = 0.002


class PageEngine:
    """Implements `Engine` for all the cards that it is given."""

    name = "fake-0"

    def __init__(self, cards: tuple[ModelCard, ...]) -> None:
        self.cards = cards
        self._cards = {card.ref: card for card in cards}

    async def predict(self, ref: ModelRef, batch: Batch, _timeout_s: float) -> BatchReply:
        """See `Engine`."""
        card = self._cards[ref]
        if "attention" in batch.outputs and not card.attention_columns:
            raise EngineError(f"{ref} has no output attention", reason="refused", retryable=False)
        await asyncio.sleep(_BATCH_S)
        images = [image for part in batch.parts for image in _images(part)]
        refused = {
            index: "image: the first bytes are of no known image format; must be one of PNG, JPEG"
            for index, (image, readable) in enumerate(images)
            if not readable
        }
        logits = np.stack([_logits(card, image) for image, _ in images])
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        outputs = {
            "logits": logits,
            "probabilities": probabilities.astype(np.float32),
            "attention": np.stack([_gates(card, image) for image, _ in images]),
        }
        return BatchReply(
            status=tuple(3 if index in refused else 0 for index in range(len(images))),
            messages=refused,
            outputs={name: array for name, array in outputs.items() if name in batch.outputs},
            timings=Timings(decode_s=0.0002, inference_s=_BATCH_S, encode_s=0.0001),
        )

    async def describe(self, ref: ModelRef, _timeout_s: float) -> ModelCard:
        """See `Engine`."""
        return self._cards[ref]

    async def close(self, grace_s: float = 0.0) -> None:
        """See `Engine`."""


def card_of(name: str, version: str, attention: str, labels: tuple[str, ...] = DIGITS) -> ModelCard:
    """What the gateway knows of a model; the signature has what the page shows of it."""
    blocks = () if attention == "none" else _BLOCKS
    layout = tuple(
        AttentionBlock(block=block, channels=channels, branches=2 if attention == "sk" else 1)
        for block, channels in blocks
    )
    return ModelCard(
        ref=ModelRef(name=name, version=version),
        labels=labels,
        input_size=(16, 16),
        attention=attention,
        attention_layout=layout,
        trained=True,
        max_batch=16,
        contents_sha256=sha256(f"{name}:{version}".encode()).hexdigest(),
        signature=_signature(name, version, attention, labels),
        recipe="eager",
    )


def _signature(name: str, version: str, attention: str, labels: tuple[str, ...]) -> dict[str, Any]:
    held_out = 54
    return {
        "format": 1,
        "name": name,
        "version": version,
        "architecture": name,
        "family": "resnet",
        "attention": attention,
        "trained": True,
        "labels": list(labels),
        "card": {
            "accuracy": 0.9926,
            "accuracy_interval_95": [0.9811, 0.9971],
            "confusion": (held_out * np.eye(len(labels), dtype=int)).tolist(),
            "macs": 809_728,
            "parameters": _PARAMETERS[attention],
            "source": "a fake of the tests: no net stands behind these figures",
        },
        "input": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "resize": {"interpolation": "bilinear", "method": "stretch", "size": [16, 16]},
            "size": [16, 16],
        },
        "parity": {"form": "trace", "max_abs_error": 6.6e-07, "samples": "real", "tolerance": 1e-4},
    }


def _images(part: Items) -> list[tuple[bytes, bool]]:
    """Each image's own bytes, and whether they can be read."""
    if part.kind is Kind.IMAGE:
        return [(image, _readable(image)) for image in part.blobs]
    return [(part.cut(index, index + 1).blobs[0], True) for index in range(part.count)]


def _readable(image: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(image)) as opened:
            opened.verify()
    except (OSError, SyntaxError):  # as Pillow says that it is none, or that it is broken
        return False
    return True


def _logits(card: ModelCard, image: bytes) -> NDArray[np.float32]:
    chance = _chance(card.ref.name, image)
    logits = chance.normal(0.0, 1.0, card.classes).astype(np.float32)
    shown = digit_of(image)
    errs = chance.random() < ERRING.get(card.ref.name, 0.0)
    logits[(shown + errs) % card.classes] = _SURE
    return logits


def _gates(card: ModelCard, image: bytes) -> NDArray[np.float32]:
    """Every channel's gate from 0 to 1; of branches that share a channel, the gates add up to 1."""
    chance = _chance(card.ref.name, image)
    gates = []
    for block in card.attention_layout:
        first = chance.beta(2.0, 2.0, block.channels)
        gates.append(first if block.branches == 1 else np.concatenate([first, 1 - first]))
    return np.concatenate(gates or [np.zeros(0)]).astype(np.float32)


def _chance(model: str, image: bytes) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(sha256(model.encode() + image).digest()[:8]))
