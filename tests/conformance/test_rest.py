"""Section "REST": every route with its verbs, and what its answer holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conformance.gateway import LOADING, MODEL, PLAIN, Gateway
from tests.conformance.wire import HEADER, json_image

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REPOSITORY = f"/v2/repository/models/{MODEL}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path of the protocol, the verb that it takes, and what must be in the answer.

    Attributes:
        holds: A value by its key in the answer's JSON object; a type where any value of it will do.
    """

    path: str
    verb: str = "GET"
    code: int = 200
    holds: Mapping[str, object] = field(default_factory=dict)


ROUTES = (
    *(
        Route(path=path, holds={"name": "attnserve", "version": str, "extensions": list})
        for path in ("/v2", "/v2/")
    ),
    Route(path="/v2/health/live", holds={"live": True}),
    Route(path="/v2/health/ready", holds={"ready": True}),
    *(
        Route(path=f"/v2/models/{MODEL}{version}{last}", holds=holds)
        for version in ("", "/versions/1")
        for last, holds in (
            ("/ready", {"name": MODEL, "ready": True}),
            (
                "",
                {
                    "name": MODEL,
                    "versions": ["1", "2"],
                    "platform": "pytorch_torchscript",
                    "inputs": list,
                    "outputs": list,
                },
            ),
            ("/config", {"name": MODEL, "max_batch_size": 16, "input": list, "output": list}),
            ("/stats", {"model_stats": list}),
        )
    ),
    Route(path="/v2/models/stats", holds={"model_stats": list}),
    *(
        Route(path=f"/v2/models/{MODEL}{version}/infer", verb="POST", holds={"model_name": MODEL})
        for version in ("", "/versions/1")
    ),
    Route(path="/v2/repository/index", verb="POST"),
    Route(path=f"{REPOSITORY}/load", verb="POST"),
    Route(path=f"{REPOSITORY}/unload", verb="POST"),
)


@pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.verb} {row.path}")
async def test_the_routes_verb_answers(shared: Gateway, row: Route) -> None:
    """Exactly 200, in JSON, with what the protocol says."""
    content = json_image().content if row.path.endswith("/infer") else None
    answer = await shared.rest.request(row.verb, row.path, content=content)
    assert answer.status_code == row.code
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    for key, expected in row.holds.items():
        assert isinstance(found[key], expected) if isinstance(expected, type) else found[key] == expected


@pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.verb} {row.path}")
async def test_other_verbs_are_405_and_told_which_would_do(shared: Gateway, row: Route) -> None:
    """A wrong verb on a known path is 405 with Allow; HEAD goes wherever GET does."""
    allowed = {"GET", "HEAD"} if row.verb == "GET" else {row.verb}
    for verb in set(VERBS) - allowed:
        answer = await shared.rest.request(verb, row.path)
        assert answer.status_code == 405, verb
        assert set(answer.headers["allow"].split(", ")) == allowed
        assert verb == "HEAD" or answer.json() == {"error": "Method Not Allowed"}


GETS = [row.path for row in ROUTES if row.verb == "GET"] + [
    "/",
    "/docs",
    "/openapi.json",
    "/v2/models/nobody",
]


