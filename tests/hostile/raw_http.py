"""HTTP/1.1 as no client library would send it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from tests.hostile.target import INFER

JSON = b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["a"]}]}'
POST = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n".encode()
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    """A whole inference request."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return POST + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def get(path: bytes, *headers: bytes) -> bytes:
    """A whole request without a body."""
    return (
        b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + b"".join(line + b"\r\n" for line in headers) + b"\r\n"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The first answer on a connection; status 0: it was closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """What its JSON says; every error has that one key."""
        document = json.loads(self.body)
        assert document.keys() == {"error"}
        error: str = document["error"]
        return error


NONE = Answer(status=0, headers={}, body=b"")


async def ask(port: int, request: bytes, *, within_s: float = 10.0) -> Answer:
    """Send bytes on a connection of their own, and read the first answer.

    Raises:
        TimeoutError: Neither an answer nor the end of the connection came.
    """
    async with asyncio.timeout(within_s):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        try:
            return await exchange(reader, writer, request)
        finally:
            writer.transport.abort()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Answer:
    """Send bytes and read one answer; a server may answer and hang up before it has read all."""
    writer.write(request)
    try:
        return await read_answer(reader)
    except (ConnectionError, asyncio.IncompleteReadError):
        return NONE


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one answer with a length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(status=int(line.split()[1]), headers=headers, body=body)
