"""Inference requests are read without their raw tensors; protobuf's own parser is the reference."""

from __future__ import annotations

import tracemalloc

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from serve.core.errors import InvalidRequestError, ServeError, TooLargeError
from serve.edge import oip_proto
from serve.edge.proto_bounds import MAX_FIELDS
from serve.edge.proto_raw import MAX_RAW, without_raw
from serve.pb import open_inference_pb2 as pb

TEXT = st.text(max_size=5)
PARAMETERS = st.dictionaries(TEXT, st.builds(pb.InferParameter, int64_param=st.integers(0, 9)), max_size=2)
INPUTS = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=TEXT,
    datatype=TEXT,
    shape=st.lists(st.integers(-1, 2**40), max_size=3),
    parameters=PARAMETERS,
    contents=st.none() | st.builds(pb.InferTensorContents, fp32_contents=st.just([0.5, 2.0])),
)
MESSAGES = st.builds(
    pb.ModelInferRequest,
    model_name=TEXT,
    id=TEXT,
    parameters=PARAMETERS,
    inputs=st.lists(INPUTS, max_size=2),
    raw_input_contents=st.lists(st.binary(max_size=200), max_size=3),
).map(pb.ModelInferRequest.SerializeToString)
# What no client of today writes: fields that nobody knows (of each wire type; 0x93 has two bytes of tag), a
# group, with a field 7 inside that is none of ours, field 7 as a number, a shape that is not packed, lengths
# with more bytes than they need, and bytes that are no message or end in the middle of one.
ODD = st.sampled_from(
    [
        b"\x50\x05", b"\x51" + bytes(8), b"\x52\x02ab", b"\x55" + bytes(4), b"\x9a\x01\x01x",
        b"\x53\x3a\x01x\x54", b"\x38\x07", b"\x2a\x04\x18\x01\x18\x02", b"\x3a\x81\x00x",
        b"\x3a\x81\x80\x80\x00x", b"\x3a\x81\x80\x80\x80\x00x", b"\xba\x00\x01x",
        b"\x0a\x01\xff", b"\x3a\x05ab", b"\x07", b"\x02\x01x",
    ]
)  # fmt: skip
WIRE = st.lists(MESSAGES | ODD | st.binary(max_size=4), max_size=4).map(b"".join)


@given(WIRE)
def test_any_bytes_are_read_as_protobuf_reads_them(data: bytes) -> None:
    """Messages one after the other are merged, what is unknown is kept, and the same bytes are refused."""
    try:
        expected = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        with pytest.raises(InvalidRequestError, match=f"^the {len(data)} bytes received are not a"):
            oip_proto.parse_infer(data)
        return
    message, raw = oip_proto.parse_infer(data)
    assert [bytes(one) for one in raw] == expected.raw_input_contents
    for one in (message, expected):
        one.ClearField("raw_input_contents")
    assert message == expected
    assert message.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@given(MESSAGES)
def test_what_clients_write_is_decoded_to_the_same_request(data: bytes) -> None:
    """The request, or the words of its refusal, are those for a message that protobuf has parsed whole."""
    found, expected = (_decoded(data, whole=whole) for whole in (False, True))
    assert found == expected


@given(MESSAGES, st.integers(1, 12))
def test_a_message_that_ends_early_is_never_split(data: bytes, missing: int) -> None:
    """Wherever a field is cut off, the parser gets to say so."""
    split = without_raw(data + b"\x3a\x0c" + bytes(12 - missing))
    assert split is None


def test_raw_tensors_are_not_copied() -> None:
    """They are views of the bytes that came, and the rest is as small as it looks."""
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[b"x" * 300, b"y"])
    data = message.SerializeToString()
    split = without_raw(data)
    assert split is not None
    assert [one.obj is data for one in split.raw] == [True, True]
    assert split.head == pb.ModelInferRequest(model_name="m").SerializeToString()


def test_what_may_have_too_many_fields_is_counted_whole() -> None:
    """More raw tensors, or more bytes beside them, than are known to be few enough go to who counts them."""
    few, many = (pb.ModelInferRequest(raw_input_contents=[b"x"] * n) for n in (MAX_RAW, MAX_RAW + 1))
    assert without_raw(few.SerializeToString()) is not None
    assert without_raw(many.SerializeToString()) is None
    assert without_raw(pb.ModelInferRequest(id="x" * MAX_FIELDS).SerializeToString()) is None
    with pytest.raises(TooLargeError, match="fields"):
        oip_proto.parse_infer(b"\x3a\x00" * (MAX_FIELDS + 1))


def test_a_message_of_tiny_fields_costs_nothing() -> None:
    """Two bytes make a field: that there are too many is seen before each has become an object."""
    data = b"\x0a\x00" * (1 << 18)
    tracemalloc.start()
    try:
        assert without_raw(data) is None
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def _decoded(data: bytes, *, whole: bool) -> object:
    parsed = oip_proto.parse_infer(data)
    if whole:
        parsed = oip_proto.InferMessage(
            message := pb.ModelInferRequest.FromString(data), message.raw_input_contents
        )
    try:
        return oip_proto.decode_infer(parsed.message, parsed.raw)
    except ServeError as error:
        return type(error), error.message
