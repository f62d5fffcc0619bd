"""Requests whose wire is right and whose contents are lies: shapes, lengths, numbers, names."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping

import grpc
import httpx
import pytest

from serve.edge.proto_bounds import MAX_FIELDS, MAX_NUMBERS
from serve.edge.strict_json import MAX_JSON_BYTES
from serve.pb import open_inference_pb2 as pb
from tests.hostile.gateway_process import MODEL
from tests.hostile.target import INFER, PATIENCE_S, Neighbour, Target

INT64 = 2**63 - 1
HEADER = "Inference-Header-Content-Length"
Status = grpc.StatusCode

SHAPES: Mapping[str, list[int]] = {
    "2^63-1": [INT64],
    "a product over 64 bits": [INT64, INT64],
    "a product that wraps to 1": [2**33 + 1, 2**62 - 2**29 + 1],
    "a product that wraps to 0": [2**32, 2**32],
    "zero": [0],
    "zero times much": [0, INT64, INT64],
    "minus one": [-1],
    "two times minus one": [-1, -1],
    "the least": [-(2**63)],
    "a thousand dimensions": [1] * 1000,
    "none": [],
}
TENSORS = (("image", "BYTES"), ("pixels", "UINT8"), ("input", "FP32"))


@pytest.fixture
def rest(target: Target) -> Iterator[httpx.Client]:
    """Give a client of the REST door."""
    with httpx.Client(base_url=target.addresses["http"], timeout=PATIENCE_S, trust_env=False) as client:
        yield client


def answer_of(rest: httpx.Client, content: bytes, **headers: str) -> tuple[int, str]:
    """Status and error of an inference request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = rest.post(INFER, content=content, headers=named)
    return answer.status_code, answer.json().get("error", "")


def code_of(target: Target, message: bytes, method: str = "ModelInfer") -> grpc.StatusCode:
    """Status of a gRPC call."""
    with grpc.insecure_channel(target.addresses["grpc"]) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}"
        )
        try:
            call(message, timeout=PATIENCE_S)
        except grpc.RpcError as error:
            return error.code()
    return Status.OK


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_shapes(target: Target, rest: httpx.Client, shape: list[int]) -> None:
    """No size of any kind makes a number overflow, or memory be reserved, on either wire."""
    for name, datatype in TENSORS:
        tensor = {"name": name, "datatype": datatype, "shape": shape, "data": []}
        assert answer_of(rest, json.dumps({"inputs": [tensor]}).encode())[0] == 400
        binary = {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": 4}}
        header = json.dumps({"inputs": [binary]}).encode()
        length = {"Inference_Header_Content_Length": str(len(header))}
        assert answer_of(rest, header + bytes(4), **length)[0] == 400
        for raw in ([], [bytes(4)]):
            message = pb.ModelInferRequest(model_name=MODEL, raw_input_contents=raw)
            message.inputs.add(name=name, datatype=datatype, shape=shape)
            assert code_of(target, message.SerializeToString()) is Status.INVALID_ARGUMENT


def tensor(**fields: object) -> bytes:
    """A document with one input."""
    return json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1]} | fields]}).encode()


def text(value: str) -> bytes:
    """A document in which something odd stands for the data."""
    return b'{"inputs":[{"name":"input","datatype":"FP32","shape":[1],"data":[%s]}]}' % value.encode()


