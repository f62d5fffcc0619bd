"""Batches taken apart and put together again keep every image's row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve.core.merge import batch_of, images_of, merge
from serve.core.messages import Batch, BatchReply, Items, Kind, Timings


def reply_to(marks: list[int]) -> BatchReply:
    """A reply whose rows tell which image they are for; odd ones have failed."""
    return BatchReply(
        status=tuple(3 * (mark % 2) for mark in marks),
        messages={row: f"image {mark}" for row, mark in enumerate(marks) if mark % 2},
        outputs={"probabilities": np.array([[mark, mark] for mark in marks], dtype=np.float32)},
        timings=Timings(decode_s=1.0, inference_s=2.0, encode_s=3.0),
    )


def test_a_batch_falls_into_its_images() -> None:
    """Files and rows of tensors alike, in order; put together they are the same images."""
    files = Items(kind=Kind.IMAGE, blobs=(b"a", b"b"))
    pixels = Items(kind=Kind.PIXELS, blobs=(bytes(range(6)),), shape=(2, 1, 1, 3))
    batch = Batch(parts=(files, pixels), outputs=frozenset({"logits"}))
    images = images_of(batch)
    assert [image.blobs for image in images] == [(b"a",), (b"b",), (b"\0\1\2",), (b"\3\4\5",)]
    assert batch_of(images, batch) == Batch(parts=tuple(images), outputs=batch.outputs)


@given(st.lists(st.sampled_from(["first", "second", "failed"]), min_size=1, max_size=12))
def test_every_row_finds_its_place(origins: list[str]) -> None:
    """Whichever reply a row is in, and whichever images have none."""
    if set(origins) == {"failed"}:
        origins = [*origins, "first"]
    marks = {name: [i for i, origin in enumerate(origins) if origin == name] for name in set(origins)}
    replies = {name: reply_to(own) for name, own in marks.items() if name != "failed"}
    rows = {mark: (replies[name], row) for name in replies for row, mark in enumerate(marks[name])}
    merged = merge(rows, dict.fromkeys(marks.get("failed", []), (14, "gone")))
    for i, origin in enumerate(origins):
        row = merged.outputs["probabilities"][i]
        if origin == "failed":
            assert (merged.status[i], merged.messages[i], np.isnan(row).all()) == (14, "gone", True)
        else:
            assert (row == i).all()
            assert (merged.status[i], merged.messages.get(i)) == ((3, f"image {i}") if i % 2 else (0, None))
    assert merged.timings.inference_s == 2.0 * len(replies)
