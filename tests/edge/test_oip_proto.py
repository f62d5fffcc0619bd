"""The protobuf codec: what it reads and writes, what it refuses and how it says so."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from serve.core.errors import InvalidRequestError, ServeError, UnsupportedError
from serve.core.messages import DATATYPE_SIZES, InferResponse, Tensor
from serve.edge import oip_proto
from serve.edge.oip_proto import decode_infer, encode_infer
from serve.edge.tensors import DTYPES
from serve.pb import open_inference_pb2 as pb

Input = pb.ModelInferRequest.InferInputTensor
Contents = pb.InferTensorContents

shapes = st.lists(st.integers(0, 3), max_size=4)


def _typed(datatype: str, shape: list[int], **contents: object) -> pb.ModelInferRequest:
    tensor = Input(name="x", datatype=datatype, shape=shape, contents=Contents(**contents))  # type: ignore[arg-type]
    return pb.ModelInferRequest(model_name="m", inputs=[tensor])


def _raw(datatype: str, shape: list[int], *raw: bytes) -> pb.ModelInferRequest:
    tensor = Input(name="x", datatype=datatype, shape=shape)
    return pb.ModelInferRequest(model_name="m", inputs=[tensor], raw_input_contents=raw)


def _prefixed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def _refusal(message: pb.ModelInferRequest) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        decode_infer(message)
    return caught.value.message


@st.composite
def _numeric_tensors(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(sorted(DATATYPE_SIZES)))
    shape = tuple(draw(shapes))
    size = int(np.prod(shape, dtype=int)) * DATATYPE_SIZES[datatype]
    data = draw(st.binary(min_size=size, max_size=size))
    if datatype == "BOOL":
        data = bytes(byte & 1 for byte in data)
    return Tensor(name=draw(st.text(max_size=5)), datatype=datatype, shape=shape, data=data)


@st.composite
def _bytes_tensors(draw: st.DrawFn) -> Tensor:
    elements = tuple(draw(st.lists(st.binary(max_size=20), max_size=5)))
    return Tensor(name=draw(st.text(max_size=5)), datatype="BYTES", shape=(len(elements),), data=elements)


@given(st.lists(_numeric_tensors() | _bytes_tensors(), min_size=1, max_size=3))
def test_raw_tensors_survive_the_wire(tensors: list[Tensor]) -> None:
    """Any tensors that are written raw are read back the same, and known to be raw."""
    response = InferResponse(model="m", version="1", request_id="", outputs=tuple(tensors))
    written = encode_infer(response, raw=True)
    inputs = [Input(name=out.name, datatype=out.datatype, shape=out.shape) for out in written.outputs]
    request, raw = decode_infer(
        pb.ModelInferRequest(model_name="m", inputs=inputs, raw_input_contents=written.raw_output_contents)
    )
    assert raw
    assert request.inputs == tuple(tensors)


@given(_numeric_tensors().filter(lambda tensor: tensor.datatype not in ("FP16", "BF16")) | _bytes_tensors())
def test_typed_tensors_survive_the_wire(tensor: Tensor) -> None:
    """Any tensor that is written in its typed field is read back the same (NaNs by meaning)."""
    written = encode_infer(InferResponse(model="m", version="1", request_id="", outputs=(tensor,)), raw=False)
    output = written.outputs[0]
    message = Input(name=output.name, datatype=output.datatype, shape=output.shape, contents=output.contents)
    request, raw = decode_infer(pb.ModelInferRequest(inputs=[message]))
    (read,) = request.inputs
    assert not raw
    assert (read.name, read.shape) == (tensor.name, tensor.shape)
    if isinstance(tensor.data, tuple):
        assert read.data == tensor.data
    else:
        dtype = DTYPES[tensor.datatype]
        np.testing.assert_array_equal(_array(read, dtype), _array(tensor, dtype))


def _array(tensor: Tensor, dtype: np.dtype[Any]) -> Any:  # noqa: ANN401  of whatever dtype
    return np.frombuffer(tensor.data, dtype)  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_errors_of_ours(data: bytes) -> None:
    """Whatever bytes arrive, they are decoded or refused; nothing else is raised."""
    with contextlib.suppress(ServeError):
        decode_infer(oip_proto.parse(pb.ModelInferRequest, data))


_VALID = pb.ModelInferRequest(
    model_name="m",
    inputs=[Input(name="image", datatype="BYTES", shape=[2]), Input(name="x", datatype="FP32", shape=[1, 2])],
    raw_input_contents=[_prefixed(b"abc", b"de"), bytes(8)],
).SerializeToString()


@given(st.integers(0, len(_VALID) - 1), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_but_errors_of_ours(position: int, value: int) -> None:
    """A valid request with one byte changed is decoded or refused; nothing else is raised."""
    data = _VALID[:position] + bytes([value]) + _VALID[position + 1 :]
    with contextlib.suppress(ServeError):
        decode_infer(oip_proto.parse(pb.ModelInferRequest, data))


def test_everything_beside_tensors_is_read() -> None:
    """Names, version, id, outputs and parameters of every type arrive."""
    parameters = {
        "b": pb.InferParameter(bool_param=True),
        "i": pb.InferParameter(int64_param=-5),
        "s": pb.InferParameter(string_param="x"),
        "d": pb.InferParameter(double_param=0.5),
        "u": pb.InferParameter(uint64_param=2**63),
    }
    output = pb.ModelInferRequest.InferRequestedOutputTensor(
        name="probabilities", parameters={"classification": pb.InferParameter(int64_param=3)}
    )
    request, raw = decode_infer(
        pb.ModelInferRequest(
            model_name="m", model_version="2", id="7", parameters=parameters, outputs=[output]
        )
    )
    assert (request.model, request.version, request.request_id) == ("m", "2", "7")
    assert request.parameters == {"b": True, "i": -5, "s": "x", "d": 0.5, "u": 2**63}
    assert [(out.name, out.parameters) for out in request.outputs] == [
        ("probabilities", {"classification": 3})
    ]
    assert not raw


def test_parameters_of_every_type_are_written() -> None:
    """A response's parameters keep their types; an integer beyond int64 is unsigned."""
    parameters: dict[str, bool | int | float | str] = {
        "b": False,
        "i": -1,
        "u": 2**64 - 1,
        "d": 1.5,
        "s": "x",
    }
    response = InferResponse(model="m", version="1", request_id="7", outputs=(), parameters=parameters)
    written = encode_infer(response, raw=False)
    assert oip_proto.decode_parameters(written.parameters) == parameters
    assert [written.parameters[key].WhichOneof("parameter_choice") for key in "biuds"] == [
        "bool_param", "int64_param", "uint64_param", "double_param", "string_param",
    ]  # fmt: skip
    assert (written.model_name, written.model_version, written.id) == ("m", "1", "7")


