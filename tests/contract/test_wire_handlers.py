"""The handler's side of the packed request and reply, held to the golden vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handlers import attn_request, attn_wire
from handlers.attn_wire import Describe, Item, Reply, Request, WireError

VECTORS = Path(__file__).parent / "vectors"


def _names(pattern: str) -> list[str]:
    return sorted(path.stem for path in VECTORS.glob(pattern))


def _read(name: str) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return vector


def _row(vector: dict[str, Any]) -> dict[str, bytes]:
    blobs = {str(index): (VECTORS / blob).read_bytes() for index, blob in enumerate(vector["blobs"])}
    return {attn_request.HEADER_KEY: json.dumps(vector["header"]).encode(), **blobs}


def _plain(item: Item) -> dict[str, object]:
    if isinstance(item, bytes | bytearray):
        return {"kind": "image", "text": item.decode()}
    kind = "pixels" if item.dtype == np.uint8 else "input"
    return {"kind": kind, "shape": list(item.shape), "values": item.ravel().tolist()}


@pytest.mark.parametrize("name", _names("request_*"))
def test_requests_are_read_as_the_vectors_say(name: str) -> None:
    """Every request vector gives its items, its describe, or its refusal."""
    vector = _read(name)
    if "error" in vector:
        with pytest.raises(WireError) as refused:
            attn_request.parse(_row(vector))
        assert vector["error"] in str(refused.value)
        return
    request = attn_request.parse(_row(vector))
    if vector.get("describe"):
        assert request == Describe()
        return
    assert isinstance(request, Request)
    assert list(request.outputs) == vector["outputs"]
    assert [_plain(item) for item in request.items()] == vector["items"]


@pytest.mark.parametrize("name", _names("reply_*.json"))
def test_replies_are_written_as_the_vectors_say(name: str) -> None:
    """Every reply vector comes out byte for byte."""
    vector = _read(name)
    assert _encoded(vector["header"], vector["arrays"]) == (VECTORS / f"{name}.bin").read_bytes()


def _encoded(header: dict[str, Any], arrays: dict[str, list[list[float | None]]]) -> bytes:
    if "error" in header:
        return attn_wire.encode_error(header["error"]["code"], header["error"]["message"])
    if "describe" in header:
        return attn_wire.encode_describe(header["describe"])
    reply = Reply(
        status=header["status"],
        messages={int(index): message for index, message in header["messages"].items()},
        outputs={name: np.array(rows, dtype=np.float32) for name, rows in arrays.items()},
        timings_us=header["timings_us"],
        device=header["device"],
    )
    return attn_wire.encode_reply(reply)