@pytest.mark.parametrize("path", GETS)
async def test_head_is_get_without_the_body(shared: Gateway, path: str) -> None:
    """The same status and headers, also of an error, and not one byte of a body."""
    get, head = await shared.rest.get(path), await shared.rest.head(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert get.content != b""
    for answer in (get, head):
        del answer.headers["date"]
    assert head.headers == get.headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A request that is refused, and how; `text` is a regular expression."""

    rule: str
    path: str
    code: int
    text: str
    verb: str = "GET"
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


UNKNOWN = (
    Wrong(rule="an unknown path", path="/v2/nothing", code=404, text="Not Found"),
    Wrong(rule="a path with a slash behind", path=f"/v2/models/{MODEL}/", code=404, text="Not Found"),
    Wrong(rule="no model at all", path="/v2/models", code=404, text="Not Found"),
    Wrong(rule="a name with a slash in it", path="/v2/models/a%2Fb/ready", code=404, text="Not Found"),
    Wrong(rule="an unknown model", path="/v2/models/nobody", code=404, text="model 'nobody' is not found"),
    Wrong(rule="an encoded name", path="/v2/models/a%20b%C3%A4", code=404, text="model 'a bä' is not found"),
    *(
        Wrong(
            rule=f"version {version!r} is any string, and not known",
            path=f"/v2/models/{MODEL}/versions/{version}/{last}",
            code=404,
            text=f"model '{MODEL}' has no version '{version}'; known: 1, 2",
        )
        for version in ("v10", "3", "01", "-1", "1.0")
        for last in ("ready", "config", "stats")
    ),
    Wrong(
        rule="a model that loads is not ready",
        path=f"/v2/models/{LOADING}",
        code=503,
        text=f"model '{LOADING}' version 1 is not ready, it is loading",
    ),
    *(
        Wrong(rule=f"no JSON: {content!r}", path=path, code=400, text=text, verb="POST", content=content)
        for path in (f"/v2/models/{MODEL}/infer", "/v2/repository/index", f"{REPOSITORY}/load")
        for content, text in (
            (b"{", "body: not JSON, .*"),
            (b"[]", "body: must be a JSON object, is a list"),
            (b"\xff", "body: not UTF-8 at byte 0"),
            (b'{"a":1,"a":2}', "body: key 'a' is given twice"),
            (b'{"a":NaN}', "body: JSON has no NaN"),
        )
    ),
    *(
        Wrong(
            rule=f"{HEADER} is {value!r}",
            path=f"/v2/models/{MODEL}/infer",
            code=400,
            text=f"{HEADER}: is '{re.escape(value)}', must be an integer from 0 to 2, the size of the body",
            verb="POST",
            content=b"{}",
            headers={HEADER: value},
        )
        for value in ("x", "-1", "3", "1.0", "+1", "1_0")
    ),
    Wrong(
        rule="an unknown Content-Encoding",
        path=f"/v2/models/{MODEL}/infer",
        code=501,
        text="Content-Encoding is 'br', must be gzip, deflate or identity",
        verb="POST",
        content=b"x",
        headers={"Content-Encoding": "br"},
    ),
    Wrong(
        rule="a body that is not what its Content-Encoding says",
        path=f"/v2/models/{MODEL}/infer",
        code=400,
        text="body: is not gzip, as Content-Encoding says",
        verb="POST",
        content=b"nonsense",
        headers={"Content-Encoding": "gzip"},
    ),
)


@pytest.mark.parametrize("row", UNKNOWN, ids=lambda row: f"{row.rule} {row.path}")
async def test_an_error_is_json_with_one_key(shared: Gateway, row: Wrong) -> None:
    """Always the same shape: a status other than 200 and {"error": text}, also for what no route knows."""
    answer = await shared.rest.request(row.verb, row.path, content=row.content, headers=row.headers)
    assert answer.status_code == row.code
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    assert found.keys() == {"error"}
    assert re.fullmatch(row.text, found["error"])


async def test_unknown_query_parameters_are_ignored(shared: Gateway) -> None:
    """A query that no route knows changes nothing."""
    assert (await shared.rest.get("/v2/health/ready?timeout=x&verbose")).status_code == 200
    answer = await shared.rest.post(f"/v2/models/{MODEL}/infer?a=b", content=json_image().content)
    assert answer.status_code == 200


async def test_a_version_in_the_path_answers(shared: Gateway) -> None:
    """The version asked for serves, and is named."""
    path = f"/v2/models/{MODEL}/versions/1/infer"
    assert (await shared.rest.post(path, content=json_image().content)).json()["model_version"] == "1"


async def test_not_ready_is_503_and_says_so(shared: Gateway) -> None:
    """A model that loads is known and not ready; readiness of one does not touch another."""
    answer = await shared.rest.get(f"/v2/models/{LOADING}/ready")
    assert (answer.status_code, answer.json()) == (503, {"name": LOADING, "ready": False})
    assert (await shared.rest.get(f"/v2/models/{PLAIN}/ready")).status_code == 200


async def test_the_index_is_a_list(shared: Gateway) -> None:
    """One object a version; with ready true only those that can answer; an empty body asks for all."""
    everything = (await shared.rest.post("/v2/repository/index")).json()
    assert [(entry["name"], entry["version"], entry["state"]) for entry in everything] == [
        (LOADING, "1", "LOADING"),
        (PLAIN, "1", "READY"),
        (MODEL, "1", "READY"),
        (MODEL, "2", "READY"),
    ]
    assert all(entry.keys() == {"name", "version", "state", "reason"} for entry in everything)
    ready = (await shared.rest.post("/v2/repository/index", json={"ready": True})).json()
    assert ready == everything[1:]
    assert (await shared.rest.post("/v2/repository/index", json={"ready": False})).json() == everything


async def test_load_and_unload_take_their_parameters(shared: Gateway) -> None:
    """unload_dependents is known; configuration and files of the caller's own are refused as unsupported."""
    unload = {"parameters": {"unload_dependents": True}}
    assert (await shared.rest.post(f"{REPOSITORY}/unload", json=unload)).status_code == 200
    for parameter in ("config", "file:1/model.pt"):
        answer = await shared.rest.post(f"{REPOSITORY}/load", json={"parameters": {parameter: "x"}})
        assert (answer.status_code, parameter in answer.json()["error"]) == (501, True)