def test_what_only_travels_raw_is_written_raw() -> None:
    """A half-precision output is raw even for a typed request, as no field could hold it."""
    tensor = Tensor(name="h", datatype="FP16", shape=(1,), data=b"\x00\x3c")
    written = encode_infer(InferResponse(model="m", version="1", request_id="", outputs=(tensor,)), raw=False)
    assert list(written.raw_output_contents) == [b"\x00\x3c"]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (_raw("FP32", [2], bytes(7)), "7 raw bytes were given, FP32 of shape [2] needs 8"),
        (_raw("FP32", [2], bytes(9)), "9 raw bytes were given, FP32 of shape [2] needs 8"),
        (_raw("FP32", [2], bytes(8), bytes(8)), "2 entries for 1 inputs"),
        (_raw("BOOL", [2], b"\x01\x02"), "a raw BOOL must be 0 or 1"),
        (_raw("BYTES", [1], b"\x01"), "end before element 0 of the 1 that shape [1] needs"),
        (_raw("BYTES", [2], _prefixed(b"a")), "end before element 1 of the 2 that shape [2] needs"),
        (_raw("BYTES", [1], _prefixed(b"abc")[:-1]), "element 0 says that it has 3 bytes, 2 are left"),
        (_raw("BYTES", [1], _prefixed(b"a", b"b")), "5 raw bytes are left over"),
        (_raw("BYTES", [1], b"\xff\xff\xff\xff"), "says that it has 4294967295 bytes, 0 are left"),
        (_raw("FP32", [-1], b"abcd"), "shape is [-1], no size may be negative"),
        (_raw("FP33", [1], bytes(4)), "datatype is 'FP33', must be one of BOOL"),
        (_raw("FP32", [2**62, 2**62], b""), "at most 9223372036854775807 elements"),
        (_raw("FP32", [1] * 33, bytes(4)), "33 dimensions, at most 32 are allowed"),
        (_raw("BYTES", [70_000], bytes(280_000)), "BYTES may have at most 65536 elements"),
        (_typed("FP16", [1], fp32_contents=[1.0]), "FP16 can only be sent in raw_input_contents"),
        (_typed("BF16", [1]), "BF16 can only be sent in raw_input_contents"),
        (
            _typed("FP32", [1], fp64_contents=[1.0]),
            "is in fp64_contents, FP32 must be in fp32_contents alone",
        ),
        (
            _typed("FP32", [1], fp32_contents=[1.0], bytes_contents=[b"x"]),
            "is in fp32_contents, bytes_contents, FP32 must be in fp32_contents alone",
        ),
        (_typed("FP32", [2], fp32_contents=[1.0]), "1 elements were given, shape [2] needs 2"),
        (_typed("BYTES", [], bytes_contents=[b"x", b"y"]), "2 elements were given, shape [] needs 1"),
        (_typed("UINT8", [2], uint_contents=[1, 300]), "element 1 is 300, UINT8 holds 0 to 255"),
        (_typed("INT8", [1], int_contents=[-129]), "element 0 is -129, INT8 holds -128 to 127"),
    ],
)
def test_a_broken_rule_is_named(message: pb.ModelInferRequest, words: str) -> None:
    """Every rule that a tensor breaks is refused with the tensor, the value and the rule."""
    assert words in _refusal(message)


