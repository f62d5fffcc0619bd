"""What HTTP/1.1 promises beside the routes: connections that are kept, bodies in parts, compression, size."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from serve.edge.limits import EdgeLimits
from serve.edge.rest_http import MIN_BYTES, accepted_coding
from serve.engines.fake import Pace, class_of
from tests.conformance.gateway import MAX_MESSAGE_BYTES, MODEL, Gateway, gateway, label_of
from tests.conformance.wire import (
    HEADER,
    ask_grpc,
    ask_rest,
    binary,
    element,
    given,
    json_image,
    message,
    read_body,
    tensor,
)
from tests.service.house import CARD, House

pytestmark = pytest.mark.asyncio(loop_scope="module")

INFER = f"/v2/models/{MODEL}/infer"
BODY = json_image().content
PATH = f"/v2/models/{MODEL}/versions/1/infer"
LABEL = [{"name": "label"}]
PROBABILITIES = [{"name": "probabilities"}]


@dataclass(frozen=True, slots=True)
class Wire:
    """A connection on which bytes go out as they are given."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def request(self, verb: str, path: str, body: bytes = b"", *headers: str) -> None:
        """Send a whole request."""
        lines = [f"{verb} {path} HTTP/1.1", "Host: gateway", f"Content-Length: {len(body)}", *headers]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read an answer: status, headers in lower case, body."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(status.split()[1]), headers, body


@pytest_asyncio.fixture(loop_scope="module")
async def wire(shared: Gateway) -> AsyncIterator[Wire]:
    """Give a fresh connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", shared.http_port)
    yield Wire(reader, writer)
    writer.close()
    await writer.wait_closed()


REFUSED = [
    ("GET", "/v2/nothing", b"", 404),
    ("DELETE", INFER, b"x" * 100, 405),
    ("POST", INFER, b"no JSON", 400),
    ("POST", "/v2/models/nobody/infer", BODY, 404),
    ("GET", "/v2/health/live", b"a body that nobody asked for", 200),
    ("HEAD", "/v2/models/nobody", b"", 404),
]


@pytest.mark.parametrize(
    ("verb", "path", "body", "code"), REFUSED, ids=[f"{r[0]} {r[1]} {r[3]}" for r in REFUSED]
)
async def test_a_connection_outlives_a_refusal(
    wire: Wire, verb: str, path: str, body: bytes, code: int
) -> None:
    """After a refused request, its body read or not, the next one on the same connection is answered."""
    for _ in range(2):
        wire.request(verb, path, body)
        if verb == "HEAD":
            head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 20)
            assert head.startswith(f"HTTP/1.1 {code} ".encode())
        else:
            assert (await wire.answer())[0] == code
        wire.request("POST", INFER, BODY)
        status, _, answer = await wire.answer()
        assert (status, json.loads(answer)["model_name"]) == (200, MODEL)


async def test_requests_may_be_pipelined(wire: Wire) -> None:
    """Several requests sent at once are answered one after the other, in order."""
    for name in ("1", "2", "3"):
        wire.request("POST", INFER, json_image(id=name).content)
    wire.request("GET", "/v2/health/live")
    answers = [await wire.answer() for _ in range(4)]
    assert [status for status, _, _ in answers] == [200] * 4
    assert [json.loads(body).get("id") for _, _, body in answers] == ["1", "2", "3", None]


async def test_connection_close_is_kept_to(wire: Wire) -> None:
    """Who asks for the end of the connection gets it after the answer."""
    wire.request("GET", "/v2/health/live", b"", "Connection: close")
    assert (await wire.answer())[0] == 200
    assert await asyncio.wait_for(wire.reader.read(), 20) == b""


async def test_a_body_may_come_in_chunks(wire: Wire) -> None:
    """Transfer-Encoding: chunked, without a Content-Length, in small pieces."""
    wire.writer.write(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for start in range(0, len(BODY), 10):
        piece = BODY[start : start + 10]
        wire.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await wire.writer.drain()
    wire.writer.write(b"0\r\n\r\n")
    status, _, answer = await wire.answer()
    assert (status, json.loads(answer)["model_name"]) == (200, MODEL)


async def test_expect_100_continue(wire: Wire) -> None:
    """Who asks first is told to go on, and then answered."""
    headers = (
        f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\nExpect: 100-continue\r\n\r\n"
    )
    wire.writer.write(headers.encode())
    assert await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 20) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.writer.write(BODY)
    assert (await wire.answer())[0] == 200


@pytest.mark.parametrize(
    ("path", "length", "code"), [("/v2/nothing", 10, 404), (INFER, 2 * MAX_MESSAGE_BYTES, 413)]
)
async def test_who_asks_first_may_be_refused_at_once(wire: Wire, path: str, length: int, code: int) -> None:
    """A refusal that does not depend on the body comes without a 100 before it."""
    headers = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    wire.writer.write(headers.encode())
    assert (await wire.answer())[0] == code


def many(count: int) -> bytes:
    """A request whose answer is long."""
    return json.dumps({"inputs": [given("image", "BYTES", [count], ["png"] * count)]}).encode()


UNDO: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
DO: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compression_both_ways(wire: Wire, coding: str) -> None:
    """A compressed body is understood, and a long answer compressed where that is accepted."""
    wire.request(
        "POST", INFER, DO[coding](many(100)), f"Content-Encoding: {coding}", f"Accept-Encoding: {coding}"
    )
    status, headers, body = await wire.answer()
    assert (status, headers["content-encoding"], headers["vary"]) == (200, coding, "Accept-Encoding")
    assert read_body(UNDO[coding](body), {}).output("label")["data"] == [label_of(b"png")] * 100


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_the_header_length_counts_uncompressed_json(wire: Wire, coding: str) -> None:
    """Both ways, with raw tensors behind the JSON."""
    body = binary(
        given("pixels", "UINT8", [100, 2, 2, 3], binary_data_size=1200),
        tail=bytes(1200),
        parameters={"binary_data_output": True},
    )
    headers = [f"{name}: {value}" for name, value in body.headers.items()]
    codings = [f"Content-Encoding: {coding}", f"Accept-Encoding: {coding}"]
    wire.request("POST", INFER, DO[coding](body.content), *headers, *codings)
    status, told, answer = await wire.answer()
    assert (status, told["content-encoding"]) == (200, coding)
    said = read_body(UNDO[coding](answer), told)
    assert said.raw == {"probabilities", "label"}
    assert said.output("label")["data"] == [label_of(bytes(12))] * 100


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("br, deflate;q=0.5, gzip;q=0.1", "deflate"),
        ("GZIP ; q=1", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("gzip;q=0", None),
        ("identity", None),
        ("gzip;q=x", None),
    ],
)
async def test_the_coding_that_is_accepted_best(accept: str, coding: str | None) -> None:
    """Accept-Encoding with weights: what is not accepted is not used, and nothing in it is an error."""
    assert accepted_coding(accept) == coding


async def test_a_short_answer_stays_as_it_is(wire: Wire) -> None:
    """Compression would make it longer."""
    wire.request("GET", "/v2/health/live", b"", "Accept-Encoding: gzip")
    _, headers, body = await wire.answer()
    assert "content-encoding" not in headers
    assert json.loads(body) == {"live": True}


async def test_only_inference_is_compressed(wire: Wire) -> None:
    """Triton's asyncio client for HTTP accepts compression everywhere, and can undo it there only."""
    wire.request("GET", f"/v2/models/{MODEL}", b"", "Accept-Encoding: gzip, deflate")
    wire.request("GET", "/v2/models/stats", b"", "Accept-Encoding: gzip, deflate")
    answers = [await wire.answer() for _ in range(2)]
    assert [("content-encoding" in headers, len(body) > MIN_BYTES) for _, headers, body in answers] == [
        (False, False),
        (False, True),
    ]


