"""PageFiles: the files of a page, of known kinds only, compressed once, and kept until it changes."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Final, TypeAlias

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from serve.edge.rest_http import MIN_BYTES, accepted_coding

# A machine's own table may call a script something that browsers then refuse to run. What is of no kind in
# here is not served; a document is only served by who knows its policy.
KINDS: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
Stamp: TypeAlias = tuple[tuple[int, int], ...]
HTML: Final = "text/html; charset=utf-8"
_ALREADY_SMALL: Final = frozenset({".png"})
_HEADERS: Final[Mapping[str, str]] = {
    # Asked for again each time, and answered without a body unless it has changed: a new one shows at once.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
    "Accept-Ranges": "none",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A file as it was at `stamp`, also compressed where that makes it smaller.

    Attributes:
        places: Where it lies, or what it is joined of.
        etag: Weak, since it stands for both.
        stamp: Of each place, when it was changed, in ns, and its size.
    """

    places: tuple[Path, ...]
    plain: bytes
    packed: bytes | None
    etag: str
    stamp: Stamp


class PageFiles(StaticFiles):
    """ASGI application: the files of a folder and of those below it."""

    def __init__(
        self, folder: Path | str, joined: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> None:
        """Read nothing yet.

        Args:
            folder: What is served.
            joined: Files that are asked for as one, by its name: before a page is drawn every request counts.
        """
        super().__init__(directory=folder)
        self._folder = Path(folder)
        self._joined = {name: tuple(self._folder / part for part in parts) for name, parts in joined.items()}
        self._kept: dict[str, _Kept] = {}

    async def page(self, name: str, request: Headers, policy: str) -> Response:
        """Answer with a document of the folder.

        Args:
            name: Of the file.
            request: The headers of who asks.
            policy: What the document may do, for Content-Security-Policy.
        """
        kept = self._known(name)
        if kept is None:
            kept = await asyncio.to_thread(self._read, name, (self._folder / name,))
        answer = _answer(kept, HTML, request)
        answer.headers["Content-Security-Policy"] = policy
        return answer

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file.

        Raises:
            HTTPException: There is none of that name, or of no kind that is served.
        """
        kind = KINDS.get(PurePath(path).suffix)
        # By a way out of the folder and in again, a file would have names without end, and be kept by each.
        if kind is None or os.pardir in PurePath(path).parts:
            raise HTTPException(404)
        kept = self._known(path) if scope["method"] == "GET" else None
        if kept is None:
            places = self._joined.get(path)
            if places is None:
                found = await super().get_response(path, scope)
                if not isinstance(found, FileResponse):
                    return found
                places = (Path(found.path),)
            kept = await asyncio.to_thread(self._read, path, places)
        return _answer(kept, kind, Headers(scope=scope))

    def is_not_modified(self, response_headers: Headers, request_headers: Headers) -> bool:  # noqa: ARG002  Starlette's names
        """Never by the file's date, which a reproducible image gives to every version: by its content."""
        return False

    def _known(self, path: str) -> _Kept | None:
        """What is kept, unless it has changed; a look at it takes less than asking a thread to look."""
        kept = self._kept.get(path)
        try:
            return kept if kept and kept.stamp == _stamp(kept.places) else None
        except OSError:
            return None

    def _read(self, path: str, places: tuple[Path, ...]) -> _Kept:
        stamp, plain = _stamp(places), b"".join(place.read_bytes() for place in places)
        packs = len(plain) >= MIN_BYTES and PurePath(path).suffix not in _ALREADY_SMALL
        kept = self._kept[path] = _Kept(
            places=places,
            plain=plain,
            packed=gzip.compress(plain, mtime=0) if packs else None,
            etag=f'W/"{hashlib.sha256(plain).hexdigest()[:32]}"',
            stamp=stamp,
        )
        return kept


def _stamp(places: Sequence[Path]) -> Stamp:
    found = [place.stat() for place in places]
    return tuple((one.st_mtime_ns, one.st_size) for one in found)


def _answer(kept: _Kept, kind: str, request: Headers) -> Response:
    headers = {**_HEADERS, "ETag": kept.etag}
    if kept.etag in [tag.strip() for tag in request.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    if kept.packed is None or accepted_coding(request.get("accept-encoding", "")) != "gzip":
        return Response(kept.plain, headers=headers, media_type=kind)
    return Response(kept.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=kind)
