"""The pages for people: `/` with the models, `/docs` with the REST API. Nothing comes from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

FOLDER = Path(__file__).parent / "page"

_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; img-src 'self' data: blob:; style-src 'self'"
)
# Swagger UI sets styles from its script.
_DOCS_POLICY = f"{_POLICY} 'unsafe-inline'"


def add_pages(app: FastAPI) -> None:
    """Add the pages and the files that they load."""

    async def index() -> FileResponse:
        return _page("index.html", _POLICY)

    async def docs() -> FileResponse:
        return _page("docs.html", _DOCS_POLICY)

    app.add_api_route("/", index, include_in_schema=False)
    app.add_api_route("/docs", docs, include_in_schema=False)
    app.mount("/page", StaticFiles(directory=FOLDER))
    app.mount("/docs/ui", StaticFiles(directory=swagger_ui_path))


def _page(name: str, policy: str) -> FileResponse:
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    return FileResponse(FOLDER / name, headers=headers)