SIXTY_MIB = 60 << 20
IMAGES = 16
CLASSES = SIXTY_MIB // 4 // IMAGES


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def large() -> AsyncIterator[Gateway]:
    """Give a gateway with the ordinary limits, whose model has a million classes."""
    card = replace(CARD, labels=tuple(map(str, range(CLASSES))))
    async with gateway(house=House(pace=Pace(), card=card), limits=EdgeLimits()) as opened:
        yield opened


async def test_a_request_of_sixty_mebibytes(large: Gateway) -> None:
    """It goes through either door, and nothing of it gets lost."""
    content = bytes(SIXTY_MIB - 1) + b"!"
    shape = [1, SIXTY_MIB // 12, 4, 3]
    request = message(tensor("pixels", "UINT8", shape), raw=[content], outputs=LABEL, model_version="1")
    body = binary(given("pixels", "UINT8", shape, binary_data_size=len(content)), tail=content, outputs=LABEL)
    over_grpc, over_rest = await ask_grpc(large, request), await ask_rest(large, body, PATH)
    expected = str(class_of(content, CLASSES))
    assert over_grpc.output("label")["data"] == over_rest.output("label")["data"] == [expected]


async def test_an_answer_of_sixty_mebibytes(large: Gateway) -> None:
    """It comes out of either door, the same bytes."""
    images = element(b"x") * IMAGES
    request = message(
        tensor("image", "BYTES", [IMAGES]), raw=[images], outputs=PROBABILITIES, model_version="1"
    )
    body = binary(
        given("image", "BYTES", [IMAGES], binary_data_size=len(images)),
        tail=images,
        outputs=PROBABILITIES,
        parameters={"binary_data_output": True},
    )
    over_grpc = (await large.stub.ModelInfer(request)).raw_output_contents[0]
    headers = {**body.headers, "Accept-Encoding": "identity"}
    over_rest = await large.rest.post(PATH, content=body.content, headers=headers)
    assert len(over_grpc) == SIXTY_MIB
    assert over_rest.content[int(over_rest.headers[HEADER]) :] == over_grpc
