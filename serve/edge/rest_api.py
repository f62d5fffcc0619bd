"""The REST door: the routes of the protocol and its extensions over one Service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from serve.audit import Act
from serve.core.access import Access, Role
from serve.core.errors import CallerGoneError, InvalidRequestError
from serve.core.messages import Parameter
from serve.core.trace import Tracer
from serve.edge import absent, oip_json, oip_json_catalog, openapi
from serve.edge import strict_json as js
from serve.edge.desk import Desk
from serve.edge.experiments_rest import ExperimentsRest
from serve.edge.limits import EdgeLimits
from serve.edge.page_parts import PageParts
from serve.edge.page_rest import PageRest
from serve.edge.pages import add_pages
from serve.edge.refusals import denials, refusals
from serve.edge.rest_body import RoomForBodies, read_body
from serve.edge.rest_errors import ErrorAnswers, http_error, validation_error
from serve.edge.rest_http import CompressedAnswers, HeadAnswers, WholeAnswers
from serve.edge.rest_infer import InferFirst
from serve.edge.rest_routes import Route, authorization, build_router, call_of
from serve.edge.rest_sites import SameSite
from serve.edge.rest_traces import TracedRequests
from serve.edge.tensors import show
from serve.service import Service

T = TypeVar("T")

REPOSITORY = "/v2/repository/models/{model}"
MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")


class RestApi:
    """The routes' functions; FastAPI hands them the path's parts, `/docs` shows their first lines."""

    def __init__(self, service: Service, limits: EdgeLimits) -> None:
        self._service = service
        self._limits = limits

    def routes(self) -> tuple[Route, ...]:
        """All routes; /v2/models/stats stands before the models, or it would be taken for one."""
        return (
            Route("GET", ("/v2", "/v2/"), self.server_metadata),
            Route("GET", ("/v2/health/live",), self.server_live, needs=None),
            Route("GET", ("/v2/health/ready",), self.server_ready, needs=None),
            Route("GET", ("/v2/health/any-model",), self.any_model_ready, needs=None),
            Route("GET", ("/v2/models/stats",), self.all_statistics),
            Route("GET", MODEL, self.model_metadata),
            Route("GET", _under_model("ready"), self.model_ready, needs=None),
            Route("GET", _under_model("config"), self.model_config),
            Route("GET", _under_model("stats"), self.model_statistics),
            self.infer_route(),
            Route("POST", ("/v2/repository/index",), self.repository_index, body=openapi.INDEX),
            Route("POST", (f"{REPOSITORY}/load",), self.load, Role.OPERATE, openapi.REPOSITORY),
            Route("POST", (f"{REPOSITORY}/unload",), self.unload, Role.OPERATE, openapi.REPOSITORY),
            Route("GET", _under_regions("status"), self.shared_memory, shown=False),
            Route("POST", _under_regions("unregister"), self.forget_shared_memory, shown=False),
            *(Route("GET POST", (path,), _absent(what), shown=False) for path, what in absent.PATHS.items()),
        )

    def infer_route(self) -> Route:
        """The route on which speed counts."""
        return Route("POST", _under_model("infer"), self.infer, body=openapi.INFER, infers=True)

    async def server_metadata(self) -> JSONResponse:
        """Name, version and extensions of this server."""
        return JSONResponse(oip_json_catalog.encode_server(self._service.server_metadata()))

    async def server_live(self) -> JSONResponse:
        """Whether the process runs."""
        return _health({"live": self._service.live()}, well=self._service.live())

    async def server_ready(self) -> JSONResponse:
        """Whether every model that the configuration pins can answer."""
        ready = self._service.ready()
        return _health({"ready": ready}, well=ready)

    async def any_model_ready(self) -> JSONResponse:
        """Whether one model at least can answer."""
        ready = self._service.any_model_ready()
        return _health({"ready": ready}, well=ready)

    async def model_ready(self, model: str, version: str = "") -> JSONResponse:
        """Whether a model can answer."""
        ready = self._service.model_ready(model, version)
        return _health({"name": model, "ready": ready}, well=ready)

    async def model_metadata(self, model: str, version: str = "") -> JSONResponse:
        """What a model takes and gives."""
        return JSONResponse(oip_json_catalog.encode_metadata(self._service.model_metadata(model, version)))

    async def model_config(self, model: str, version: str = "") -> JSONResponse:
        """A model's configuration, as load generators read it."""
        return JSONResponse(oip_json_catalog.encode_config(self._service.model_config(model, version)))

    async def all_statistics(self) -> JSONResponse:
        """What every version has done since the gateway started."""
        return JSONResponse(oip_json_catalog.encode_statistics(self._service.model_statistics()))

    async def model_statistics(self, model: str, version: str = "") -> JSONResponse:
        """What a model has done since the gateway started."""
        usages = self._service.model_statistics(model, version)
        return JSONResponse(oip_json_catalog.encode_statistics(usages))

    async def infer(self, request: Request, model: str, version: str = "") -> Response:
        """Classify images."""
        with refusals(self._service, "http"):
            body = oip_json.InferBody(
                content=await read_body(request, self._limits),
                header_length=request.headers.get(oip_json.HEADER_LENGTH),
                wants_json=_wants_json(request),
            )
            decoded = oip_json.decode_infer(body, model=model, version=version)
            call = call_of(request)
        response = await _while_connected(request, self._service.infer(decoded, call))
        reply = oip_json.encode_infer(response, decoded)
        if reply.header_length is None:
            return Response(reply.content, media_type="application/json")
        headers = {oip_json.HEADER_LENGTH: str(reply.header_length)}
        return Response(reply.content, headers=headers, media_type="application/octet-stream")

    async def repository_index(self, request: Request) -> JSONResponse:
        """Every version that the server knows, and its state."""
        ready = (await self._object(request)).get("ready") or False
        if not isinstance(ready, bool):
            raise InvalidRequestError(f"ready: is {show(ready)}, must be a boolean")
        return JSONResponse(oip_json_catalog.encode_index(self._service.repository_index(ready_only=ready)))

    async def load(self, request: Request, model: str) -> JSONResponse:
        """Load a model, or load it anew."""
        parameters = await self._parameters("load", request, model)
        await self._service.load_model(model, parameters, call_of(request))
        return JSONResponse({})

    async def unload(self, request: Request, model: str) -> JSONResponse:
        """Let a model go."""
        parameters = await self._parameters("unload", request, model)
        await self._service.unload_model(model, parameters, call_of(request))
        return JSONResponse({})

    async def shared_memory(self, region: str = "") -> JSONResponse:
        """The regions of shared memory: none."""
        absent.check_region(region)
        return JSONResponse([])

    async def forget_shared_memory(self) -> JSONResponse:
        """Let go of regions that do not exist."""
        return JSONResponse({})

    async def _parameters(self, name: str, request: Request, model: str) -> dict[str, Parameter]:
        act = Act(name=name, target=model, protocol="http", principal=request.state.principal)
        with denials(self._service, act):
            return js.get_parameters(await self._object(request), "")

    async def _object(self, request: Request) -> dict[str, Any]:
        body = await read_body(request, self._limits)
        return js.loads_object(body) if body else {}


