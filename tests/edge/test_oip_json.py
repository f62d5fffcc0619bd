"""The REST codec: JSON and binary data, both ways, and what it refuses."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest

from serve.core.errors import InvalidRequestError, TooLargeError, UnsupportedError
from serve.core.messages import InferRequest, InferResponse, RequestedOutput, Tensor
from serve.edge.oip_json import EncodedReply, InferBody, decode_infer, encode_infer
from serve.edge.strict_json import MAX_JSON_BYTES

ONE = {"name": "x", "shape": [2], "datatype": "FP32"}


def _decode(content: bytes, header_length: str | None = None, *, wants_json: bool = False) -> InferRequest:
    body = InferBody(content=content, header_length=header_length, wants_json=wants_json)
    return decode_infer(body, model="m", version="2")


def _decode_json(document: object) -> InferRequest:
    return _decode(json.dumps(document).encode())


def _input(**fields: object) -> InferRequest:
    return _decode_json({"inputs": [{**ONE, **fields}]})


def _refusal(content: bytes, header_length: str | None = None) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        _decode(content, header_length)
    return caught.value.message


def _response(*outputs: Tensor, **parameters: bool | float | str) -> InferResponse:
    return InferResponse(model="m", version="3", request_id="", outputs=outputs, parameters=parameters)


def _request(*outputs: RequestedOutput, **parameters: bool | float | str) -> InferRequest:
    return InferRequest(model="m", inputs=(), outputs=outputs, parameters=parameters)


def _json(reply: EncodedReply) -> Any:  # noqa: ANN401  a JSON value
    return json.loads(reply.content[: reply.header_length])


def test_everything_beside_tensors_is_read() -> None:
    """The id, outputs and parameters arrive; model and version are the path's; null counts as missing."""
    request = _decode_json(
        {
            "id": "7",
            "parameters": {"b": True, "i": 2, "d": 0.5, "s": "x"},
            "inputs": [{**ONE, "data": [1, 2.5], "parameters": None}],
            "outputs": [{"name": "label"}, {"name": "probabilities", "parameters": {"classification": 3}}],
        }
    )
    assert (request.model, request.version, request.request_id) == ("m", "2", "7")
    assert request.parameters == {"b": True, "i": 2, "d": 0.5, "s": "x"}
    assert [(out.name, out.parameters) for out in request.outputs] == [
        ("label", {}),
        ("probabilities", {"classification": 3}),
    ]
    assert request.inputs[0].data == np.array([1, 2.5], "<f4").tobytes()


def test_nested_data_is_read_row_by_row() -> None:
    """Data may be flat or nested as the shape says."""
    nested = _input(shape=[2, 1, 2], data=[[[1, 2]], [[3, 4]]]).inputs
    assert nested == _input(shape=[2, 1, 2], data=[1, 2, 3, 4]).inputs


def test_text_is_utf_8_and_base64_on_request() -> None:
    """An element of BYTES is the string's UTF-8, or what its base64 holds."""
    text = _input(shape=[1], datatype="BYTES", data=["Zürich"])
    assert text.inputs[0].data == ("Zürich".encode(),)
    image = base64.b64encode(b"\x89PNG\x00").decode()
    coded = _input(shape=[1], datatype="BYTES", data=[image], parameters={"encoding": "base64"})
    assert coded.inputs[0].data == (b"\x89PNG\x00",)


def test_a_bare_image_needs_no_json() -> None:
    """With a header length of 0 the body is the one element of `image`, and the answer is binary."""
    request = _decode(b"\xff\xd8jpeg", "0")
    assert request.inputs == (Tensor(name="image", datatype="BYTES", shape=(1,), data=(b"\xff\xd8jpeg",)),)
    tensor = Tensor(name="p", datatype="FP32", shape=(1,), data=bytes(4))
    assert encode_infer(_response(tensor), request).header_length is not None


def test_a_bare_image_is_answered_in_json_when_asked() -> None:
    """`Accept: application/json` turns the binary answer off."""
    request = _decode(b"\xff\xd8jpeg", "0", wants_json=True)
    tensor = Tensor(name="p", datatype="FP32", shape=(1,), data=bytes(4))
    assert encode_infer(_response(tensor), request).header_length is None


