"""What every REST route has: its paths, who may ask, how a refusal is taken down, what `/docs` says of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.params import Depends as Dependency
from fastapi.security import HTTPBearer
from starlette.responses import Response

from serve.audit import Act
from serve.core.access import Access, Role
from serve.core.call import Call
from serve.edge import openapi
from serve.edge.callers import UNIT, only_one, unit_from_header
from serve.edge.refusals import denials, refusals
from serve.edge.rest_errors import TRACE
from serve.service import Service


@dataclass(frozen=True, slots=True)
class Route:
    """One route: verbs and paths, what answers, which role it needs (None: open to all), its body's schema.

    Attributes:
        verbs: Separated by blanks; HEAD goes with GET.
        shown: Whether `/docs` shows it.
        infers: Whether a call that is refused before it is understood counts as an inference request.
    """

    verbs: str
    paths: tuple[str, ...]
    answer: Callable[..., Awaitable[Response]]
    needs: Role | None = Role.INFER
    body: Mapping[str, Any] = field(default_factory=dict)
    infers: bool = False
    shown: bool = True


def call_of(request: Request) -> Call:
    """The circumstances of a request whose caller has been let in.

    Raises:
        InvalidRequestError: Its unit breaks a rule.
    """
    unit = unit_from_header(request.headers.getlist(UNIT))
    trace = request.scope.get(TRACE)
    kept = trace if trace is not None and trace.sampled else None
    return Call(protocol="http", principal=request.state.principal, unit=unit, trace=kept)


def credentials_of(request: Request) -> tuple[str | None, str | None]:
    """The authorization of a request, and the name in the certificate with which its caller came.

    Raises:
        UnauthenticatedError: There are several authorizations.
    """
    token = only_one(request.headers.getlist("authorization"))
    return token, getattr(request.state, "certificate", None)


def build_router(routes: Iterable[Route], access: Access, service: Service) -> APIRouter:
    """Make routes of ours into what the framework wants."""
    router = APIRouter()
    for route in routes:
        for path in route.paths:
            router.add_api_route(
                path,
                route.answer,
                methods=route.verbs.split(),
                dependencies=_guard(access, route, service),
                responses=openapi.ERROR,
                openapi_extra=dict(route.body),
                operation_id=f"{route.answer.__name__}{'_version' if '{version}' in path else ''}",
                include_in_schema=route.shown and path != "/v2/",
            )
    return router


def _guard(access: Access, route: Route, service: Service) -> list[Dependency]:
    if route.needs is None:
        return []
    # HTTPBearer only tells `/docs` to offer a field for the token.
    return [Depends(HTTPBearer(auto_error=False)), Depends(authorization(access, route, service))]


def authorization(access: Access, route: Route, service: Service) -> Callable[[Request], Awaitable[None]]:
    """What lets callers of a route in, and notes who they are."""
    needs = route.needs or Role.INFER

    async def authorize(request: Request) -> None:
        with _watched(service, route, request):
            token, certificate = credentials_of(request)
            request.state.principal = access.authorize(token, needs, certificate, now=time.time())

    return authorize


def _watched(service: Service, route: Route, request: Request) -> AbstractContextManager[None]:
    if route.infers:
        return refusals(service, "http")
    if route.needs is None or route.needs < Role.OPERATE:
        return nullcontext()
    peer = f"{request.client.host}:{request.client.port}" if request.client else ""
    target = request.path_params.get("model") or request.path_params.get("name", "")
    act = Act(name=route.answer.__name__, target=target, protocol="http", peer=peer, principal="")
    return denials(service, act)
