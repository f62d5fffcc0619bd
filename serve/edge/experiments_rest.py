"""Experiments over REST: a body or a query in, the desk asked, a document or a table out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, aclosing
from types import MappingProxyType
from typing import Annotated, Literal

from fastapi import Path, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from serve.audit import Act
from serve.core.access import Role
from serve.core.errors import NotFoundError
from serve.core.experiment import Experiment
from serve.edge import experiments_bodies as bodies
from serve.edge import experiments_csv as tables
from serve.edge import experiments_json as codec
from serve.edge import openapi_experiments as shown
from serve.edge.desk import Desk, opened
from serve.edge.experiments_parquet import check_available, parquet_chunks
from serve.edge.limits import EdgeLimits
from serve.edge.refusals import denials
from serve.edge.rest_body import read_body
from serve.edge.rest_routes import Route, call_of
from serve.service import Service

ALL = "/v1/experiments"
ONE = f"{ALL}/{{name}}"
ALIAS = "/v1/aliases/{name}"

Format = Annotated[Literal["json", "html"] | None, Query(alias="format", description="Default: by Accept.")]
UnitsPerDay = Annotated[
    float | None, Query(gt=0, allow_inf_nan=False, description="Without it, no days are told.")
]
Verdicts = Annotated[bool, Query(description="Tell of each its verdict and the sentence, where known.")]
Prediction = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Item = Annotated[int, Path(ge=0)]
Most = Annotated[int, Query(alias="limit", ge=1, le=10_000)]

# What a page or a file from here may do: be looked at, and nothing else.
_PAGE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}
_MEDIA_TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
_TAKES: Mapping[str, tuple[str, ...]] = {"ramp": ("ramp",), "promote": ("arm",)}
_DOES: Mapping[str, str] = {
    "start": "Begin to assign units.",
    "ramp": "Enrol another share of the slots.",
    "pause": "Answer everybody from the control, for now.",
    "resume": "Go on after a pause.",
    "promote": "End it: an arm answers everybody.",
    "rollback": "End it: the control answers everybody, at once.",
    "stop": "End it without a winner: the control answers everybody.",
}


class ExperimentsRest:
    """The functions of the routes; `/docs` shows their first lines."""

    def __init__(self, service: Service, limits: EdgeLimits, desk: Desk | None) -> None:
        self._service = service
        self._limits = limits
        self._desk = desk

    def routes(self) -> tuple[Route, ...]:
        """All routes of experiments and aliases."""
        operate = Role.OPERATE
        return (
            Route("POST", (ALL,), self.create_experiment, operate, shown.CREATE),
            Route("GET", (ALL,), self.list_experiments, body=shown.LIST),
            Route("POST", (f"{ALL}:plan",), self.plan_experiment, operate, shown.PLAN),
            *(self._transition(act) for act in _DOES),
            Route("POST", (f"{ONE}:{{act}}",), self.unknown_act, operate, shown=False),
            Route("GET", (ONE,), self.get_experiment, body=shown.EXPERIMENT),
            Route("PATCH", (ONE,), self.patch_experiment, operate, shown.PATCH),
            Route("GET", (f"{ONE}/report",), self.get_report, body=shown.REPORT),
            Route("GET", (f"{ONE}/audit",), self.get_audit, body=shown.AUDIT),
            Route("GET", (f"{ONE}/assign",), self.assign_unit, body=shown.ASSIGN),
            Route("POST", (f"{ONE}/outcomes",), self.record_outcomes, body=shown.OUTCOMES),
            Route("POST", (f"{ONE}/labels",), self.import_labels, operate, shown.LABELS),
            Route("GET", (f"{ONE}/pairs.csv",), self.get_pairs_csv, operate, shown.CSV),
            Route("GET", (f"{ONE}/pairs.parquet",), self.get_pairs_parquet, operate, shown.PARQUET),
            Route("GET", (f"{ONE}/disagreements",), self.get_disagreements, operate, shown.DISAGREEMENTS),
            Route("GET", (f"{ONE}/disagreements.csv",), self.get_disagreements_csv, operate, shown.CSV),
            Route("GET", (f"{ONE}/images/{{prediction}}/{{item}}",), self.get_image, operate, shown.IMAGE),
            Route("GET", ("/v1/aliases",), self.list_aliases, body=shown.ALIASES),
            Route("PUT", (ALIAS,), self.put_alias, operate, shown.PUT_ALIAS),
        )

    async def create_experiment(
        self, request: Request, *, dry_run: bool = False, units_per_day: UnitsPerDay = None
    ) -> JSONResponse:
        """Make a draft; with `dry_run` only say what it would need."""
        if dry_run:
            return await self.plan_experiment(request, units_per_day)
        with self._denials("create_experiment", "", request):
            design, reason = bodies.decode_new_design(await read_body(request, self._limits))
        made = await opened(self._desk).create(design, reason, call_of(request))
        return _experiment(made, 201, {"Location": f"{ALL}/{made.name}"})

    async def plan_experiment(self, request: Request, units_per_day: UnitsPerDay = None) -> JSONResponse:
        """Say what a design would need: units, days, the difference that it can show."""
        design = bodies.decode_plan(await read_body(request, self._limits))
        plan = await opened(self._desk).plan(design, units_per_day)
        return JSONResponse(codec.plain(plan))

    async def list_experiments(self, *, verdicts: Verdicts = False) -> JSONResponse:
        """Every experiment in its newest version; with `verdicts` what is known of each."""
        desk = opened(self._desk)
        headlines = await desk.headlines() if verdicts else None
        # In a thread: a thousand would hold up other callers.
        found = await asyncio.to_thread(codec.encode_list, desk.list(), headlines)
        return JSONResponse({"experiments": found})

    async def get_experiment(self, name: str) -> JSONResponse:
        """An experiment in its newest version, which ETag names."""
        return _experiment(opened(self._desk).get(name))

    async def patch_experiment(self, request: Request, name: str) -> JSONResponse:
        """Change what the body names, and nothing else."""
        with self._denials("patch_experiment", name, request):
            changes, reason = bodies.decode_design(await read_body(request, self._limits))
            if_match = bodies.decode_if_match(request.headers.get("if-match"))
        desk = opened(self._desk)
        return _experiment(await desk.patch(name, changes, reason, if_match, call_of(request)))

    async def unknown_act(self, name: str, act: str) -> JSONResponse:
        """Say which acts there are."""
        raise NotFoundError(f"{name}:{act}: there is no such act; known: {', '.join(_DOES)}")

    async def get_report(self, request: Request, name: str, form: Format = None) -> Response:
        """The verdict, and every figure behind it, with its definition."""
        desk = opened(self._desk)
        if form == "html" or (form is None and _prefers_html(request)):
            return Response(await desk.report_html(name), headers=_PAGE, media_type="text/html")
        # In a thread: with a thousand classes and weeks of looks it takes a tenth of a second.
        report = await asyncio.to_thread(codec.encode_report, await desk.report(name))
        return JSONResponse(report, headers={"Vary": "Accept"})

    async def get_audit(self, name: str) -> JSONResponse:
        """Every version that there was, oldest first: who changed it, when, and why."""
        versions = await opened(self._desk).audit(name)
        return JSONResponse({"name": name, "versions": [codec.encode_version(one) for one in versions]})

    async def assign_unit(self, name: str, unit: str) -> JSONResponse:
        """What a unit would get, and why; it is not counted as having got it."""
        desk = opened(self._desk)
        arms = desk.get(name).design.arms
        return JSONResponse(codec.encode_explanation(desk.assign(name, unit), arms))

    async def record_outcomes(self, request: Request, name: str) -> JSONResponse:
        """Tell true labels, by the feedback tokens of replies; what is accepted is durable."""
        items = bodies.decode_outcomes(await read_body(request, self._limits))
        answers = await opened(self._desk).outcomes(name, items, call_of(request))
        return JSONResponse({"outcomes": codec.encode_receipts(answers)})

    async def import_labels(self, request: Request, name: str) -> JSONResponse:
        """Tell true labels, by predictions: as JSON, or as a table like that of the disagreements."""
        with self._denials("import_labels", name, request):
            body = await read_body(request, self._limits)
            rows = tables.decode_labels(body) if _is_csv(request) else bodies.decode_labels(body)
        answers = await opened(self._desk).labels(name, rows, call_of(request))
        told = codec.encode_receipts(answers)
        rows_told = zip(rows, told, strict=True)
        return JSONResponse(
            {"labels": [{"prediction": row.prediction, "item": row.item, **one} for row, one in rows_told]}
        )

    async def get_pairs_csv(self, name: str) -> Response:
        """Every image that was answered, raw, as CSV."""
        desk = opened(self._desk)
        arms = desk.get(name).design.arms
        rows = await desk.pairs(name)
        chunks = tables.csv_chunks(tables.pair_columns(arms), rows, tables.pair_cells)
        return await _download(chunks, f"{name}-pairs.csv")

    async def get_pairs_parquet(self, name: str) -> Response:
        """Every image that was answered, raw, as Parquet."""
        desk = opened(self._desk)
        check_available()
        chunks = parquet_chunks(desk.get(name).design.arms, await desk.pairs(name))
        return await _download(chunks, f"{name}-pairs.parquet")

    async def get_disagreements(
        self, name: str, *, unlabelled: bool = False, most: Most = 1000
    ) -> JSONResponse:
        """Images on which the arms disagree; only their labels can change the comparison."""
        desk = opened(self._desk)
        arms = desk.get(name).design.arms
        rows = []
        async with aclosing(await desk.disagreements(name, unlabelled)) as found:
            async for row in found:
                rows.append(codec.encode_disagreement(row, arms))
                if len(rows) == most:
                    break
        return JSONResponse({"disagreements": rows})

    async def get_disagreements_csv(self, name: str, *, unlabelled: bool = False) -> Response:
        """The same as a table; with its column `label` filled in it may come back as labels."""
        desk = opened(self._desk)
        arms = desk.get(name).design.arms
        rows = await desk.disagreements(name, unlabelled)
        chunks = tables.csv_chunks(tables.disagreement_columns(arms), rows, tables.disagreement_cells)
        return await _download(chunks, f"{name}-disagreements.csv")

    async def get_image(self, name: str, prediction: Prediction, item: Item) -> Response:
        """A kept image, byte for byte as it was sent, for saving and not for showing."""
        image = await opened(self._desk).image(name, prediction, item)
        return Response(
            image, headers=_attached(f"{prediction}-{item}"), media_type="application/octet-stream"
        )

    async def list_aliases(self) -> JSONResponse:
        """Every alias, and where it points."""
        found = opened(self._desk).aliases()
        return JSONResponse({"aliases": [codec.encode_alias(alias) for alias in found]})

    async def put_alias(self, request: Request, name: str) -> JSONResponse:
        """Make an alias, or point it elsewhere: to a model, to "model:version", or to an experiment."""
        with self._denials("put_alias", name, request):
            target, reason = bodies.decode_alias(await read_body(request, self._limits))
            if_match = bodies.decode_if_match(request.headers.get("if-match"))
        alias = await opened(self._desk).put_alias(name, target, reason, if_match, call_of(request))
        return JSONResponse(codec.encode_alias(alias), headers={"ETag": f'"{alias.number}"'})

    def _transition(self, act: str) -> Route:
        async def answer(request: Request, name: str) -> JSONResponse:
            with self._denials(answer.__name__, name, request):
                body = await read_body(request, self._limits)
                asked = bodies.decode_act(body, request.headers.get("if-match"), _TAKES.get(act, ()))
            return _experiment(await opened(self._desk).act(name, act, asked, call_of(request)))

        answer.__name__, answer.__doc__ = f"{act}_experiment", _DOES[act]
        return Route("POST", (f"{ONE}:{act}",), answer, Role.OPERATE, shown.transition(act))

    def _denials(self, act: str, target: str, request: Request) -> AbstractContextManager[None]:
        done = Act(name=act, target=target, protocol="http", principal=request.state.principal)
        return denials(self._service, done)


def _experiment(
    experiment: Experiment, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})
) -> JSONResponse:
    named = {"ETag": f'"{experiment.number}"', **headers}
    return JSONResponse(codec.encode_experiment(experiment), status, named)


async def _download(chunks: AsyncGenerator[bytes, None], name: str) -> Response:
    """Send a file as it is made; what goes wrong before its first piece can still be said."""
    first = await anext(chunks)

    async def all_chunks() -> AsyncGenerator[bytes, None]:
        async with aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk

    return StreamingResponse(
        all_chunks(), headers=_attached(name), media_type=_MEDIA_TYPES[name.rsplit(".", 1)[-1]]
    )


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}


def _is_csv(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/csv"


def _prefers_html(request: Request) -> bool:
    accepted = [
        part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")
    ]
    liked = [kind for kind in accepted if kind in ("text/html", "application/json")]
    return liked[:1] == ["text/html"]