def test_each_output_may_choose_binary_data() -> None:
    """An output's own wish goes before the request's, and the blobs follow in the outputs' order."""
    a, b, c = (Tensor(name=n, datatype="UINT8", shape=(1,), data=n.encode()) for n in "abc")
    request = _request(
        RequestedOutput(name="a"),
        RequestedOutput(name="b", parameters={"binary_data": False}),
        RequestedOutput(name="c", parameters={"binary_data": True}),
        binary_data_output=True,
    )
    reply = encode_infer(_response(a, b, c), request)
    assert [("data" in output) for output in _json(reply)["outputs"]] == [False, True, False]
    assert reply.header_length is not None
    assert reply.content[reply.header_length :] == b"ac"


def test_numbers_that_json_has_not_are_null() -> None:
    """NaN and the infinities become null, in outputs and in parameters."""
    data = np.array([1, math.nan, -math.inf], "<f4").tobytes()
    tensor = Tensor(name="p", datatype="FP32", shape=(3,), data=data)
    document = _json(encode_infer(_response(tensor, share=math.inf), _request()))
    assert document["outputs"][0]["data"] == [1.0, None, None]
    assert document["parameters"] == {"share": None}


def test_an_answer_says_who_served() -> None:
    """Model and version are always there, id and parameters only when there are any."""
    plain = _json(encode_infer(_response(), _request()))
    assert plain == {"model_name": "m", "model_version": "3", "outputs": []}
    response = InferResponse(model="m", version="3", request_id="7", outputs=(), parameters={"arm": "se"})
    full = _json(encode_infer(response, _request()))
    assert (full["id"], full["parameters"]) == ("7", {"arm": "se"})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "input 'x': data: is missing, must be a list"),
        ({"data": "12"}, "data: is a string, must be a list"),
        ({"data": [1]}, "1 elements were given, shape [2] needs 2"),
        ({"data": [[1], [2]]}, "element 0 is [1], FP32 takes numbers"),
        ({"data": [[1, 2, 3]]}, "data is nested otherwise than shape [2] says"),
        ({"data": [1, [2]]}, "element 1 is [2], FP32 takes numbers"),
        ({"data": [1, True]}, "element 1 is True, FP32 takes numbers"),
        ({"data": [1, None]}, "element 1 is None, FP32 takes numbers"),
        ({"data": [1, 1e39]}, "a number is too large for FP32"),
        ({"data": [1, 10**400]}, "a number is too large for FP32"),
        ({"data": [1, 2.0], "datatype": "INT32"}, "element 1 is 2.0, INT32 takes integers"),
        ({"data": [1, 256], "datatype": "UINT8"}, "element 1 is 256, UINT8 holds 0 to 255"),
        ({"data": [1, 0], "datatype": "BOOL"}, "element 0 is 1, BOOL takes booleans"),
        ({"data": [1, 2], "datatype": "FP16"}, "FP16 can only be sent as binary data"),
        ({"data": ["a", 2], "datatype": "BYTES"}, "element 1 is 2, BYTES takes strings"),
        ({"data": ["a", "\ud800"], "datatype": "BYTES"}, "half a surrogate pair"),
        (
            {"data": ["a*", "b"], "datatype": "BYTES", "parameters": {"encoding": "base64"}},
            "element 0 is 'a*', not base64",
        ),
        (
            {"data": ["a", "b"], "datatype": "BYTES", "parameters": {"encoding": "hex"}},
            "encoding is 'hex', must be 'utf-8' or 'base64'",
        ),
        ({"data": [1, 2], "shape": [True, 2]}, "shape is [True, 2], must be a list of integers"),
        ({"data": [1, 2], "shape": [2.0]}, "shape is [2.0], must be a list of integers"),
        ({"data": [1, 2], "shape": [-2]}, "shape is [-2], no size may be negative"),
        ({"data": [1, 2], "shape": None}, "shape: is missing, must be a list"),
        ({"data": [1, 2], "datatype": "float"}, "datatype is 'float', must be one of BOOL"),
        ({"data": [1, 2], "name": 5}, "name: is an integer, must be a string"),
        ({"data": [1, 2], "parameters": []}, "parameters: is a list, must be an object"),
        ({"data": [1, 2], "parameters": {"k": {}}}, "parameters['k']: is {}, must be a boolean, a string"),
        ({"data": [1, 2], "parameters": {"k": 2**64}}, "or a 64-bit integer"),
        ({"parameters": {"binary_data_size": 8}}, "binary_data_size is 8, 0 bytes of the body are left"),
        ({"parameters": {"binary_data_size": -8}}, "binary_data_size is -8, 0 bytes"),
        ({"parameters": {"binary_data_size": True}}, "binary_data_size is True, must be an integer"),
        (
            {"data": [1, 2], "parameters": {"binary_data_size": 8}},
            "has data, must not since binary_data_size",
        ),
    ],
)
def test_a_broken_rule_of_an_input_is_named(fields: dict[str, object], words: str) -> None:
    """Every rule that an input breaks is refused with the input, the value and the rule."""
    assert words in _refusal(json.dumps({"inputs": [{**ONE, **fields}]}).encode())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "body: is empty"),
        (b" ", "body: not JSON, Expecting value at character 1"),
        (b"{", "body: not JSON"),
        (b"\xff", "body: not UTF-8 at byte 0"),
        (b"[]", "body: must be a JSON object, is a list"),
        (b'{"id": NaN}', "body: JSON has no NaN"),
        (b'{"id": -Infinity}', "body: JSON has no -Infinity"),
        (b'{"parameters": {"k": 1e999}}', "must be a boolean, a string, a finite number"),
        (b'{"id": "1", "id": "2"}', "body: key 'id' is given twice"),
        (b'{"id": ' + b"9" * 6000 + b"}", "body: not JSON, a number is too long"),
        (b'{"id": ' + b"[" * 100_000, "body: JSON nested too deeply"),
        (b'{"id": "\\ud800"}', "id: half a surrogate pair is not text"),
        (b'{"inputs": {}}', "inputs: is an object, must be a list of objects"),
        (b'{"inputs": [5]}', "inputs: is a list, must be a list of objects"),
        (b'{"parameters": {"binary_data_output": 1}}', "binary_data_output is 1, must be a boolean"),
        (
            b'{"outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]}',
            "output 'y': binary_data is 'yes', must be a boolean",
        ),
        (b'{"outputs": [{}]}', "output name: is missing, must be a string"),
    ],
)
def test_a_body_that_is_no_request_is_refused(content: bytes, words: str) -> None:
    """Whatever departs from JSON or from the protocol's object is the caller's error, with the place."""
    assert words in _refusal(content)


