"""The packed request: what is refused, with which words, and that nothing else ever comes out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handlers import attn_request
from handlers.attn_wire import OUTPUTS, Describe, Item, Request, WireError

IMAGE = {"kind": "image", "count": 1}
GOOD = {"version": 1, "outputs": ["probabilities"], "parts": [IMAGE]}


def _row(header: object, *blobs: object) -> dict[str, object]:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return {"attnserve": raw, **{str(index): blob for index, blob in enumerate(blobs)}}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (_row(b"\xff"), "attnserve: not a JSON object in UTF-8"),
        (_row(b"{"), "attnserve: not a JSON object in UTF-8"),
        (_row(b"[" * 100_000), "attnserve: not a JSON object in UTF-8"),
        (_row(b'{"version": ' + b"9" * 6000 + b"}"), "attnserve: not a JSON object in UTF-8"),
        (_row(b'{"version": NaN}'), "attnserve: NaN is no JSON number"),
        (_row([1]), "attnserve: must be a JSON object, got [1]"),
        (_row(b" " * (1 << 21)), "at most 1048576 are allowed"),
        ({"attnserve": 5}, "key 'attnserve': must hold bytes, got int"),
        (_row({**GOOD, "version": True}), "version: must be 1, got True"),
        (_row({**GOOD, "version": "1"}), "version: must be 1, got '1'"),
        (_row({**GOOD, "outputs": []}), "outputs: must be a list of at least one name, got []"),
        (_row({**GOOD, "outputs": "logits"}), "outputs: must be a list of at least one name, got 'logits'"),
        (_row({**GOOD, "outputs": [["logits"]]}), "outputs: ['logits'] is none of"),
        (_row({**GOOD, "outputs": ["logits", "logits"]}), "outputs: each name may stand once"),
        (_row({**GOOD, "parts": []}), "parts: must be a list of at least one part, got []"),
        (_row({**GOOD, "parts": [3]}, b""), "parts[0]: must be an object, got 3"),
        (_row({**GOOD, "parts": [{"kind": []}]}), "parts[0].kind: [] is none of image, pixels, input"),
        (_row({**GOOD, "parts": [IMAGE, {"kind": "image", "count": 0}]}, b""), "parts[1].count: must be an"),
        (
            _row({**GOOD, "parts": [{"kind": "image", "count": True}]}, b""),
            "parts[0].count: must be an integer",
        ),
        (_row({**GOOD, "parts": [{**IMAGE, "size": 1}]}, b""), "parts[0]: unknown key 'size'"),
        (_row({**GOOD, "parts": [{"kind": "pixels", "shape": [1, 2, 3]}]}, b""), "a list of 4 integers"),
        (_row({**GOOD, "parts": [{"kind": "pixels", "shape": [1, 2, 2, 4]}]}, b""), "must be [n,H,W,3]"),
        (_row({**GOOD, "parts": [{"kind": "pixels", "shape": [10**6] * 3 + [3]}]}, b""), "bytes, got 0"),
        (
            _row({**GOOD, "parts": [{"kind": "pixels", "shape": [1, 1, -1, 3]}]}, b""),
            "from 1 to 1000000, got -1",
        ),
        (
            _row({**GOOD, "parts": [{"kind": "input", "shape": [1, 3, 1, 1]}]}, bytes(11)),
            "takes 12 bytes, got 11",
        ),
        (_row(GOOD, "text"), "key '0': must hold bytes, got str"),
        (_row(GOOD, b"", b""), "key '1': no part consumes it"),
        ({**_row(GOOD, b""), "extra": b""}, "key 'extra': no part consumes it"),
        (_row({"version": 1, "describe": 1}), "describe: must be true, got 1"),
        (_row({"version": 1, "describe": True, "parts": []}), "unknown key 'parts'"),
        (_row({"version": 1, "describe": True}, b""), "describe: takes no blobs, got 1"),
    ],
)
def test_each_violation_is_refused_by_name(row: dict[str, object], words: str) -> None:
    """The message names field, value and rule, and the code is INVALID_ARGUMENT."""
    with pytest.raises(WireError) as refused:
        attn_request.parse(row)
    assert words in str(refused.value)
    assert refused.value.code == 3


def test_long_values_are_cut_in_messages() -> None:
    """What a sender wrote does not come back at full length."""
    with pytest.raises(WireError) as refused:
        attn_request.parse(_row({**GOOD, "outputs": ["x" * 10_000]}))
    assert len(str(refused.value)) < 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_PART = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["image", "pixels", "input"]) | _JSON,
        "count": st.integers(-1, 3) | _JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=5) | _JSON,
    },
)
_HEADER = st.fixed_dictionaries(
    {"version": st.just(1) | _JSON},
    optional={
        "outputs": st.lists(st.sampled_from(OUTPUTS), max_size=3) | _JSON,
        "parts": st.lists(_PART, max_size=3) | _JSON,
        "describe": st.just(value=True) | _JSON,
    },
)
_BLOB = st.binary(max_size=60) | st.binary(max_size=60).map(bytearray) | st.none() | st.text(max_size=3)


@given(
    header=st.binary() | _HEADER.map(lambda header: json.dumps(header).encode()),
    blobs=st.dictionaries(st.sampled_from("0123") | st.text(max_size=2), _BLOB, max_size=4),
)
def test_any_row_is_read_or_refused(header: bytes, blobs: dict[str, object]) -> None:
    """Whatever arrives, the outcome is a request, a describe or a WireError."""
    try:
        content = attn_request.parse({**blobs, "attnserve": header})
    except WireError:
        return
    assert isinstance(content, Request | Describe)


_PIXELS = hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 3)] * 3, st.just(3)))
_INPUT = hnp.arrays(np.dtype("<f4"), st.tuples(st.integers(1, 2), st.just(3), *[st.integers(1, 3)] * 2))


@given(
    outputs=st.lists(st.sampled_from(OUTPUTS), min_size=1, unique=True),
    parts=st.lists(st.lists(st.binary(max_size=9), min_size=1, max_size=3) | _PIXELS | _INPUT, min_size=1),
)
def test_items_come_out_as_they_went_in(outputs: list[str], parts: list[list[bytes] | np.ndarray]) -> None:
    """Parts of any kinds and sizes keep their items, bit for bit and in order."""
    header: list[object] = []
    blobs: list[bytes] = []
    for part in parts:
        if isinstance(part, list):
            header.append({"kind": "image", "count": len(part)})
            blobs += part
        else:
            kind = "pixels" if part.dtype == np.uint8 else "input"
            header.append({"kind": kind, "shape": list(part.shape)})
            blobs.append(part.tobytes())
    content = attn_request.parse(_row({"version": 1, "outputs": outputs, "parts": header}, *blobs))
    assert isinstance(content, Request)
    assert content.outputs == tuple(outputs)
    assert [_bytes(item) for item in content.items()] == [_bytes(item) for part in parts for item in part]


def _bytes(item: Item) -> bytes:
    return item.tobytes() if isinstance(item, np.ndarray) else bytes(item)
