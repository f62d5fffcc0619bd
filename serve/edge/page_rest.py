"""What the page asks beside the protocol and experiments: who it talks as, the models' cards, samples."""

from __future__ import annotations

import asyncio
import time

from fastapi import Request
from starlette.responses import JSONResponse, Response

from serve.core.access import Access
from serve.edge import openapi_page as shown
from serve.edge.live_rest import LiveRest
from serve.edge.models_json import encode_model
from serve.edge.page_parts import PageParts
from serve.edge.rest_routes import Route, credentials_of
from serve.edge.samples import SampleFolder
from serve.service import Service

# What an image from here may do: be looked at.
_IMAGE = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",
}


class PageRest:
    """The functions of the routes; `/docs` shows their first lines."""

    def __init__(self, service: Service, access: Access, parts: PageParts, *, experiments: bool) -> None:
        """Tie the parts together; `experiments` says whether this gateway takes part in any."""
        self._service = service
        self._access = access
        self._parts = parts
        self._experiments = experiments
        self._samples = SampleFolder(parts.samples)

    def routes(self) -> tuple[Route, ...]:
        """All of them."""
        return (
            Route("GET", ("/v1/me",), self.get_me, body=shown.ME),
            Route("GET", ("/v1/models",), self.list_models, body=shown.MODELS),
            Route("GET", ("/v1/models/{model}/versions/{version}",), self.get_model_card, body=shown.MODEL),
            Route("GET", ("/v1/samples",), self.list_samples, body=shown.SAMPLES),
            Route("GET", ("/v1/samples/{name}",), self.get_sample, body=shown.SAMPLE),
            *(LiveRest(self._parts.live).routes() if self._parts.live else ()),
        )

    async def get_me(self, request: Request) -> JSONResponse:
        """Who the caller is, what it may do, and what this gateway has to show."""
        caller = self._access.identify(*credentials_of(request), now=time.time())
        document = {
            "name": caller.name,
            "role": caller.role.name.lower(),
            "access": self._access.kind,
            "version": self._service.server_metadata().version,
            "experiments": self._experiments,
            "samples": self._parts.samples is not None,
            "grafana_url": self._parts.grafana_url,
            "processes": self._parts.processes,
        }
        return JSONResponse(document, headers={"Cache-Control": "no-store"})

    async def list_models(self) -> JSONResponse:
        """Every version that is known, ready or not, with its card and what it has done."""
        cards = self._service.cards
        found = cards.all()
        # In a thread: a hundred with much on their cards would hold up other callers.
        encoded = await asyncio.to_thread(lambda: [encode_model(known, cards.since) for known in found])
        return JSONResponse({"models": encoded})

    async def get_model_card(self, model: str, version: str) -> JSONResponse:
        """One of them, with its labels, gate columns, confusion and input."""
        cards = self._service.cards
        known = cards.one(model, version)
        # In a thread: there may be tens of thousands of labels.
        return await asyncio.to_thread(lambda: JSONResponse(encode_model(known, cards.since, whole=True)))

    async def list_samples(self) -> JSONResponse:
        """Images to try, and what they show."""
        found = await asyncio.to_thread(self._samples.samples)
        return JSONResponse(
            {"samples": [{"name": one.name, "label": one.label, "bytes": one.bytes} for one in found]}
        )

    async def get_sample(self, request: Request, name: str) -> Response:
        """One of the images, byte for byte."""
        found = await asyncio.to_thread(self._samples.read, name)
        headers = {**_IMAGE, "ETag": found.etag}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.media_type)