DOCUMENTS: Mapping[str, tuple[bytes, int]] = {
    "lists in lists": (b'{"inputs":' + b"[" * 500_000, 400),
    "objects in objects": (b'{"inputs":' + b'{"a":' * 200_000, 400),
    "an integer of a megabyte": (text("9" * 1_000_000), 400),
    "a fraction of a megabyte": (text("0." + "1" * 1_000_000), 400),
    "a huge exponent": (text("1e999999999"), 400),
    "NaN": (text("NaN"), 400),
    "Infinity": (text("-Infinity"), 400),
    "a number too large": (text("3.5e38"), 400),
    "a boolean as a shape": (tensor(shape=[True], data=["a"]), 400),
    "a fraction as a shape": (tensor(shape=[1.0], data=["a"]), 400),
    "a huge shape": (tensor(shape=[10**4000], data=["a"]), 400),
    "a key twice": (b'{"inputs":[],"inputs":[]}', 400),
    "half a surrogate pair": (b'{"id":"\\ud800","inputs":[]}', 400),
    "half of one as a name": (tensor(name="\ud800", data=["a"]), 400),
    "half of one as data": (tensor(data=["\udfff"]), 400),
    "NUL as a name": (tensor(name="image\0", data=["a"]), 400),
    "no UTF-8": (b'{"id":"\xff\xfe"}', 400),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400),
    "UTF-16": ('{"inputs":[]}'.encode("utf-16"), 400),
    "two documents": (tensor(data=["a"]) * 2, 400),
    "a million objects": (b'{"inputs":[' + b"{}," * 1_100_000 + b"{}]}", 413),
    "too much JSON": (b'{"inputs":"' + b"a" * (MAX_JSON_BYTES - 13) + b'"}' + b" " * 100, 413),
    "wrong padding": (tensor(data=["a==="], parameters={"encoding": "base64"}), 400),
    "a size below zero": (tensor(parameters={"binary_data_size": -1}), 400),
    "a size of 2^64": (tensor(parameters={"binary_data_size": 2**64}), 400),
    "a huge timeout": (tensor(data=["a"]).replace(b'{"inputs', b'{"parameters":{"timeout":-1},"inputs'), 400),
}


