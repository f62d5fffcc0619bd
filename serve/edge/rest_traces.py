"""Traces of the REST door: begun from a request's headers, ended with its status.

Names are those of OpenTelemetry's semantic conventions for HTTP.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.core.trace import Facts, Trace, Tracer
from serve.edge.rest_errors import TRACE
from serve.edge.rest_infer import PATH

_HEADERS = ("traceparent", "tracestate")
_ROUTE = "/v2/models/{model}/infer"
_VERSION_ROUTE = "/v2/models/{model}/versions/{version}/infer"
_OURS = 500


class TracedRequests:
    """ASGI middleware: every inference request gets a trace, which its scope holds."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        trace = self._begin(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        if trace is None:
            await self._app(scope, receive, send)
            return
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app({**scope, TRACE: trace}, receive, watched)
        finally:
            _end(trace, status)

    def _begin(self, scope: Scope) -> Trace | None:
        found = PATH.fullmatch(scope["path"])
        if found is None:
            return None
        headers = Headers(scope=scope)
        route = _VERSION_ROUTE if found["version"] else _ROUTE
        facts: Facts = {
            "http.request.method": "POST",
            "http.route": route,
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
        }
        return self._tracer.begin(f"POST {route}", {name: headers.getlist(name) for name in _HEADERS}, facts)


def _end(trace: Trace, status: int) -> None:
    if not status:  # cut off before there was an answer
        trace.end({}, "cancelled")
        return
    trace.end({"http.response.status_code": status}, str(status) if status >= _OURS else "")
