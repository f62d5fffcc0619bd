"""Connections of the REST door: how many, how much before a body, and how long one may keep us waiting.

uvicorn bounds none of these: a connection that sends nothing, half a request, or headers without an end would
be kept for ever, and so would one that does not take its answer.
"""

from __future__ import annotations

import asyncio
import http
import json
import math
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serve.edge.callers import name_from_transport
from serve.edge.limits import EdgeLimits
from serve.edge.tensors import show

# Of header_timeout_s: so long an idle connection is safe from being displaced by a new one.
_SAFE_SHARE = 0.2
# Requests that a caller may send on one connection before it has taken the answers of earlier ones.
_MAX_WAITING = 100
_PASSING = frozenset({429, 503})  # what waiting helps against


class _RefusedHeadError(Exception):
    """Ends the parser's work at once; uvicorn then calls `send_400_response`."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection with limits; see `limited`."""

    limits: ClassVar[EdgeLimits]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  uvicorn's own arguments
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._in_head = True
        self._made = math.inf
        self._loose_bytes = 0
        self._refusal = (400, "the request is no HTTP/1.1")

    @property
    def idle_since(self) -> float:
        """Since when it waits for headers, by the loop's clock; infinite while a request is under way."""
        return self._timer.when() - self.limits.header_timeout_s if self._timer else math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, if need be in the place of the connection that has been idle for longest."""
        super().connection_made(transport)
        self._made = self.loop.time()
        # `request.state` of each of its requests.
        self.app_state = {**self.app_state, "certificate": name_from_transport(transport)}
        self._await_head()
        if len(self.connections) > self.limits.max_connections and not self._displace():
            self._refuse(503, f"the server has {self.limits.max_connections} connections, the most it takes")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop(self._timer)
        self._stop(self._reading_timer)
        self._disconnect()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, unless too many have come that are no body."""
        self._loose_bytes += len(data)
        super().data_received(data)
        if self._loose_bytes > self.limits.max_metadata_bytes and not self.transport.is_closing():
            self._refuse(*self._too_large())

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer, which comes after the checks of the headers, is dropped."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request, unless its head breaks a rule."""
        self._in_head = False
        problem = self._problem()
        if problem is not None:
            self._refusal = problem
            raise _RefusedHeadError
        self._loose_bytes = 0
        self._stop(self._timer)
        self._timer = None
        super().on_headers_complete()
        if self.parser.should_upgrade() or self._is_old():
            self.cycle.keep_alive = False  # its parser is of no use any more, or it has lasted long enough

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self._loose_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Wait for the next request, even if the rest of this one's body is still to come."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._await_head()

    def pause_writing(self) -> None:
        """Give the caller a time to take its answer."""
        super().pause_writing()
        self._stop(self._reading_timer)
        self._reading_timer = self.loop.call_later(self.limits.body_timeout_s, self.end)

    def resume_writing(self) -> None:
        """Go on: it takes it."""
        self._stop(self._reading_timer)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's words for every reason
        """Say why the bytes are refused, and close."""
        self._refuse(*self._refusal)

    def _await_head(self) -> None:
        self._stop(self._timer)
        self._timer = self.loop.call_later(self.limits.header_timeout_s, self.end)

    def end(self) -> None:
        """Close it without a word, and let go of what was meant for it."""
        self._disconnect()  # at once, or the application would write to what is closed
        self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401  uvicorn's ASGI3
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _disconnect(self) -> None:
        # uvicorn tells only the newest request, which may stand behind the one that is being answered.
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _displace(self) -> bool:
        others = (other for other in self.connections if isinstance(other, Connection) and other is not self)
        longest = min(others, key=lambda other: other.idle_since)
        # One that has just been of use, or is about to be, is not taken from its caller.
        if longest.idle_since > self.loop.time() - self.limits.header_timeout_s * _SAFE_SHARE:
            return False
        self.connections.discard(longest)  # at once: another may come before it has heard
        longest.end()
        return True

    def _is_old(self) -> bool:
        age_s = self.limits.max_connection_age_s
        return 0 < age_s < self.loop.time() - self._made

    def _problem(self) -> tuple[int, str] | None:
        """Status and reason when the head is to be refused."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if len(self.headers) > self.limits.max_headers or size > self.limits.max_metadata_bytes:
            return self._too_large()
        if len(self.pipeline) >= _MAX_WAITING:
            return 429, f"{_MAX_WAITING} requests wait on this connection, the most that may"
        values = dict(self.headers)
        coding = values.get(b"transfer-encoding", b"chunked")
        if coding.lower() != b"chunked":
            return 501, f"Transfer-Encoding is {show(coding.decode('latin-1'))}, must be 'chunked' or missing"
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            return 400, f"Host: {hosts} headers of that name, must be one"
        # Where an upgrade is asked for, the parser stops: it would take the body for the next request.
        if self.parser.should_upgrade() and values.keys() & {b"transfer-encoding", b"content-length"}:
            return 501, "Upgrade: is not offered for a request with a body"
        return None

    def _too_large(self) -> tuple[int, str]:
        limits = self.limits
        return 431, (
            f"the headers are larger than {limits.max_metadata_bytes} bytes or more than {limits.max_headers}"
        )

    def _refuse(self, status: int, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        retry = "Retry-After: 1\r\n" if status in _PASSING else ""
        head = (
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{retry}Connection: close\r\n\r\n"
        )
        self._disconnect()
        self.transport.write(head.encode() + body)
        self.transport.close()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def limited(limits: EdgeLimits) -> type[Connection]:
    """The class of connections with these limits, for uvicorn's `http`."""
    return type("LimitedConnection", (Connection,), {"limits": limits})
