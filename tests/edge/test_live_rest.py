"""The live view's answer over REST."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry

from serve.core.access import Access, Role, Token
from serve.core.live import Place
from serve.core.messages import ModelRef
from serve.edge import live_rest
from serve.edge.limits import EdgeLimits
from serve.edge.page_parts import PageParts
from serve.edge.rest_api import build_rest_app
from serve.experiment_metrics import ExperimentMetrics
from serve.live import EVERY_S, KEPT_POINTS, Clocks, Live
from serve.metrics import Metrics
from tests.edge.doors import as_service
from tests.edge.fakes import FakeService

REF = ModelRef(name='<b onclick="x()">digits</b>', version="1")
SECRET = "s" * 43
HEADERS = {"Authorization": f"Bearer {SECRET}"}
TOKEN = Token(name="anna", role=Role.INFER, sha256=hashlib.sha256(SECRET.encode()).hexdigest())
AT = 1_700_000_000.0


class Watched:
    """A live view of one model and one arm, whose time a test moves."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.metrics, self.experiments = Metrics(registry), ExperimentMetrics(registry)
        self.metrics.start_model(REF)
        self.metrics.model_ready.labels(REF.name, REF.version).set(1)
        self.metrics.start_engine("local")
        self.passed = 0.0
        clocks = Clocks(monotonic=lambda: self.passed, now=lambda: AT + self.passed)
        self.live = Live(self.metrics, self.experiments, Place(index=2, of=3), clocks)

    def look(self, looks: int = 1) -> None:
        """Answer a request at each."""
        for _ in range(looks):
            self.metrics.requests.labels(REF.name, REF.version, "http", "ok").inc()
            self.metrics.request_duration.labels(REF.name, REF.version, "http").observe(0.004)
            self.experiments.duration.labels("trial", "se").observe(0.004)
            self.passed += EVERY_S
            self.live.look()


@pytest.fixture
def watched() -> Watched:
    """Give what the client of the same test asks about."""
    return Watched()


@pytest.fixture
async def client(watched: Watched) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a door that asks for tokens; it sends none by itself."""
    parts = PageParts(live=watched.live)
    app = build_rest_app(as_service(FakeService()), Access(tokens=(TOKEN,)), EdgeLimits(), None, None, parts)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as opened:
        yield opened


async def ask(client: httpx.AsyncClient, **query: int) -> dict[str, Any]:
    """Ask, and take the document."""
    answer = await client.get("/v1/live", params=query, headers=HEADERS)
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


async def test_the_newest_points_are_told(watched: Watched, client: httpx.AsyncClient) -> None:
    """With which process they are of, and its engines; what nobody measured is null."""
    watched.look()
    document = await ask(client)
    assert document["process"] == {"index": 2, "of": 3}
    assert (document["now"], document["every_s"]) == (AT + EVERY_S, EVERY_S)
    (point,) = document["points"]
    assert point["at"] == AT + EVERY_S
    model = point["models"][REF.name]
    assert (model["requests_s"], model["p50_ms"], model["batch_images"]) == (0.5, 4.0, None)
    assert point["arms"]["trial"]["se"]["p99_ms"] == 4.98
    assert document["engines"] == [
        {"name": "local", "ejected": True, "restarts": 0, "retries": 0, "models": {}}
    ]


async def test_a_view_that_stays_open_is_told_what_is_new(
    watched: Watched, client: httpx.AsyncClient
) -> None:
    """And no more; nothing is an answer, too."""
    watched.look(3)
    first = await ask(client)
    newest = first["points"][-1]["n"]
    assert (await ask(client, since=newest))["points"] == []
    watched.look()
    assert [point["n"] > newest for point in (await ask(client, since=newest))["points"]] == [True]
    assert (await ask(client, limit=2))["points"] == (await ask(client))["points"][-2:]


async def test_half_an_hour_is_told_at_once(watched: Watched, client: httpx.AsyncClient) -> None:
    """However long that is, in order."""
    watched.look(KEPT_POINTS)
    points = (await ask(client))["points"]
    assert len(points) == KEPT_POINTS
    assert [point["n"] for point in points] == sorted({point["n"] for point in points})


async def test_half_an_hour_is_written_in_pieces(
    watched: Watched, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred models it is 15 MB: written as one value, no request would be answered for 0.2 s."""
    sizes: list[int] = []

    def noting(value: object, **how: Any) -> str:  # noqa: ANN401  passed on
        text = json.dumps(value, **how)
        sizes.append(len(text))
        return text

    monkeypatch.setattr(live_rest, "json", SimpleNamespace(dumps=noting))
    watched.look(KEPT_POINTS)
    await ask(client, limit=1)
    largest = max(sizes)
    await ask(client)
    assert max(sizes) <= 2 * largest
    assert sum(sizes) > KEPT_POINTS * largest / 2


async def test_it_is_what_the_description_says(watched: Watched, client: httpx.AsyncClient) -> None:
    """The answer fits the schema that /docs shows, and has nothing beside."""
    watched.look(2)
    description = (await client.get("/openapi.json")).json()
    told = description["paths"]["/v1/live"]["get"]
    schema = _closed(told["responses"]["200"]["content"]["application/json"]["schema"])
    Draft202012Validator(schema).validate(await ask(client))
    assert {parameter["name"] for parameter in told["parameters"]} == {"since", "limit"}


@pytest.mark.parametrize("query", ["since=-1", "since=x", "limit=0", "limit=901"])
async def test_what_cannot_be_asked_is_refused(client: httpx.AsyncClient, query: str) -> None:
    """With the parameter's name."""
    answer = await client.get(f"/v1/live?{query}", headers=HEADERS)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"query.{query.partition('=')[0]}:")


async def test_it_needs_a_token(client: httpx.AsyncClient) -> None:
    """Names of models and experiments are not for everybody."""
    assert (await client.get("/v1/live")).status_code == 401


def _closed(schema: Any) -> Any:  # noqa: ANN401  any JSON
    """The same in the words of JSON Schema, and with no keys beside those that are named."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable"):
        found["type"] = [schema["type"], "null"]
    if schema.get("type") == "object" and "properties" in schema:
        found["additionalProperties"] = False
    return found
