"""The gRPC codec over any bytes: each message is read or refused, and what is refused early was too large."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from serve.core.errors import InvalidRequestError, ServeError, TooLargeError
from serve.edge import oip_proto, proto_bounds
from serve.edge.oip_proto_catalog import decode_repository_parameters
from serve.pb import open_inference_pb2 as pb

REQUESTS = (
    pb.ModelInferRequest,
    pb.ModelReadyRequest,
    pb.ModelMetadataRequest,
    pb.ModelStatisticsRequest,
    pb.RepositoryIndexRequest,
    pb.RepositoryModelLoadRequest,
    pb.RepositoryModelUnloadRequest,
)
MOST = 40  # fields, and numbers, in place of the real limits


def _read(kind: type[Message], data: bytes) -> None:
    message = oip_proto.parse(kind, data)
    if isinstance(message, pb.ModelInferRequest):
        oip_proto.decode_infer(message)
    if isinstance(message, pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest):
        decode_repository_parameters(message.parameters)


@given(st.sampled_from(REQUESTS), st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_errors_of_ours(kind: type[Message], data: bytes) -> None:
    """Whatever arrives, it is read or refused; nothing else is raised."""
    with contextlib.suppress(ServeError):
        _read(kind, data)


_NUMBERS = st.lists(st.integers(0, 2**31 - 1), max_size=6)


@st.composite
def _contents(draw: st.DrawFn) -> pb.InferTensorContents:
    return pb.InferTensorContents(
        bool_contents=draw(st.lists(st.booleans(), max_size=3)),
        int_contents=draw(_NUMBERS),
        int64_contents=draw(_NUMBERS),
        uint64_contents=draw(_NUMBERS),
        fp32_contents=draw(st.lists(st.floats(width=32), max_size=3)),
        fp64_contents=draw(st.lists(st.floats(), max_size=3)),
        bytes_contents=draw(st.lists(st.binary(max_size=9), max_size=6)),
    )


@st.composite
def _messages(draw: st.DrawFn) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(
        model_name=draw(st.text(max_size=5)),
        id=draw(st.text(max_size=5)),
        raw_input_contents=draw(st.lists(st.binary(max_size=20), max_size=3)),
    )
    for _ in range(draw(st.integers(0, 3))):
        message.inputs.add(
            name=draw(st.sampled_from(["image", "pixels", "", "x"])),
            datatype=draw(st.sampled_from(["BYTES", "FP32", "INT64", "BOOL", "FP16", "?"])),
            shape=draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4)),
            contents=draw(_contents()),
        )
    for _ in range(draw(st.integers(0, 3))):
        message.outputs.add(name=draw(st.text(max_size=3))).parameters["classification"].int64_param = 2
    return message


@given(_messages(), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=5))
def test_damaged_messages_raise_nothing_but_errors_of_ours(
    message: pb.ModelInferRequest, changes: list[tuple[int, int]]
) -> None:
    """A message with any fields, whole or with some bytes changed, is read or refused."""
    data = bytearray(message.SerializeToString())
    for position, value in changes:
        if data:
            data[position % len(data)] = value
    with contextlib.suppress(ServeError):
        _read(pb.ModelInferRequest, bytes(data))


def _fields(message: Message) -> tuple[int, int]:
    """Fields and packed numbers of a message, counted on the parsed one."""
    fields = numbers = 0
    for field, value in message.ListFields():
        values = list(value) if field.is_repeated else [value]
        if field.message_type and field.message_type.GetOptions().map_entry:
            fields += 2 * len(values)  # an entry has a key and a value
            values = list(value.values())
        if field.message_type:
            inner = [_fields(one) for one in values]
            fields += len(values) + sum(one[0] for one in inner)
            numbers += sum(one[1] for one in inner)
        elif field.is_repeated and isinstance(values[0], int | float):
            fields, numbers = fields + 1, numbers + len(values)
        else:
            fields += len(values)
    return fields, numbers


@given(_messages())
def test_what_is_counted_is_what_the_parser_makes(message: pb.ModelInferRequest) -> None:
    """What is counted on the bytes is what the parser then makes of them."""
    fields, numbers = _fields(message)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proto_bounds, "MAX_FIELDS", max(fields, 1) - 1)
        patch.setattr(proto_bounds, "MAX_NUMBERS", numbers)
        data = message.SerializeToString()
        if fields:
            with pytest.raises(TooLargeError):
                proto_bounds.check_bounds(pb.ModelInferRequest, data)
        patch.setattr(proto_bounds, "MAX_FIELDS", fields)
        proto_bounds.check_bounds(pb.ModelInferRequest, data)
        if numbers:
            patch.setattr(proto_bounds, "MAX_NUMBERS", numbers - 1)
            with pytest.raises(TooLargeError):
                proto_bounds.check_bounds(pb.ModelInferRequest, data)


@given(st.binary(min_size=1, max_size=300))
def test_counting_never_fails(data: bytes) -> None:
    """Bytes that are no message are counted as far as they go, and left to the parser."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proto_bounds, "MAX_FIELDS", MOST)
        with contextlib.suppress(InvalidRequestError, TooLargeError):
            oip_proto.parse(pb.ModelInferRequest, data * 5)
