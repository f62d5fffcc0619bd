"""What there is to ask of each sort of engine, with the right answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import numpy as np

from loadtests.soak.fakes import LABELS, MODELS, SIDE
from loadtests.soak.questions import Expected, Item, Shelf, Stock
from serve.core.messages import Kind
from serve.engines.fake import BAD_IMAGE, class_of

FAKE_CONFIDENCE: Final = 0.9
# Bytes of an image -> how many such images there are, and how often one of them is drawn (in 1/1000).
_FILES: Final = (
    (100, 40, 250),
    (2_000, 40, 250),
    (20_000, 20, 90),
    (250_000, 4, 8),
    (3_000_000, 1, 2),
)
_BIG: Final = 100_000  # from there on, one a request
_PICTURES: Final = ((8, 8), (16, 24), (32, 32))
_OF_EACH: Final = 20


def fake_stock(seed: int) -> Stock:
    """Random bytes of many sizes; a fake engine's answer follows from the bytes."""
    chance = random.Random(f"{seed}:stock")
    shelves = (*_files(chance), *_pixels(chance), _tensors(chance))
    items = [item for shelf in shelves for item in shelf.items]
    return Stock(
        models=MODELS,
        shelves=shelves,
        bad=tuple(
            Item(name=f"bad-{number}", kind=Kind.IMAGE, payload=BAD_IMAGE + bytes(number), good=False)
            for number in range(5)
        ),
        expected={(model.name, item.name): _expected(item) for model in MODELS for item in items},
        classes=len(LABELS),
        tolerance=1e-6,
    )


def _expected(item: Item) -> Expected:
    index = class_of(item.payload, len(LABELS))
    return Expected(LABELS[index], index, FAKE_CONFIDENCE)


def _files(chance: random.Random) -> Iterator[Shelf]:
    for size, count, share in _FILES:
        items = (
            Item(
                name=f"file-{size}-{number}",
                kind=Kind.IMAGE,
                payload=chance.randbytes(size + chance.randrange(size)),
            )
            for number in range(count)
        )
        yield Shelf(items=tuple(items), share=share, most=1 if size >= _BIG else 24)


def _pixels(chance: random.Random) -> Iterator[Shelf]:
    for height, width in _PICTURES:
        shape = (height, width, 3)
        items = (
            Item(
                name=f"pixels-{height}x{width}-{number}",
                kind=Kind.PIXELS,
                payload=chance.randbytes(height * width * 3),
                shape=shape,
            )
            for number in range(_OF_EACH)
        )
        yield Shelf(items=tuple(items), share=70)


def _tensors(chance: random.Random) -> Shelf:
    shape = (3, SIDE, SIDE)
    random_state = np.random.default_rng(chance.getrandbits(64))
    rows = random_state.normal(size=(_OF_EACH, *shape)).astype("<f4")
    items = (
        Item(name=f"input-{number}", kind=Kind.INPUT, payload=row.tobytes(), shape=shape)
        for number, row in enumerate(rows)
    )
    return Shelf(items=tuple(items), share=190)
