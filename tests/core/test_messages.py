"""The values that walk through the house: counting and cutting images."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.core.messages import Batch, Items, Kind, ModelRef, Tensor


def images(count: int, seed: int) -> Items:
    """Encoded files of different lengths, some of them empty."""
    random = np.random.default_rng(seed)
    return Items(kind=Kind.IMAGE, blobs=tuple(random.bytes(int(random.integers(0, 9))) for _ in range(count)))


def pixels(count: int, seed: int) -> Items:
    """UINT8 [count, 2, 3, 3]."""
    return Items(
        kind=Kind.PIXELS,
        blobs=(np.random.default_rng(seed).bytes(count * 2 * 3 * 3),),
        shape=(count, 2, 3, 3),
    )


def features(count: int, seed: int) -> Items:
    """FP32 [count, 3, 2, 2]."""
    return Items(
        kind=Kind.INPUT,
        blobs=(np.random.default_rng(seed).bytes(count * 3 * 2 * 2 * 4),),
        shape=(count, 3, 2, 2),
    )


ITEMS = st.builds(
    lambda make, count, seed: make(count, seed),
    st.sampled_from([images, pixels, features]),
    st.integers(1, 20),
    st.integers(0, 2**32 - 1),
)


def content(items: Items) -> bytes:
    """All bytes, in order, told apart where the images are."""
    return b"|".join(items.blobs) if items.kind is Kind.IMAGE else items.blobs[0]


@settings(deadline=None)  # the machine may be busy
@given(items=ITEMS, data=st.data())
def test_pieces_make_up_the_whole(items: Items, data: st.DataObject) -> None:
    """Cut anywhere, the pieces count up to the whole and hold its bytes in order, each of the same kind."""
    cuts = data.draw(st.lists(st.integers(1, items.count), unique=True).map(sorted))
    edges = [0, *cuts] if items.count in cuts else [0, *cuts, items.count]
    pieces = [items.cut(start, stop) for start, stop in pairwise(edges)]
    assert sum(piece.count for piece in pieces) == items.count
    assert sum(piece.size_bytes for piece in pieces) == items.size_bytes
    assert {piece.kind for piece in pieces} == {items.kind}
    assert {piece.shape[1:] for piece in pieces} == {items.shape[1:]}
    separator = b"|" if items.kind is Kind.IMAGE else b""
    assert separator.join(content(piece) for piece in pieces) == content(items)


@settings(deadline=None)  # the machine may be busy
@given(items=ITEMS, data=st.data())
def test_cutting_twice_is_cutting_once(items: Items, data: st.DataObject) -> None:
    """A piece of a piece is the piece of the whole at the sum of both starts."""
    start = data.draw(st.integers(0, items.count - 1))
    stop = data.draw(st.integers(start + 1, items.count))
    inner = data.draw(st.integers(0, stop - start - 1))
    assert items.cut(start, stop).cut(inner, stop - start) == items.cut(start + inner, stop)


@pytest.mark.parametrize("make", [images, pixels, features])
def test_the_whole_is_not_copied(make: Callable[[int, int], Items]) -> None:
    """Nearly every request fits into one batch: its bytes are passed on as they are."""
    items = make(4, 0)
    assert items.cut(0, 4) is items


def test_a_piece_of_pixels_is_the_slice_of_the_array() -> None:
    """Rows 1 and 2 of an array are what the piece 1..3 holds."""
    array = np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)
    items = Items(kind=Kind.PIXELS, blobs=(array.tobytes(),), shape=array.shape)
    piece = items.cut(1, 3)
    assert piece.shape == (2, 2, 3, 3)
    assert np.array_equal(np.frombuffer(piece.blobs[0], np.uint8).reshape(piece.shape), array[1:3])


def test_counts_and_names() -> None:
    """A batch counts its parts' images, a tensor multiplies its shape, a version is written with a colon."""
    assert Batch(parts=(images(3, 0), pixels(2, 0)), outputs=frozenset()).count == 5
    assert Tensor(name="t", datatype="FP32", shape=(2, 3, 4), data=b"").elements == 24
    assert Tensor(name="t", datatype="FP32", shape=(), data=b"").elements == 1
    assert str(ModelRef(name="digits_se", version="2")) == "digits_se:2"
