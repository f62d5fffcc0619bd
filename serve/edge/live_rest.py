"""What happens now, over REST: the newest points of a live view, and how the engines stand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from serve.core.live import ArmPoint, EngineState, ModelPoint, Point, Quantiles
from serve.edge import openapi_live
from serve.edge.rest_routes import Route
from serve.live import EVERY_S, KEPT_POINTS, Live

# More are written by a thread: of a hundred models, a point takes half a millisecond.
_AT_ONCE = 5
_DIGITS = 3

Since = Annotated[int, Query(ge=0, description="Only points with a higher number than this.")]
Most = Annotated[int, Query(alias="limit", ge=1, le=KEPT_POINTS, description="Most points, the newest.")]


class LiveRest:
    """The function of the route; `/docs` shows its first line."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def routes(self) -> tuple[Route, ...]:
        """The only one."""
        return (Route("GET", ("/v1/live",), self.watch_live, body=openapi_live.LIVE),)

    async def watch_live(self, since: Since = 0, most: Most = KEPT_POINTS) -> Response:
        """What this gateway process did in the last half hour, every two seconds, and its engines now."""
        points = self._live.since(since, most)
        if len(points) <= _AT_ONCE:
            return self._answer(points)
        return await asyncio.to_thread(self._answer, points)

    def _answer(self, points: tuple[Point, ...]) -> Response:
        # Each point for itself: while one value is written, no other thread runs, nor do requests.
        written = ",".join([_json(_point(point)) for point in points])
        others = _json(
            {
                "now": self._live.now(),
                "every_s": EVERY_S,
                "process": {"index": self._live.place.index, "of": self._live.place.of},
                "engines": [_engine(engine) for engine in self._live.engines()],
            }
        )
        return Response(f'{{"points":[{written}],{others[1:]}', media_type="application/json")


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _point(point: Point) -> Mapping[str, Any]:
    return {
        "n": point.number,
        "at": round(point.at, _DIGITS),
        "models": {name: _model(model) for name, model in point.models.items()},
        "arms": {
            experiment: {name: _arm(arm) for name, arm in arms.items()}
            for experiment, arms in point.arms.items()
        },
    }


def _model(model: ModelPoint) -> Mapping[str, Any]:
    return {
        "requests_s": round(model.requests_s, _DIGITS),
        "images_s": round(model.images_s, _DIGITS),
        "errors_s": round(model.errors_s, _DIGITS),
        **_quantiles(model.latency),
        "batch_images": _rounded(model.batch_images),
        "queue_images": model.queue_images,
        "inflight": model.inflight,
    }


def _arm(arm: ArmPoint) -> Mapping[str, Any]:
    return {
        "requests_s": round(arm.requests_s, _DIGITS),
        "errors_s": round(arm.errors_s, _DIGITS),
        **_quantiles(arm.latency),
    }


def _quantiles(latency: Quantiles) -> Mapping[str, float | None]:
    return {
        "p50_ms": _rounded(latency.p50_ms),
        "p95_ms": _rounded(latency.p95_ms),
        "p99_ms": _rounded(latency.p99_ms),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _engine(engine: EngineState) -> Mapping[str, Any]:
    return {
        "name": engine.name,
        "ejected": engine.ejected,
        "restarts": engine.restarts,
        "retries": engine.retries,
        "models": dict(engine.models),
    }
