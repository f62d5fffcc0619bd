"""Traces of the gRPC door: begun from a call's metadata, ended with its status.

Names are those of OpenTelemetry's semantic conventions for gRPC.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final, cast

import grpc

from serve.core.trace import Trace, Tracer
from serve.pb import open_inference_pb2 as pb

_SERVICE: Final = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_HEADERS = ("traceparent", "tracestate")
# What a server is to blame for.
_ERRORS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


def begin_trace(tracer: Tracer, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> Trace:
    """Begin the trace of one inference request that came by that method."""
    metadata = context.invocation_metadata() or ()
    carrier = {name: [str(value) for key, value in metadata if key == name] for name in _HEADERS}
    name = f"{_SERVICE}/{method}"
    return tracer.begin(name, carrier, {"rpc.system.name": "grpc", "rpc.method": name})


def end_call(trace: Trace, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """End a call's trace on the way out of what answers it, be it by an exception."""
    if isinstance(sys.exception(), asyncio.CancelledError):
        end_trace(trace, grpc.StatusCode.CANCELLED)
    else:
        code = cast("object", context.code())  # of an abort; otherwise 0, whatever the stubs say
        end_trace(trace, code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.OK)


def end_trace(trace: Trace, code: grpc.StatusCode) -> None:
    """End a trace with that status."""
    trace.end({"rpc.response.status_code": code.name}, code.name if code in _ERRORS else "")
