"""The metrics port: a thread for each scrape, and few of them, since nobody is asked who they are.

As prometheus_client opens it, whoever reaches the port could take every thread and every open file of the
gateway with connections that send nothing.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from socketserver import ThreadingMixIn
from typing import cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

# At a time; a scrape takes milliseconds. One more ends the oldest, so that silent ones keep nobody out.
MOST_CONNECTIONS = 32
# Without a byte from the caller, or one taken by it.
SILENCE_S = 10.0
# At most until it is seen that the port is to be closed, for which `close` waits.
CLOSING_S = 0.05


class MetricsPort:
    """Answers from the moment it is made until `close`.

    Attributes:
        number: Of the port.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        """Bind, and answer in threads.

        Raises:
            OSError: It cannot be bound.
        """
        kind = _Server6 if ":" in host else _Server
        self._server = kind((host, port), _Scrape)
        self._server.set_app(make_wsgi_app(registry))
        self.number = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(CLOSING_S,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Let the port go."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Scrape(WSGIRequestHandler):
    timeout = SILENCE_S

    def parse_request(self) -> bool:
        """Whether it is to be answered; the base answers half a request, too, once no more can come."""
        return super().parse_request() and cast("_Server", self.server).holds(self.request)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        """Log nothing: any caller could have written it."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._open: dict[int, socket.socket] = {}  # in the order in which they came
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def holds(self, request: socket.socket) -> bool:
        """Whether it has not had to make room."""
        with self._lock:
            return id(request) in self._open

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        with self._lock:
            self._open[id(request)] = request
            if len(self._open) > MOST_CONNECTIONS:
                oldest = self._open.pop(next(iter(self._open)))
                with contextlib.suppress(OSError):  # it may just have gone by itself
                    oldest.shutdown(socket.SHUT_RDWR)  # which ends its thread
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        with self._lock:
            self._open.pop(id(request), None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: callers that hang up are no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6
