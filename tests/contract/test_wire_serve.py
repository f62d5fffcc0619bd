"""The gateway's side of the packed request and reply, held to the golden vectors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from serve.core.messages import Batch, BatchReply, Items, Kind
from serve.core.wire import DESCRIBE_REQUEST, Description, RefusedBatchError, pack, unpack

VECTORS = Path(__file__).parent / "vectors"


def _read(name: str) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return vector


def _batch(vector: dict[str, Any]) -> Batch:
    """The batch that a request vector's header and blobs describe."""
    blobs = iter([(VECTORS / name).read_bytes() for name in vector["blobs"]])
    parts = []
    for part in vector["header"]["parts"]:
        kind = Kind(part["kind"])
        used = tuple(next(blobs) for _ in range(part.get("count", 1)))
        parts.append(Items(kind=kind, blobs=used, shape=tuple(part.get("shape", ()))))
    return Batch(parts=tuple(parts), outputs=frozenset(vector["header"]["outputs"]))


@pytest.mark.parametrize("name", ["request_images", "request_mixed"])
def test_requests_are_written_as_the_vectors_say(name: str) -> None:
    """The same batch gives the vector's header and blobs."""
    vector = _read(name)
    packed = pack(_batch(vector))

    header = json.loads(packed.pop("attnserve"))
    assert header.pop("outputs") == sorted(vector["header"].pop("outputs"))
    assert header == vector["header"]
    assert list(packed.values()) == [(VECTORS / blob).read_bytes() for blob in vector["blobs"]]


def test_the_describe_request_is_the_vectors() -> None:
    """It has the vector's header and no blobs."""
    vector = _read("request_describe")
    assert {key: json.loads(value) for key, value in DESCRIBE_REQUEST.items()} == {
        "attnserve": vector["header"]
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in VECTORS.glob("reply_*.json")))
def test_replies_are_read_as_the_vectors_say(name: str) -> None:
    """Every reply vector's bytes give what its JSON says."""
    vector = _read(name)
    header, data = vector["header"], (VECTORS / f"{name}.bin").read_bytes()
    if "error" in header:
        with pytest.raises(RefusedBatchError) as refused:
            unpack(data)
        assert (refused.value.status, refused.value.message) == tuple(header["error"].values())
        return
    reply = unpack(data)
    if "describe" in header:
        told = header["describe"]
        assert reply == Description(**told | {"recipe_reasons": tuple(told.get("recipe_reasons", ()))})
        return
    assert isinstance(reply, BatchReply)
    assert list(reply.status) == header["status"]
    assert {str(index): text for index, text in reply.messages.items()} == header["messages"]
    assert reply.timings.inference_s == header["timings_us"]["inference"] / 1e6
    assert {key: _rows(array.tolist()) for key, array in reply.outputs.items()} == vector["arrays"]


def _rows(rows: list[list[float]]) -> list[list[float | None]]:
    """Numbers as the vectors write them: null for NaN."""
    return [[None if math.isnan(value) else value for value in row] for row in rows]