def build_rest_app(
    service: Service,
    access: Access,
    limits: EdgeLimits,
    desk: Desk | None = None,
    tracer: Tracer | None = None,
    page: PageParts | None = None,
) -> FastAPI:
    """Make the ASGI application: the protocol, experiments, `/` and `/docs`.

    Args:
        service: Answers inference requests.
        access: Who may ask for what.
        limits: What is read of a request.
        desk: Where experiments are asked for; None: they are disabled.
        tracer: Begins the traces of inference requests; None: they are not traced.
        page: What `/` shows beside the protocol and experiments.
    """
    app = FastAPI(
        title="attnserve",
        version=service.server_metadata().version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: http_error, RequestValidationError: validation_error},
        # It has traces of its own, of what any caller asks, and variables that turn them on.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.openapi_version = "3.0.3"  # the newest that the bundled Swagger UI draws
    api = RestApi(service, limits)
    authorize = authorization(access, api.infer_route(), service)
    app.add_middleware(InferFirst, authorize=authorize, infer=api.infer)
    app.add_middleware(CompressedAnswers)
    app.add_middleware(RoomForBodies, room=limits.room)
    app.add_middleware(SameSite, service=service)
    app.add_middleware(ErrorAnswers)
    app.add_middleware(HeadAnswers)
    app.add_middleware(WholeAnswers)
    if tracer is not None:
        app.add_middleware(TracedRequests, tracer=tracer)
    shown = PageRest(service, access, page or PageParts(), experiments=desk is not None)
    routes = (*api.routes(), *ExperimentsRest(service, limits, desk).routes(), *shown.routes())
    app.include_router(build_router(routes, access, service))
    add_pages(app)
    return app


def _under_model(last: str) -> tuple[str, ...]:
    return tuple(f"{path}/{last}" for path in MODEL)


def _under_regions(last: str) -> tuple[str, ...]:
    return tuple(f"{path}{region}/{last}" for path in absent.REGIONS for region in ("", "/region/{region}"))


def _absent(extension: str) -> Callable[[], Awaitable[Response]]:
    async def refuse() -> Response:
        raise absent.refusal(extension)

    return refuse


def _health(document: Mapping[str, Any], *, well: bool) -> JSONResponse:
    return JSONResponse(document, 200 if well else 503)


def _wants_json(request: Request) -> bool:
    media_types = (part.partition(";")[0] for part in request.headers.get("accept", "").split(","))
    return "application/json" in {media_type.strip().lower() for media_type in media_types}


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, and cancel it when the caller hangs up; gRPC does so by itself, ASGI only tells.

    Raises:
        CallerGoneError: The caller hung up first.
    """

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        patience.reschedule(0)

    try:
        async with asyncio.timeout(None) as patience:
            watcher = asyncio.create_task(watch())
            try:
                return await work
            finally:
                watcher.cancel()
    except TimeoutError:
        if not patience.expired():  # it is the work's own
            raise
        raise CallerGoneError("the caller left before the answer") from None
