"""Bytes on the REST port that are no HTTP, or HTTP that two readers could understand differently."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping

import pytest

from tests.hostile.raw_http import CHUNKED, JSON, POST, ask, exchange, get, post, read_answer
from tests.hostile.target import Neighbour, Target

LENGTH = b"Inference-Header-Content-Length: "
UPGRADE = (b"Connection: Upgrade", b"Upgrade: h2c")
HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(200)  # the beginning of TLS

REFUSED: Mapping[str, tuple[bytes, int]] = {
    # Request smuggling: two lengths, or one that readers disagree about.
    "length and chunks": (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
    "one length twice": (POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "a list of lengths": (POST + b"Content-Length: 5, 5\r\n\r\nabcde", 400),
    "a length below zero": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a length with a sign": (POST + b"Content-Length: +5\r\n\r\nabcde", 400),
    "a hexadecimal length": (POST + b"Content-Length: 0x5\r\n\r\nabcde", 400),
    "a length of 26 digits": (POST + b"Content-Length: 99999999999999999999999999\r\n\r\n", 400),
    "a length of exabytes": (POST + b"Content-Length: 4611686018427387904\r\n\r\n", 413),
    "another length than sent": (POST + b"Content-Length: 3\r\n\r\n" + JSON, 400),
    "an unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "two codings": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked is not last": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "a blank before the colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "an upgrade with a body": (post(get(b"/v2/health/live"), *UPGRADE), 501),
    "two hosts": (get(b"/v2", b"Host: y"), 400),
    "no host": (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
    # Chunks.
    "a chunk size of letters": (CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size of 80 bits": (CHUNKED + b"fffffffffffffffffffff\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size below zero": (CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n", 400),
    "a chunk without an end": (CHUNKED + b"3\r\nabcX\r\n0\r\n\r\n", 400),
    "a chunk extension of megabytes": (CHUNKED + b"3;" + b"a" * 3_000_000, 431),
    "trailers without an end": (CHUNKED + b"0\r\n" + b"a: b\r\n" * 500_000, 431),
    # Heads.
    "a NUL in a value": (POST + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n", 400),
    "a NUL in a name": (POST + b"X-\0A: a\r\nContent-Length: 0\r\n\r\n", 400),
    "a folded header": (POST + b"X-A: a\r\n b\r\nContent-Length: 0\r\n\r\n", 400),
    "bare line feeds": (b"GET /v2/health/live HTTP/1.1\nHost: x\n\n", 400),
    "bare carriage returns": (b"GET /v2/health/live HTTP/1.1\rHost: x\r\r", 400),
    "an unknown verb": (b"BREW /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a verb in small letters": (b"get /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "HTTP 9.9": (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (HELLO, 400),
    "every byte": (bytes(range(256)) * 4, 400),
    "zeros": (bytes(1000), 400),
    "a URL of 20 kB": (get(b"/" + b"a" * 20_000), 431),
    "a URL without an end": (b"GET /" + b"a" * 2_000_000, 431),
    "a URL without a path": (get(b"?a"), 400),
    "no URL": (get(b""), 400),
    "a URL of raw bytes": (get(b"/v2/models/\xff\xfe"), 400),
    "a URL of a wrong host": (get(b"http://[::::]:99999999/"), 400),
    "a tunnel": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an echo": (b"TRACE /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "a star": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "5000 headers": (POST + b"X-A: b\r\n" * 5000 + b"\r\n", 431),
    "101 headers": (POST + b"A: b\r\n" * 100 + b"\r\n", 431),
    "a header of a megabyte": (POST + b"X-A: " + b"a" * 1_000_000, 431),
    # Our own headers.
    "a header length of other digits": (post(JSON, LENGTH + "٣".encode()), 400),
    "a header length of 5000 digits": (post(JSON, LENGTH + b"9" * 5000), 400),
    "a header length below zero": (post(JSON, LENGTH + b"-1"), 400),
    # Compression.
    "a gzip bomb": (post(gzip.compress(bytes(100 << 20)), b"Content-Encoding: gzip"), 413),
    "gzip that ends early": (post(gzip.compress(JSON)[:-4], b"Content-Encoding: gzip"), 400),
    "gzip in gzip": (post(gzip.compress(gzip.compress(JSON)), b"Content-Encoding: gzip, gzip"), 501),
    "no gzip": (post(JSON, b"Content-Encoding: gzip"), 400),
    # Paths.
    "a path upwards": (get(b"/v2/models/../../../etc/passwd"), 404),
    "an encoded path upwards": (get(b"/v2/models/..%2f..%2fetc%2fpasswd"), 404),
    "a path out of a folder": (get(b"/docs/..%2f..%2f..%2f..%2fetc/passwd"), 404),
    "two slashes": (get(b"//evil.example/v2"), 404),
    "a NUL in a path": (get(b"/v2/models/a%00b"), 404),
    "a path that is no UTF-8": (get(b"/v2/models/%ff%fe"), 404),
    "a header in a path": (get(b"/v2/models/a%0d%0aX-Evil:%20y"), 404),
}


@pytest.mark.parametrize(("request_bytes", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_is_refused(target: Target, request_bytes: bytes, status: int) -> None:
    """One answer, with the status of the table and JSON with a reason; nothing of the request comes back."""
    answer = await ask(target.http_port, request_bytes)
    assert answer.status == status
    assert answer.error
    assert "x-evil" not in answer.headers


async def test_neighbours_of_all_that(target: Target, beside: Neighbour) -> None:
    """All of it at once, twice: each is answered, and somebody with right requests notices nothing."""
    requests = [request for request, _ in REFUSED.values()] * 2
    answers = await asyncio.gather(*(ask(target.http_port, request, within_s=30) for request in requests))
    assert [answer.status for answer in answers if answer.status not in {0, 503}] != []
    assert {answer.status for answer in answers} <= {0, 503} | {status for _, status in REFUSED.values()}
    assert beside.answers


ANSWERED: Mapping[str, bytes] = {
    "HTTP/1.0": b"GET /v2/health/live HTTP/1.0\r\n\r\n",
    "a whole URL": get(b"http://evil.example/v2/health/live"),
    "an upgrade that is not offered": get(b"/v2/health/live", *UPGRADE),
    "a websocket": get(b"/v2/health/live", b"Connection: Upgrade", b"Upgrade: websocket"),
    "a token of odd bytes": get(b"/v2", b"Authorization: Bearer \xff\xfe"),
    "an odd Accept": post(JSON, b"Accept: " + b",;" * 2000),
}


@pytest.mark.parametrize("request_bytes", ANSWERED.values(), ids=ANSWERED)
async def test_what_is_only_odd(target: Target, request_bytes: bytes) -> None:
    """Requests that are right are answered."""
    assert (await ask(target.http_port, request_bytes)).status == 200


async def test_a_trailer_is_no_header(target: Target) -> None:
    """What stands behind the body cannot change what was said before it, a token say."""
    chunk = b"%x\r\n%s\r\n0\r\n" % (len(JSON), JSON)
    answer = await ask(target.http_port, CHUNKED + chunk + LENGTH + b"0\r\n\r\n")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"  # as a bare image it would come back binary


async def test_a_body_is_never_a_request(target: Target) -> None:
    """A body that comes after a request for an upgrade is not read as a request of its own."""
    inner = get(b"/v2/health/live")
    reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
    async with asyncio.timeout(10):
        head, body = post(inner, *UPGRADE)[: -len(inner)], inner
        assert (await exchange(reader, writer, head)).status == 501
        writer.write(body)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await read_answer(reader)
    writer.transport.abort()


async def test_requests_in_a_row(target: Target) -> None:
    """Fifty requests sent at once on one connection are answered in order; what follows them is refused."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
        writer.write(post(JSON) * 50)
        assert [(await read_answer(reader)).status for _ in range(50)] == [200] * 50
        assert (await exchange(reader, writer, b"garbage\r\n\r\n")).status == 400
        assert await reader.read() == b""
        writer.transport.abort()
