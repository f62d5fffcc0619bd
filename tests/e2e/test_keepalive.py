"""A kept connection is quick: nothing waits for a timer of TCP."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from tests.e2e.stacks import Stack

DELAYED_ACK_S = 0.04  # Linux, at least
REQUEST = b"GET /v2 HTTP/1.1\r\nHost: gateway\r\n\r\n"


def test_an_answer_does_not_wait_for_the_callers_ack(stack: Stack) -> None:
    """Headers and body of an answer go out at once, however late the caller acknowledges the headers."""
    address = urlsplit(stack.addresses["http"])
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        times = [_time_s(connection) for _ in range(40)]
    # A fresh connection acknowledges everything at once; the least of the others is free of noise.
    assert min(times[20:]) < DELAYED_ACK_S * 0.9


def _time_s(connection: socket.socket) -> float:
    started = time.monotonic()
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"}"):
        answer += connection.recv(1 << 16)
    return time.monotonic() - started
