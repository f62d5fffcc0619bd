"""Requests that break the rules of their wire: contradictory protobuf, bodies that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
import httpx
import pytest

from serve.pb import open_inference_pb2 as pb
from tests.e2e.oip import RefusedError, call_bytes, call_grpc, infer_path
from tests.e2e.stacks import Stack

MODEL = "digits_se"
LENGTH = "Inference-Header-Content-Length"
LIMIT = 64 << 20


def message(
    raw: Sequence[bytes] = (), typed: pb.InferTensorContents | None = None, size: int = 1
) -> pb.ModelInferRequest:
    """A gRPC request to MODEL with one input `image` of shape [size]."""
    made = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=raw)
    made.inputs.add(name="image", datatype="BYTES", shape=[size], contents=typed)
    return made


ELEMENT = pb.InferTensorContents(bytes_contents=[b"a"])


GRPC_CASES: Mapping[str, tuple[pb.ModelInferRequest, tuple[str, ...]]] = {
    "raw too short": (message(raw=[b"\x05\0\0\0abc"]), ("input 'image'",)),
    "raw with more behind": (message(raw=[b"\x01\0\0\0a!"]), ("input 'image'",)),
    "raw for other inputs": (message(raw=[b"", b""]), ("raw_input_contents", "2 entries", "1 inputs")),
    "raw and typed": (message(raw=[b"\x01\0\0\0a"], typed=ELEMENT), ("'image'", "raw_input_contents")),
    "the wrong typed field": (
        message(typed=pb.InferTensorContents(fp32_contents=[1.0])),
        ("fp32_contents", "bytes_contents"),
    ),
    "fewer elements than the shape": (message(typed=ELEMENT, size=3), ("'image'", "1 elements", "[3]")),
    "a negative size": (message(typed=ELEMENT, size=-1), ("'image'", "[-1]", "negative")),
}


@pytest.mark.parametrize(("request_message", "tells"), GRPC_CASES.values(), ids=GRPC_CASES)
def test_bad_protobuf(stack: Stack, request_message: pb.ModelInferRequest, tells: tuple[str, ...]) -> None:
    """Tensors that contradict their shapes over gRPC."""
    with pytest.raises(RefusedError) as refused:
        call_grpc(stack, request_message)
    assert refused.value.status == "INVALID_ARGUMENT"
    assert [part for part in tells if part not in refused.value.message] == []


def test_bytes_that_are_no_protobuf(stack: Stack) -> None:
    """They are the caller's fault, INVALID_ARGUMENT, and not gRPC's UNKNOWN."""
    with pytest.raises(grpc.RpcError, match=r"the 4 bytes .* inference\.ModelInferRequest") as refused:
        call_bytes(stack, b"\xff\xff\xff\xff")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A REST body and what its error must tell."""

    content: bytes
    tells: tuple[str, ...]
    status: int = 400
    header: str | None = None

    def headers(self) -> dict[str, str]:
        """What is sent with it."""
        return {} if self.header is None else {LENGTH: self.header}


def tensor(**fields: object) -> bytes:
    """JSON of a request with one input `image`."""
    given = {"name": "image", "datatype": "BYTES", "shape": [1]} | fields
    return json.dumps(
        {"inputs": [{key: value for key, value in given.items() if value is not None}]}
    ).encode()


BINARY = tensor(parameters={"binary_data_size": 8})

