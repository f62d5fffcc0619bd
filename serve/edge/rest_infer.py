"""The one REST route on which speed counts, answered before the framework looks for a route.

Finding it, and what it depends on, takes FastAPI 0.3 ms of CPU, as much as all the rest of a request. It
is in the table of routes as well: `/docs` shows it from there, and there other verbs are refused.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.edge.rest_errors import http_error

PATH: Final = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/infer")

Authorize = Callable[[Request], Awaitable[None]]
Infer = Callable[[Request, str, str], Awaitable[Response]]


class InferFirst:
    """ASGI middleware: answers inference requests, and hands everything else on."""

    def __init__(self, app: ASGIApp, authorize: Authorize, infer: Infer) -> None:
        self._app = app
        self._authorize = authorize
        self._infer = infer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or call the application."""
        found = None
        if scope["type"] == "http" and scope["method"] == "POST":
            found = PATH.fullmatch(scope["path"])
        if found is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            await self._authorize(request)
            answer = await self._infer(request, found["model"], found["version"] or "")
        except HTTPException as err:
            answer = await http_error(request, err)
        await answer(scope, receive, send)
