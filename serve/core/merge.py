"""Batches taken apart into single images, and replies put together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from serve.core.messages import Batch, BatchReply, Items, Timings


def images_of(batch: Batch) -> list[Items]:
    """Each image of a batch as `Items` of its own, in order."""
    return [part.cut(index, index + 1) for part in batch.parts for index in range(part.count)]


def batch_of(images: Sequence[Items], like: Batch) -> Batch:
    """A batch of some images that wants what another one wants, and is traced with it."""
    return Batch(parts=tuple(images), outputs=like.outputs, traces=like.traces)


def merge(rows: Mapping[int, tuple[BatchReply, int]], failures: Mapping[int, tuple[int, str]]) -> BatchReply:
    """One reply out of rows of several, and of images that have none.

    Args:
        rows: A reply and the row in it, by the index that the row gets; at least one.
        failures: gRPC code and public text of every other index.
    """
    indexes = range(len(rows) + len(failures))
    messages = {index: text for index, (_, text) in failures.items()}
    messages |= {i: reply.messages[row] for i, (reply, row) in rows.items() if row in reply.messages}
    replies = list({id(reply): reply for reply, _ in rows.values()}.values())
    return BatchReply(
        status=tuple(rows[i][0].status[rows[i][1]] if i in rows else failures[i][0] for i in indexes),
        messages=messages,
        outputs={name: _stack(name, rows, len(indexes)) for name in replies[0].outputs},
        timings=reduce(Timings.plus, (reply.timings for reply in replies)),
        troubled=any(reply.troubled for reply in replies),
    )


def _stack(name: str, rows: Mapping[int, tuple[BatchReply, int]], count: int) -> NDArray[np.float32]:
    columns = next(iter(rows.values()))[0].outputs[name].shape[1]
    stacked = np.full((count, columns), np.nan, dtype=np.float32)
    for index, (reply, row) in rows.items():
        stacked[index] = reply.outputs[name][row]
    return stacked
