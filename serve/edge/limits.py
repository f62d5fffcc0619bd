"""What the edge accepts before it looks at a request; reasons stand beside the numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """Limits of both front doors.

    Attributes:
        max_message_bytes: Size of a request, after decompression. gRPC's own default, 4 MiB, is less than
            a batch of photographs.
        max_metadata_bytes: Size of a call's gRPC metadata, since each stream may hold as much.
        max_concurrent_streams: Calls in flight on one gRPC connection; bounds HTTP/2 rapid resets.
        max_concurrent_calls: Calls in flight on all gRPC connections together.
        max_connection_age_s: After that a gRPC connection is asked to come anew, which spreads
            long-lived clients over replicas.
        body_timeout_s: Seconds that a REST caller has for sending the body.
    """

    max_message_bytes: int = 64 << 20
    max_metadata_bytes: int = 16 << 10
    max_concurrent_streams: int = 128
    max_concurrent_calls: int = 2048
    max_connection_age_s: float = 1800.0
    body_timeout_s: float = 30.0
