"""What the edge accepts before it looks at a request; reasons stand beside the numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from serve.core.room import Room


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """Limits of both front doors.

    Attributes:
        max_message_bytes: Size of a request, after decompression. gRPC's own default, 4 MiB, is less than
            a batch of photographs.
        max_metadata_bytes: Size of a call's gRPC metadata, or of all that stands before a REST body, since
            each stream may hold as much.
        max_headers: Header lines of a REST request.
        max_connections: Connections of each door at a time.
        max_concurrent_streams: Calls in flight on one gRPC connection; bounds HTTP/2 rapid resets.
        max_concurrent_calls: Calls in flight on all gRPC connections together.
        max_streams: ModelStreamInfer calls in flight. One may be idle for as long as its caller likes, so
            they are half of all calls at most, and the others always find a place.
        max_connection_age_s: After that a connection is asked to come anew, which spreads long-lived clients
            over replicas: gRPC's with GOAWAY, REST's with `Connection: close` in the next answer. What is
            under way is answered, however long that takes. 0: no limit.
        header_timeout_s: Seconds that a new connection has for becoming usable (the handshake of gRPC, or
            the headers of the first REST request), and a kept one for all headers of the next.
        body_timeout_s: Seconds that a caller has for sending a request's body, and for taking the answer.
        share_ports: Whether other processes may listen on the same ports.
        room: Counts the bytes of all requests that are being received or answered; both doors share it.
    """

    max_message_bytes: int = 64 << 20
    max_metadata_bytes: int = 16 << 10
    max_headers: int = 100
    max_connections: int = 1024
    max_concurrent_streams: int = 128
    max_concurrent_calls: int = 2048
    max_streams: int = 1024
    max_connection_age_s: float = 1800.0
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    share_ports: bool = False
    room: Room = field(default_factory=lambda: Room(1 << 30))
