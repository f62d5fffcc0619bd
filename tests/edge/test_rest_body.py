"""Limits of a REST request's body: size, also after decompression, and time."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from serve.core.access import Access
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from tests.edge.doors import as_service, http_door, status_of_post
from tests.edge.fakes import FakeService

INFER = "/v2/models/digits/infer"
IMAGE = {"Inference-Header-Content-Length": "0"}
MOST = 100_000  # what the fixture `rest` allows


async def test_a_body_up_to_the_limit_is_taken(rest: httpx.AsyncClient, fake: FakeService) -> None:
    """The limit itself is still allowed."""
    answer = await rest.post(INFER, content=bytes(MOST), headers=IMAGE)
    assert answer.status_code == 200
    assert len(fake.requests[0].inputs[0].data[0]) == MOST  # type: ignore[arg-type]


async def test_an_announced_size_over_the_limit_is_refused(rest: httpx.AsyncClient) -> None:
    """Content-Length alone is enough for a refusal."""
    answer = await rest.post(INFER, content=bytes(MOST + 1), headers=IMAGE)
    assert answer.status_code == 413
    assert answer.json() == {"error": f"body: is larger than {MOST} bytes, the most that is allowed"}


async def test_a_body_without_a_size_is_measured(rest: httpx.AsyncClient) -> None:
    """A chunked body is refused as soon as it is over the limit."""
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield bytes(1000)

    answer = await rest.post(INFER, content=chunks(), headers=IMAGE)
    assert answer.status_code == 413
    assert sent <= MOST / 1000 + 2


@pytest.mark.parametrize(("encoding", "bomb"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_bomb_does_not_go_off(rest: httpx.AsyncClient, encoding: str, bomb: object) -> None:
    """The limit holds for what comes out of the decompression."""
    assert callable(bomb)
    body = bomb(bytes(50_000_000))
    assert len(body) < MOST
    answer = await rest.post(INFER, content=body, headers={**IMAGE, "Content-Encoding": encoding})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("body", "encoding", "status", "error"),
    [
        (b"no gzip", "gzip", 400, "body: is not gzip, as Content-Encoding says"),
        (gzip.compress(b"abc")[:-1], "gzip", 400, "body: must be one whole gzip stream"),
        (gzip.compress(b"abc") + b"more", "gzip", 400, "body: must be one whole gzip stream"),
        (b"", "deflate", 400, "body: must be one whole deflate stream"),
        (b"abc", "br", 501, "Content-Encoding is 'br', must be gzip, deflate or identity"),
    ],
)
async def test_a_wrong_encoding_is_refused(
    rest: httpx.AsyncClient, body: bytes, encoding: str, status: int, error: str
) -> None:
    """What cannot be decompressed is the caller's error, with the reason."""
    answer = await rest.post(INFER, content=body, headers={**IMAGE, "Content-Encoding": encoding})
    assert (answer.status_code, answer.json()) == (status, {"error": error})


async def test_a_body_that_does_not_come_is_given_up() -> None:
    """A caller that stops in the middle of its body gets 408, and the connection is closed."""
    app = build_rest_app(as_service(FakeService()), Access(), EdgeLimits(body_timeout_s=0.2))
    async with http_door(app) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert answer.endswith(b'{"error":"the body did not arrive within 0.2 s"}')


async def test_a_caller_that_leaves_in_its_body_is_no_fault_of_ours(fake: FakeService) -> None:
    """A connection cut in the middle of a body reaches no model, and counts as the caller's going."""
    app = build_rest_app(as_service(fake), Access(), EdgeLimits())
    part = {"type": "http.request", "body": b"abc", "more_body": True}
    assert await status_of_post(app, INFER, part, {"type": "http.disconnect"}) == 499
    assert fake.requests == []