@pytest.mark.parametrize(
    "header_length", ["-1", "+2", " 2", "2 ", "1_0", "٢", "x", "", "2.0", "99", "9" * 30]
)
def test_the_header_length_is_a_plain_integer_within_the_body(header_length: str) -> None:
    """Only digits count, and not more than the body has."""
    assert "must be an integer from 0 to 2" in _refusal(b"{}", header_length)


def test_binary_data_is_used_up_exactly() -> None:
    """A byte too few or too many in the body is refused."""
    header = json.dumps({"inputs": [{**ONE, "parameters": {"binary_data_size": 8}}]}).encode()
    size = str(len(header))
    assert _decode(header + bytes(8), size).inputs[0].data == bytes(8)
    assert "binary_data_size is 8, 7 bytes of the body are left" in _refusal(header + bytes(7), size)
    assert "1 bytes are left over" in _refusal(header + bytes(9), size)


def test_an_empty_image_is_refused() -> None:
    """A bare image must have a byte at least."""
    assert "body: is empty" in _refusal(b"", "0")


@pytest.mark.parametrize("key", ["inputs", "outputs"])
def test_shared_memory_is_refused_as_unsupported(key: str) -> None:
    """A tensor in shared memory is neither read nor written."""
    tensor = {**ONE, "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 8}}
    with pytest.raises(UnsupportedError, match="'shared_memory_region' is not offered"):
        _decode_json({key: [tensor]})


def test_flattening_is_bounded_by_the_shape() -> None:
    """Data nested more deeply than the shape is refused at once, however much of it there is."""
    deep: object = [1]
    for _ in range(300):
        deep = [deep]
    content = json.dumps({"inputs": [{**ONE, "data": [deep, *range(200_000)]}]}).encode()
    assert "nested otherwise" in _refusal(content)


def test_json_that_would_hold_up_everybody_is_refused() -> None:
    """The size is looked at before anything is parsed, and the message says what to send instead."""
    with pytest.raises(TooLargeError, match="send tensors as binary data"):
        _decode(b"[" * (MAX_JSON_BYTES + 1))
