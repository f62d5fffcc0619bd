"""The REST codec over any values: what is written is read back, and nothing crashes."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve.core.errors import ServeError
from serve.core.messages import DATATYPE_SIZES, InferRequest, InferResponse, Tensor
from serve.edge.oip_json import EncodedReply, InferBody, decode_infer, encode_infer
from serve.edge.tensors import DTYPES

INTEGERS = sorted(name for name, dtype in DTYPES.items() if dtype.kind in "iu")


def _decode(content: bytes, header_length: str | None = None) -> InferRequest:
    return decode_infer(InferBody(content=content, header_length=header_length), model="m", version="2")


def _decode_json(document: object) -> InferRequest:
    return _decode(json.dumps(document).encode())


def _encode(*outputs: Tensor, binary: bool = False) -> EncodedReply:
    request = InferRequest(model="m", inputs=(), parameters={"binary_data_output": binary})
    return encode_infer(InferResponse(model="m", version="3", request_id="", outputs=outputs), request)


def _json(reply: EncodedReply) -> Any:  # noqa: ANN401  a JSON value
    return json.loads(reply.content[: reply.header_length])


@st.composite
def _binary_tensors(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(sorted(set(DATATYPE_SIZES) - {"BOOL"})))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    size = math.prod(shape) * DATATYPE_SIZES[datatype]
    data = draw(st.binary(min_size=size, max_size=size))
    return Tensor(name=draw(st.text(max_size=5)), datatype=datatype, shape=shape, data=data)


@st.composite
def _byte_strings(draw: st.DrawFn) -> Tensor:
    elements = tuple(draw(st.lists(st.binary(max_size=9), max_size=4)))
    return Tensor(name=draw(st.text(max_size=5)), datatype="BYTES", shape=(len(elements), 1), data=elements)


@given(st.lists(_binary_tensors() | _byte_strings(), min_size=1, max_size=3))
def test_binary_data_survives_the_wire(tensors: list[Tensor]) -> None:
    """Any tensors that are written as binary data are read back the same."""
    reply = _encode(*tensors, binary=True)
    assert reply.header_length is not None
    document = _json(reply)
    assert [output["parameters"].keys() for output in document["outputs"]] == [{"binary_data_size"}] * len(
        tensors
    )
    header = json.dumps({"inputs": document["outputs"]}).encode()
    request = _decode(header + reply.content[reply.header_length :], str(len(header)))
    assert request.inputs == tuple(tensors)


@given(st.sampled_from(INTEGERS), st.data())
def test_integers_survive_json(datatype: str, data: st.DataObject) -> None:
    """Any integers that a datatype holds are written to JSON and read back the same."""
    limits = np.iinfo(DTYPES[datatype])
    values = data.draw(st.lists(st.integers(int(limits.min), int(limits.max)), max_size=5))
    array = np.array(values, DTYPES[datatype])
    tensor = Tensor(name="x", datatype=datatype, shape=(len(values),), data=array.tobytes())
    document = _json(_encode(tensor))
    assert document["outputs"][0]["data"] == values
    assert _decode_json({"inputs": document["outputs"]}).inputs == (tensor,)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=6))
def test_floats_survive_json_bit_by_bit(values: list[float]) -> None:
    """Finite single-precision numbers lose nothing in JSON's decimals."""
    data = np.array(values, "<f4").tobytes()
    tensor = Tensor(name="x", datatype="FP32", shape=(len(values),), data=data)
    document = _json(_encode(tensor))
    assert _decode_json({"inputs": document["outputs"]}).inputs == (tensor,)


@given(_byte_strings())
def test_byte_strings_survive_json(tensor: Tensor) -> None:
    """Bytes that are no text go through JSON in base64, and say so."""
    document = _json(_encode(tensor))
    assert _decode_json({"inputs": document["outputs"]}).inputs == (tensor,)


@given(st.binary(max_size=100), st.none() | st.sampled_from(["0", "1", "40", "x", ""]))
def test_arbitrary_bodies_raise_nothing_but_errors_of_ours(content: bytes, header_length: str | None) -> None:
    """Whatever arrives, it is decoded or refused; nothing else is raised."""
    with contextlib.suppress(ServeError):
        _decode(content, header_length)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["FP32", "BYTES"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "parameters", "binary_data_size", "encoding"]
            ),
            children,
        )
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "inputs", "outputs", "parameters"), _VALUES)))
def test_arbitrary_documents_raise_nothing_but_errors_of_ours(document: dict[str, object]) -> None:
    """A JSON object with the right keys and any values is decoded or refused; nothing else is raised."""
    with contextlib.suppress(ServeError):
        _decode_json(document)
