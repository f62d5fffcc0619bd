"""What a browser is told to send by another site's page is refused: nobody at this site asked for it.

Where access is open, or callers are known by their certificates, a browser that can reach the gateway has all
that a request needs, and any page that is open in it can have one sent (CSRF). Browsers say where a request
comes from: all of today's in Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/), older ones in Origin.
Other clients send neither, and pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from serve.audit import Act
from serve.core.errors import ForbiddenError
from serve.edge.rest_infer import PATH
from serve.edge.tensors import show
from serve.service import Service

# They change nothing, and another site cannot read the answer.
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Typed into the address bar, or sent by a page of ours.
_WELCOME: Final = frozenset({b"same-origin", b"none"})
_ACT: Final = "cross_site_request"


class SameSite:
    """ASGI middleware: refuses what other sites have browsers send, before anything of it is looked at."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application.

        Raises:
            ForbiddenError: Another site's page has had this sent.
        """
        if scope["type"] == "http" and scope["method"] not in SAFE:
            try:
                check_site(scope["headers"])
            except ForbiddenError as error:
                self._take_down(scope, error)
                raise
        await self._app(scope, receive, send)

    def _take_down(self, scope: Scope, error: ForbiddenError) -> None:
        if PATH.fullmatch(scope["path"]):
            self._service.refused("http", error)
            return
        host, port = scope.get("client") or ("", 0)
        act = Act(name=_ACT, target=scope["path"], protocol="http", peer=f"{host}:{port}", principal="")
        self._service.denied(act, error)


def check_site(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """See that no other site's page has had a request sent.

    Args:
        headers: Of a request that may change something; names in lower case.

    Raises:
        ForbiddenError: One has, by what the browser says.
    """
    sites, origins, hosts = _values(headers)
    if sites:
        for site in sites:
            if site not in _WELCOME:
                raise _refusal("sec-fetch-site", site)
        return
    for origin in origins:
        place = _place(origin)
        if not place or place not in hosts:
            raise _refusal("origin", origin)


def _values(headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    found: dict[bytes, list[bytes]] = {b"sec-fetch-site": [], b"origin": [], b"host": []}
    for name, value in headers:
        if name in found:
            found[name].append(value.lower())
    sites, origins, hosts = found.values()
    return sites, origins, hosts


def _place(origin: bytes) -> bytes:
    """host:port of an origin; b"" where there is none, as in "null"."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return b""


def _refusal(header: str, value: bytes) -> ForbiddenError:
    shown = show(value.decode("latin-1"))
    hint = "; where this is its own page, the proxy before it must pass Host on" if header == "origin" else ""
    return ForbiddenError(
        f"{header}: is {shown}: a browser sent this for a page of another site, which may only read;"
        f" open the gateway's own page, or use a client that is no browser{hint}"
    )