def test_raw_and_typed_data_do_not_mix() -> None:
    """Contents beside raw_input_contents are refused, even empty ones."""
    message = _raw("FP32", [1], bytes(4))
    message.inputs[0].contents.SetInParent()
    assert "input 'x': has contents" in _refusal(message)


def test_fewer_raw_entries_than_inputs_are_refused() -> None:
    """Each input must find its data."""
    message = _raw("FP32", [1], bytes(4))
    message.inputs.add(name="y", datatype="FP32", shape=[1])
    assert "1 entries for 2 inputs" in _refusal(message)


def test_a_parameter_without_a_value_is_refused() -> None:
    """A parameter must say something."""
    message = pb.ModelInferRequest(parameters={"timeout": pb.InferParameter()})
    assert _refusal(message) == "parameter 'timeout' has no value"


def test_shared_memory_is_refused_as_unsupported() -> None:
    """A tensor in shared memory is neither read nor written."""
    parameters = {"shared_memory_region": pb.InferParameter(string_param="r")}
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name="y", parameters=parameters)
    for message in (
        pb.ModelInferRequest(inputs=[Input(name="x", datatype="FP32", shape=[1], parameters=parameters)]),
        pb.ModelInferRequest(outputs=[output]),
    ):
        with pytest.raises(UnsupportedError, match="'shared_memory_region' is not offered"):
            decode_infer(message)


def test_a_long_value_is_shortened_in_the_message() -> None:
    """A caller cannot make a message as long as it likes."""
    message = _raw("FP32", [1], b"")
    message.inputs[0].name = "n" * 100_000
    assert len(_refusal(message)) < 300


@pytest.mark.parametrize("kind", [pb.ModelInferRequest, pb.ModelReadyRequest])
def test_bytes_that_are_no_message_are_refused(kind: type[Message]) -> None:
    """The error names the message that was expected."""
    with pytest.raises(
        InvalidRequestError, match=rf"the 1 bytes received are not a {kind.DESCRIPTOR.full_name}"
    ):
        oip_proto.parse(kind, b"\xff")
