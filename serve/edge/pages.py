"""The pages for people: `/`, and `/docs` with the REST API. Nothing comes from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import Response
from swagger_ui_bundle import swagger_ui_path

from serve.edge.page_files import PageFiles

FOLDER = Path(__file__).parent / "page"

# The page's rules, as one file; those of the parts that all views share come first.
STYLES = ("base", "parts", "playground", "models", "experiments", "report", "live")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Text that somebody wrote can become no script, whatever the page does with it: browsers refuse the attempt.
_PAGE_POLICY = f"{_POLICY}; require-trusted-types-for 'script'"
# Swagger UI sets styles from its script.
_DOCS_POLICY = _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


def add_pages(app: FastAPI) -> None:
    """Add the pages and the files that they load."""
    files = PageFiles(FOLDER, {"style.css": [f"style/{name}.css" for name in STYLES]})

    async def index(request: Request) -> Response:
        return await files.page("index.html", request.headers, _PAGE_POLICY)

    async def docs(request: Request) -> Response:
        return await files.page("docs.html", request.headers, _DOCS_POLICY)

    app.add_api_route("/", index, include_in_schema=False)
    app.add_api_route("/docs", docs, include_in_schema=False)
    app.mount("/page", files)
    app.mount("/docs/ui", PageFiles(swagger_ui_path))