BODIES: Mapping[str, Body] = {
    "no JSON": Body(content=b"{'inputs'", tells=("body", "not JSON")),
    "no UTF-8": Body(content=b"\xff\xfe", tells=("body", "UTF-8")),
    "no object": Body(content=b"[1]", tells=("body", "must be a JSON object", "a list")),
    "empty": Body(content=b"", tells=("body",)),
    "NaN": Body(content=b'{"inputs": NaN}', tells=("body", "NaN")),
    "a key twice": Body(content=b'{"id": "1", "id": "2"}', tells=("'id'", "twice")),
    "too deep": Body(content=b'{"inputs":' + b"[" * 100_000, tells=("body",)),
    "inputs are no list": Body(content=b'{"inputs": 3}', tells=("inputs", "an integer", "a list of objects")),
    "no name": Body(content=tensor(name=None), tells=("name", "missing")),
    "no shape": Body(content=tensor(shape=None, data=["a"]), tells=("'image'", "shape", "missing")),
    "no data": Body(content=tensor(), tells=("'image'", "data", "missing")),
    "a shape of text": Body(content=tensor(shape=["1"], data=["a"]), tells=("'image'", "shape", "integers")),
    "an unknown datatype": Body(
        content=tensor(datatype="TEXT", data=["a"]), tells=("'image'", "'TEXT'", "BYTES")
    ),
    "fewer elements": Body(content=tensor(shape=[3], data=["a"]), tells=("'image'", "1 elements", "[3]")),
    "another nesting": Body(
        content=tensor(shape=[2, 1], data=[["a", "b"]]), tells=("'image'", "nested", "[2, 1]")
    ),
    "numbers as bytes": Body(content=tensor(data=[5]), tells=("'image'", "5", "strings")),
    "no base64": Body(
        content=tensor(data=["*"], parameters={"encoding": "base64"}), tells=("'image'", "'*'", "base64")
    ),
    "an unknown encoding": Body(
        content=tensor(data=["a"], parameters={"encoding": "rot13"}), tells=("'rot13'", "'base64'")
    ),
    "text in numbers": Body(
        content=tensor(name="pixels", datatype="UINT8", shape=[1], data=["a"]),
        tells=("'pixels'", "'a'", "integers"),
    ),
    "a number too large": Body(
        content=tensor(name="pixels", datatype="UINT8", shape=[1], data=[256]),
        tells=("'pixels'", "256", "UINT8"),
    ),
    "a header length of text": Body(content=BINARY, header="ten", tells=(LENGTH, "'ten'")),
    "a header length below zero": Body(content=BINARY, header="-1", tells=(LENGTH, "'-1'")),
    "a header length beyond the body": Body(content=BINARY, header="9999", tells=(LENGTH, "'9999'")),
    "fewer bytes than announced": Body(
        content=BINARY + b"\x01\0\0\0",
        header=str(len(BINARY)),
        tells=("'image'", "binary_data_size", "8", "4 bytes"),
    ),
    "more bytes than announced": Body(
        content=BINARY + b"\x04\0\0\0abcd!!", header=str(len(BINARY)), tells=("2 bytes", "left over")
    ),
    "an element longer than its tensor": Body(
        content=BINARY + b"\x09\0\0\0abcd", header=str(len(BINARY)), tells=("'image'",)
    ),
    "an empty bare image": Body(content=b"", header="0", tells=("body", "empty")),
    "a body over the limit": Body(
        content=bytes(LIMIT + 1), header="0", status=413, tells=("body", str(LIMIT), "allowed")
    ),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bad_bodies(stack: Stack, body: Body) -> None:
    """What cannot be read over REST: always JSON with `error`, never the framework's own form."""
    response = stack.rest.post(infer_path(MODEL), content=body.content, headers=body.headers())
    assert (response.status_code, response.headers["Content-Type"]) == (body.status, "application/json")
    assert response.json().keys() == {"error"}
    assert [part for part in body.tells if part not in response.json()["error"]] == []


def test_a_message_over_the_limit(stack: Stack) -> None:
    """Over gRPC it is refused as over REST."""
    with pytest.raises(RefusedError) as refused:
        call_grpc(stack, message(raw=[bytes(LIMIT + 1)]))
    assert refused.value.status == "RESOURCE_EXHAUSTED"


def test_a_wrong_encoding(stack: Stack) -> None:
    """A body that is not what Content-Encoding says, and an encoding that is not offered."""
    for encoding, status in (("gzip", 400), ("br", 501)):
        response = stack.rest.post(infer_path(MODEL), content=b"{}", headers={"Content-Encoding": encoding})
        assert response.status_code == status
        assert encoding in response.json()["error"]


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", infer_path(MODEL), 405),
        ("POST", "/v2/models", 404),
        ("GET", "/v3", 404),
        ("PUT", "/v2/repository/index", 405),
    ],
)
def test_paths_and_verbs(stack: Stack, verb: str, path: str, status: int) -> None:
    """Unknown paths and wrong verbs are answered in the same form."""
    response = stack.rest.request(verb, path)
    assert response.status_code == status
    assert response.json().keys() == {"error"}


def test_unknown_models_everywhere(stack: Stack) -> None:
    """Every call about a model says that it is not found."""
    base = "/v2/models/stranger"
    asked: list[httpx.Response] = [
        stack.rest.get(f"{base}{end}") for end in ("", "/ready", "/config", "/stats", "/versions/1")
    ]
    asked += [stack.rest.post(f"/v2/repository/models/stranger/{verb}") for verb in ("load", "unload")]
    for response in asked:
        assert response.status_code == 404
        assert "'stranger'" in response.json()["error"]


def test_models_come_from_the_store_only(stack: Stack) -> None:
    """A client's own files and configuration are refused: they would be its code in the worker."""
    for parameter in ("config", "file:1/model.pt"):
        path = f"/v2/repository/models/{MODEL}/load"
        response = stack.rest.post(path, json={"parameters": {parameter: "{}"}})
        assert response.status_code == 501
        assert repr(parameter) in response.json()["error"]
