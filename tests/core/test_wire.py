"""The gateway's side of the packed request and reply."""

from __future__ import annotations

import contextlib
import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve.core.messages import Batch, BatchReply, Items, Kind, Timings
from serve.core.wire import DESCRIBE_REQUEST, Description, RefusedBatchError, WireError, pack, unpack

GOOD: dict[str, Any] = {
    "count": 2,
    "status": [0, 3],
    "messages": {"1": "cannot decode"},
    "outputs": [
        {"name": "probabilities", "dtype": "FP32", "shape": [2, 3]},
        {"name": "logits", "dtype": "FP32", "shape": [2, 1]},
    ],
    "timings_us": {"decode": 1000, "inference": 2500.5, "encode": 0},
    "device": "cpu",
}
ARRAYS = np.array([[0.5, 0.25, 0.25], [math.nan] * 3], "<f4").tobytes() + np.array([1, 2], "<f4").tobytes()


def frame(header: object, arrays: bytes = b"") -> bytes:
    """A packed reply around any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<4sB3xI4x", b"ATSR", 1, len(text)) + text + arrays


def images(*blobs: bytes) -> Items:
    """Encoded images."""
    return Items(kind=Kind.IMAGE, blobs=blobs)


def test_a_batch_becomes_a_header_and_numbered_blobs() -> None:
    """Parts are described in order, and blobs are numbered over all of them."""
    pixels = Items(kind=Kind.PIXELS, blobs=(bytes(2 * 4 * 5 * 3),), shape=(2, 4, 5, 3))
    batch = Batch(parts=(images(b"a", b"b"), pixels), outputs=frozenset({"probabilities", "logits"}))

    packed = pack(batch)

    assert json.loads(packed.pop("attnserve")) == {
        "version": 1,
        "outputs": ["logits", "probabilities"],
        "parts": [{"kind": "image", "count": 2}, {"kind": "pixels", "shape": [2, 4, 5, 3]}],
    }
    assert packed == {"0": b"a", "1": b"b", "2": bytes(120)}


def test_blobs_are_passed_on_and_not_copied() -> None:
    """Packing a large image costs no second copy of it."""
    blob = bytes(1000)
    packed = pack(Batch(parts=(images(blob),), outputs=frozenset({"logits"})))
    assert packed["0"] is blob


def test_the_describe_request_has_only_a_header() -> None:
    """It asks for version 1 of the format."""
    assert {key: json.loads(value) for key, value in DESCRIBE_REQUEST.items()} == {
        "attnserve": {"version": 1, "describe": True}
    }


def test_a_good_reply_is_read() -> None:
    """Status, messages, arrays and timings arrive, microseconds as seconds."""
    reply = unpack(frame(GOOD, ARRAYS))

    assert isinstance(reply, BatchReply)
    assert (reply.status, reply.messages) == ((0, 3), {1: "cannot decode"})
    assert reply.timings == Timings(decode_s=0.001, inference_s=0.0025005, encode_s=0.0)
    np.testing.assert_array_equal(reply.outputs["probabilities"], [[0.5, 0.25, 0.25], [math.nan] * 3])
    np.testing.assert_array_equal(reply.outputs["logits"], [[1], [2]])


def test_each_array_is_padded_to_eight_bytes() -> None:
    """After 3 x 1 numbers of four bytes there are four bytes of padding."""
    header = GOOD | {"count": 3, "status": [0] * 3, "messages": {}}
    header["outputs"] = [{"name": name, "dtype": "FP32", "shape": [3, 1]} for name in ("a", "b")]
    column = np.array([1, 2, 3], "<f4").tobytes() + bytes(4)

    reply = unpack(frame(header, column + column))

    assert isinstance(reply, BatchReply)
    assert [array.tolist() for array in reply.outputs.values()] == [[[1], [2], [3]]] * 2


def test_a_description_is_read() -> None:
    """The answer to `DESCRIBE_REQUEST` carries the signature and the digest of the archive's contents."""
    entry: dict[str, Any] = {
        "signature": {"format": 1},
        "contents_sha256": "ab",
        "device": "cpu",
        "handler": "1",
    }
    assert unpack(frame({"count": 0, "describe": entry})) == Description(**entry)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"recipe": 5}, "recipe is a int, must be a str"),
        ({"recipe_reasons": "none"}, "recipe_reasons is a str, must be a list"),
        ({"recipe_reasons": ["a", 5]}, "recipe_reasons must be a list of strings"),
    ],
)
def test_what_a_worker_says_of_its_recipe_is_checked(told: dict[str, Any], words: str) -> None:
    """It may be left out, but where it is there it is text."""
    entry = {"signature": {}, "contents_sha256": "ab", "device": "cpu", "handler": "1"}
    with pytest.raises(WireError, match=words):
        unpack(frame({"count": 0, "describe": entry | told}))


def test_a_refusal_carries_the_workers_words() -> None:
    """A request that the worker refused as a whole is told apart from a broken reply."""
    with pytest.raises(RefusedBatchError, match="no such output") as refused:
        unpack(frame({"count": 0, "error": {"code": 3, "message": "no such output"}}))
    assert refused.value.status == 3


