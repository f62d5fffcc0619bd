"""A small HTTP/1.1 client: one kept-alive connection, one request at a time, no more than the soak needs.

The general clients spend more on a request than the gateway does, and hide when a connection breaks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

# The server hangs up on a connection that was idle for five seconds: a new request must not meet that.
_MAX_IDLE_S: Final = 2.0


class HttpBrokenError(Exception):
    """The connection ended within a reply, or what came is no HTTP."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A whole reply; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Connects when it is first asked, and again after the connection has ended."""

    def __init__(self, base: str) -> None:
        """Speak to http://host:port."""
        where = urlsplit(base)
        self._host, self._port = where.hostname, where.port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._used = 0.0

    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str], announced: int | None = None
    ) -> HttpReply:
        """Send a POST and read the reply.

        Args:
            path: Already quoted.
            body: All of it.
            headers: Beside Host and Content-Length.
            announced: Content-Length, where it is to be a lie.

        Raises:
            HttpBrokenError: There is no whole reply.
        """
        reader, writer = await self._connected()
        length = len(body) if announced is None else announced
        lines = [f"POST {path} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            reply = await _read(reader)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self.hang_up()
            raise HttpBrokenError(f"the connection ended without a whole reply: {error!r}") from error
        self._used = time.monotonic()
        if reply.headers.get("connection", "").lower() == "close":
            self.hang_up()
        return reply

    def hang_up(self) -> None:
        """Leave at once, whatever is under way."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader and (self._reader.at_eof() or time.monotonic() - self._used > _MAX_IDLE_S):
            self.hang_up()
        if self._reader is None or self._writer is None:
            try:
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
            except OSError as error:
                raise HttpBrokenError(f"cannot connect: {error}") from error
        return self._reader, self._writer


async def _read(reader: asyncio.StreamReader) -> HttpReply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.split("\r\n")[:-2]
    pairs = (line.partition(":") for line in rest)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return HttpReply(int(first.split(" ")[1]), headers, body)
