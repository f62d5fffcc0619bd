"""Every REST error in one shape, on which clients rely: a JSON object with the one key `error`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.core.trace import Trace
from serve.edge.status import failure

# Where a request's scope holds its trace, where there is one.
TRACE: Final = "attnserve.trace"
# Beside Retry-After. After 413 the rest of the body is still under way, and nobody will read it.
_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "Bearer"},
    413: {"Connection": "close"},
}


class ErrorAnswers:
    """ASGI middleware that answers whatever the application raises."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; a failure before its first byte becomes an answer."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as err:
            if started or scope["type"] != "http":
                raise
            await error_response(err, scope.get(TRACE))(scope, receive, send)


def error_response(err: Exception, trace: Trace | None = None) -> JSONResponse:
    """Say what went wrong; `trace` is the request's."""
    problem = failure(err, trace)
    status = problem.status.http
    headers = dict(_HEADERS.get(status, {}))
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    return JSONResponse({"error": problem.message}, status, headers)


async def http_error(_request: Request, err: Exception) -> JSONResponse:
    """Answer what the framework raises: unknown paths, wrong verbs, a body that came too slowly."""
    if not isinstance(err, HTTPException):
        raise TypeError(f"http_error is for HTTPException, not {type(err)}")
    headers = dict(err.headers or {})
    if "GET" in headers.get("Allow", "").split(", "):
        headers["Allow"] += ", HEAD"
    return JSONResponse({"error": err.detail}, err.status_code, headers)


async def validation_error(_request: Request, err: Exception) -> JSONResponse:
    """Answer a parameter of path or query that does not fit, as 400 rather than the framework's 422."""
    if not isinstance(err, RequestValidationError):
        raise TypeError(f"validation_error is for RequestValidationError, not {type(err)}")
    first = err.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return JSONResponse({"error": f"{where}: {first['msg']}"}, 400)