BROKEN: dict[str, dict[str, Any]] = {
    "count is -1": {"count": -1},
    "count is True": {"count": True},
    "count is None": {"count": None},
    "status has 1 entries": {"status": [0]},
    "status is '0'": {"status": ["0", 3]},
    "status is 17": {"status": [0, 17]},
    "status is a dict": {"status": {}},
    "messages is a list": {"messages": []},
    "no failed image": {"messages": {"0": "image 0 is well"}},
    "messages has '01'": {"messages": {"01": "not canonical"}},
    "messages has '7'": {"messages": {"7": "out of range"}},
    "or no text": {"messages": {"1": 5}},
    "outputs is a str": {"outputs": "probabilities"},
    "no JSON object": {"outputs": [1]},
    "name is a NoneType": {"outputs": [{"dtype": "FP32", "shape": [2, 3]}]},
    "dtype 'FP64'": {"outputs": [{"name": "p", "dtype": "FP64", "shape": [2, 4]}]},
    r"shape \[3, 3\]": {"outputs": [{"name": "p", "dtype": "FP32", "shape": [3, 3]}]},
    r"shape \[2, 2, 2\]": {"outputs": [{"name": "p", "dtype": "FP32", "shape": [2, 2, 2]}]},
    "over the end": {"outputs": [{"name": "p", "dtype": "FP32", "shape": [2, 1 << 80]}]},
    "is there twice": {"outputs": [{"name": "p", "dtype": "FP32", "shape": [2, 1]}] * 2},
    "the header announces 8": {"outputs": [{"name": "p", "dtype": "FP32", "shape": [2, 1]}]},
    "timings_us is a NoneType": {"timings_us": None},
    "timings_us.encode is None": {"timings_us": {"decode": 1, "inference": 1}},
    "timings_us.decode is -1": {"timings_us": {"decode": -1, "inference": 1, "encode": 1}},
    "timings_us.decode is nan": {"timings_us": {"decode": math.nan, "inference": 1, "encode": 1}},
    "timings_us.decode is inf": {"timings_us": {"decode": math.inf, "inference": 1, "encode": 1}},
    "timings_us.decode is too large": {"timings_us": {"decode": 10**400, "inference": 1, "encode": 1}},
    "describe is a int": {"describe": 1},
    "error is a list": {"error": []},
    "message is a NoneType": {"error": {"code": 3}},
    "error.code is 'x'": {"error": {"code": "x", "message": ""}},
}


@pytest.mark.parametrize(("says", "change"), BROKEN.items(), ids=BROKEN)
def test_a_broken_header_is_refused_by_name(says: str, change: dict[str, Any]) -> None:
    """Each rule of the header is enforced, and the message says which was broken."""
    with pytest.raises(WireError, match=says):
        unpack(frame(GOOD | change, ARRAYS))


def test_columns_without_rows_are_bounded() -> None:
    """An empty batch cannot announce an array with more columns than numpy can hold."""
    header = GOOD | {"count": 0, "status": [], "messages": {}}
    header["outputs"] = [{"name": "p", "dtype": "FP32", "shape": [0, 1 << 80]}]
    with pytest.raises(WireError, match="over the end"):
        unpack(frame(header))


@pytest.mark.parametrize(
    ("says", "reply"),
    [
        ("has 3 bytes", b"ATS"),
        ("no packed reply", b"JSON" + frame(GOOD, ARRAYS)[4:]),
        ("no packed reply", frame(GOOD, ARRAYS)[:5] + b"\1" + frame(GOOD, ARRAYS)[6:]),
        ("no packed reply", frame(GOOD, ARRAYS)[:15] + b"\1" + frame(GOOD, ARRAYS)[16:]),
        ("of version 2", b"ATSR\2" + frame(GOOD, ARRAYS)[5:]),
        ("no multiple of 8", struct.pack("<4sB3xI4x", b"ATSR", 1, 4) + b"true"),
        ("over the end", struct.pack("<4sB3xI4x", b"ATSR", 1, 2**32 - 8) + b"{}      "),
        ("no JSON", frame(b"{\xff}")),
        ("no JSON", frame(b"[" * 100_000)),
        ("no JSON", frame(b'{"a": "\\ud800"}')),
        ("no JSON object", frame([])),
        ("runs over the end", frame(GOOD, ARRAYS[:-1])),
        ("the header announces", frame(GOOD, ARRAYS + b"\0")),
    ],
)
def test_a_broken_frame_is_refused(says: str, reply: bytes) -> None:
    """What is wrong around the header is told as well."""
    with pytest.raises(WireError, match=says):
        unpack(reply)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)
HEADERS = st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, JSON) | {"describe": JSON, "error": JSON})


@given(st.binary(max_size=200))
@example(b"")
def test_arbitrary_bytes_raise_nothing_else(reply: bytes) -> None:
    """No bytes whatever make anything but a `WireError`."""
    with pytest.raises(WireError):
        unpack(reply)


@given(HEADERS, st.binary(max_size=40))
def test_arbitrary_headers_raise_nothing_else(change: dict[str, Any], arrays: bytes) -> None:
    """Nor does any header in a right frame."""
    with contextlib.suppress(WireError):
        unpack(frame(GOOD | change, arrays))


@given(st.integers(0, len(frame(GOOD, ARRAYS)) - 1), st.integers(0, 255))
def test_one_changed_byte_raises_nothing_else(position: int, value: int) -> None:
    """A good reply with one byte changed is read or refused, and never does harm."""
    reply = bytearray(frame(GOOD, ARRAYS))
    reply[position] = value
    with contextlib.suppress(WireError):
        unpack(bytes(reply))


@given(st.integers(1, 5), st.integers(0, 5), st.data())
def test_every_array_comes_back_bit_for_bit(rows: int, columns: int, data: st.DataObject) -> None:
    """Any float32 values, NaN and infinity among them, survive."""
    raw = data.draw(st.binary(min_size=4 * rows * columns, max_size=4 * rows * columns))
    header = GOOD | {"count": rows, "status": [0] * rows, "messages": {}}
    header["outputs"] = [{"name": "p", "dtype": "FP32", "shape": [rows, columns]}]

    reply = unpack(frame(header, raw + bytes(-len(raw) % 8)))

    assert isinstance(reply, BatchReply)
    assert reply.outputs["p"].shape == (rows, columns)
    assert reply.outputs["p"].tobytes() == raw