@pytest.mark.parametrize(("document", "status"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_documents(rest: httpx.Client, document: bytes, status: int) -> None:
    """JSON that is none, or that says what cannot be, is refused with a short reason."""
    found, error = answer_of(rest, document)
    assert found == status
    assert 0 < len(error) <= 1000


def binary(size: int, raw: bytes, header_length: int | None = None) -> tuple[bytes, str]:
    """A body with one image in binary, and its header."""
    document = tensor(parameters={"binary_data_size": size})
    return document + raw, str(len(document) if header_length is None else header_length)


BODIES: Mapping[str, tuple[bytes, str]] = {
    "fewer bytes than said": binary(100, b"\x01\0\0\0a"),
    "more bytes than said": binary(5, b"\x01\0\0\0ab"),
    "an element over the end": binary(5, b"\xff\xff\xff\xffa"),
    "an element of 2 GB": binary(5, struct.pack("<I", 2**31) + b"a"),
    "half a length": binary(3, b"\x01\0\0"),
    "bytes behind the element": binary(6, b"\x01\0\0\0ab"),
    "a header length in the middle": binary(5, b"\x01\0\0\0a", 10),
    "a header length over the end": binary(5, b"\x01\0\0\0a", 10_000),
    "a header length of 2^64": binary(5, b"\x01\0\0\0a", 2**64),
}


@pytest.mark.parametrize(("body", "length"), BODIES.values(), ids=BODIES)
def test_lengths(rest: httpx.Client, body: bytes, length: str) -> None:
    """Lengths that contradict each other are refused."""
    assert answer_of(rest, body, **{HEADER.replace("-", "_"): length})[0] == 400


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    size, digits = len(content), bytearray()
    while size >= 128:
        digits.append(size % 128 + 128)
        size //= 128
    return bytes([number << 3 | 2, *digits, size]) + content


# Fields of ModelInferRequest: 5 inputs, 6 outputs, 7 raw_input_contents; of an input: 3 shape, 5 contents;
# of contents: 3 int64_contents, 8 bytes_contents.
BOMBS: Mapping[str, bytes] = {
    "inputs": field(5, b"") * MAX_FIELDS * 4,
    "outputs": field(6, b"") * MAX_FIELDS * 4,
    "raw contents": field(7, b"") * MAX_FIELDS * 4,
    "sizes": field(5, field(3, b"\x01" * 2 * MAX_NUMBERS)),
    "numbers": field(5, field(5, field(3, b"\x01" * 2 * MAX_NUMBERS))),
    "numbers in many parts": field(5, field(5, field(3, b"\x01" * (MAX_NUMBERS // 4))) * 5),
    "elements": field(5, field(5, field(8, b"") * MAX_FIELDS * 4)),
    "inputs before a broken one": field(5, b"") * MAX_FIELDS * 4 + b"\x2a\xff",
    "elements before a broken input": field(5, field(5, field(8, b"") * MAX_FIELDS * 4))
    + field(5, b"\x2a\xff"),
    "unknown numbers": b"\x78\x00" * MAX_FIELDS * 4,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
async def test_messages_that_would_grow(target: Target, beside: Neighbour, bomb: bytes) -> None:
    """A message of many tiny parts is refused before it is parsed: parsed it would take gigabytes."""
    before = target.resident_bytes
    async with grpc.aio.insecure_channel(target.addresses["grpc"]) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer"
        )
        with pytest.raises(grpc.aio.AioRpcError, match="more than") as refused:
            await call(bomb, timeout=PATIENCE_S)
    assert refused.value.code() is Status.RESOURCE_EXHAUSTED
    assert target.resident_bytes - before < 64 << 20
    assert beside.answers


NAMES = (
    "", ".", "..", "../../etc/passwd", "..%2f..", "a/../b", "/etc/passwd", "C:\\x", "~root", "$(id)", "`id`",
    "a\0b", "a\r\nX-Evil: y", "\u202e", "\ufeff" + MODEL, MODEL + "\0", MODEL + " ", MODEL.upper(),
    "é", "\U0001f4a9", "a" * 10_000, "%s%n%x", "{{7*7}}", "' or 1=1 --", "<script>",
)  # fmt: skip
VERSIONS = ("0", "-1", "01", "1.0", "1 ", "1\0", "../1", "9" * 5000, "\u0661", "latest", "a" * 1000)

MESSAGES: Mapping[str, Callable[[str, str], bytes]] = {
    "ModelInfer": lambda n, v: pb.ModelInferRequest(model_name=n, model_version=v).SerializeToString(),
    "ModelReady": lambda n, v: pb.ModelReadyRequest(name=n, version=v).SerializeToString(),
    "ModelMetadata": lambda n, v: pb.ModelMetadataRequest(name=n, version=v).SerializeToString(),
    "ModelConfig": lambda n, v: pb.ModelConfigRequest(name=n, version=v).SerializeToString(),
    "ModelStatistics": lambda n, v: pb.ModelStatisticsRequest(name=n or "?", version=v).SerializeToString(),
    "RepositoryModelLoad": lambda n, _: pb.RepositoryModelLoadRequest(model_name=n).SerializeToString(),
    "RepositoryModelUnload": lambda n, _: pb.RepositoryModelUnloadRequest(model_name=n).SerializeToString(),
}
UNKNOWN = {Status.NOT_FOUND, Status.INVALID_ARGUMENT, Status.FAILED_PRECONDITION}


@pytest.mark.parametrize("method", MESSAGES)
def test_names_over_grpc(target: Target, method: str) -> None:
    """No name leads to a file, and none is anything but unknown."""
    asked = [(name, "") for name in NAMES] + (
        [] if "Repository" in method else [(MODEL, v) for v in VERSIONS]
    )
    found = {
        (name[:40], version[:40]): code_of(target, MESSAGES[method](name, version), method)
        for name, version in asked
    }
    assert {asked: code for asked, code in found.items() if code not in UNKNOWN} == {}


PATHS: Mapping[str, str] = {
    "/v2/models/{}": "GET",
    "/v2/models/{}/ready": "GET",
    "/v2/models/{}/config": "GET",
    "/v2/models/{}/stats": "GET",
    "/v2/models/{}/infer": "POST",
    f"/v2/models/{MODEL}/versions/{{}}": "GET",
    f"/v2/models/{MODEL}/versions/{{}}/ready": "GET",
    f"/v2/models/{MODEL}/versions/{{}}/infer": "POST",
    "/v2/repository/models/{}/load": "POST",
    "/v2/repository/models/{}/unload": "POST",
    "/docs/{}": "GET",
    "/page/{}": "GET",
}


@pytest.mark.parametrize("path", PATHS)
def test_names_over_rest(target: Target, rest: httpx.Client, path: str) -> None:
    """As over gRPC; a header in a name stays in the name."""
    odd = VERSIONS if "versions" in path else NAMES
    for name in odd:
        quoted = "".join(f"%{byte:02x}" for byte in name.encode())
        answer = rest.request(PATHS[path], path.format(quoted))
        # Without a name, or with the path's own signs in it, it is another path.
        assert answer.status_code in {400, 404, 405, 409, 431}, (name, answer.text)
        assert "X-Evil" not in answer.headers
        assert not re.search("root:|Traceback|site-packages", answer.text)
    assert target.sample("attnserve_requests_total", model="../../etc/passwd") == 0
