"""The REST door: routes, answers and the shape of errors."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Mapping

import httpx
import numpy as np
import pytest

from serve.core.access import Access, Role, Token
from serve.core.catalog import ModelState
from serve.edge.limits import EdgeLimits
from serve.edge.rest_api import build_rest_app
from tests.edge.doors import as_service, http_door, status_of_post
from tests.edge.fakes import FakeService

INFER = "/v2/models/digits/infer"
REQUEST = {"id": "7", "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["png"]}]}


async def test_json_is_answered_in_json(rest: httpx.AsyncClient, fake: FakeService) -> None:
    """A JSON request gets all of the answer in JSON, and says who served."""
    answer = await rest.post(INFER, json=REQUEST)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in answer.headers
    assert answer.json() == {
        "model_name": "digits",
        "model_version": "3",
        "id": "7",
        "parameters": {"untrained": False, "count": 1},
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]},
            {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["sieben"]},
        ],
    }
    assert (fake.requests[0].version, fake.calls[0].protocol) == ("", "http")


async def test_the_path_names_model_and_version(rest: httpx.AsyncClient, fake: FakeService) -> None:
    """The version is the path's, and the names in it are decoded."""
    await rest.post("/v2/models/digits/versions/v10/infer", json=REQUEST)
    await rest.post("/v2/models/a%20b/infer", json=REQUEST)
    assert [(r.model, r.version) for r in fake.requests] == [("digits", "v10"), ("a b", "")]


async def test_a_plain_upload_of_an_image(rest: httpx.AsyncClient, fake: FakeService) -> None:
    """A header length of 0 takes the body as an image; the answer is binary unless JSON is asked for."""
    headers = {"Inference-Header-Content-Length": "0"}
    answer = await rest.post(INFER, content=b"\xff\xd8", headers=headers)
    size = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.content[:size])["outputs"]
    assert answer.headers["content-type"] == "application/octet-stream"
    assert [output["parameters"]["binary_data_size"] for output in outputs] == [8, 10]
    assert np.frombuffer(answer.content[size : size + 8], "<f4").tolist() == [0.25, 0.75]
    assert answer.content[size + 8 :] == b"\x06\x00\x00\x00sieben"
    asked = {**headers, "Accept": "text/html;q=0.5, Application/JSON;q=0.9"}
    plain = await rest.post(INFER, content=b"\xff\xd8", headers=asked)
    assert plain.json()["outputs"][1]["data"] == ["sieben"]
    assert [request.inputs[0].data for request in fake.requests] == [(b"\xff\xd8",)] * 2


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body(rest: httpx.AsyncClient, encoding: str, compress: object) -> None:
    """Content-Encoding is undone before anything looks at the body."""
    assert callable(compress)
    body = compress(json.dumps(REQUEST).encode())
    answer = await rest.post(INFER, content=body, headers={"Content-Encoding": encoding})
    assert answer.status_code == 200


async def test_a_long_answer_is_compressed_when_asked(rest: httpx.AsyncClient) -> None:
    """Accept-Encoding: gzip makes a long answer short, and a short one stays as it is."""
    many = [{"name": "image", "shape": [500], "datatype": "BYTES", "data": ["png"] * 500}]
    long = await rest.post(INFER, json={"inputs": many}, headers={"Accept-Encoding": "gzip"})
    short = await rest.post(INFER, json=REQUEST, headers={"Accept-Encoding": "gzip"})
    assert long.headers["content-encoding"] == "gzip"
    assert len(long.json()["outputs"][1]["data"]) == 500
    assert "content-encoding" not in short.headers


@pytest.mark.parametrize(
    ("model", "status", "message"),
    [
        ("nobody", 404, r"model 'nobody' is not found"),
        ("overloaded", 429, r"the queue is full"),
        ("late", 504, r"the time ran out"),
        ("loading", 503, r"model 'loading' is not ready"),
        ("broken", 500, r"internal error, request id [0-9a-f]{16}"),
    ],
)
async def test_a_failure_has_its_number_and_text(
    rest: httpx.AsyncClient, model: str, status: int, message: str
) -> None:
    """What the service raises arrives as the table says, in the one shape, and a bug's text does not."""
    answer = await rest.post(f"/v2/models/{model}/infer", json=REQUEST)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    assert re.fullmatch(message, answer.json()["error"])


async def test_whoever_is_shed_is_told_when_to_come_back(rest: httpx.AsyncClient) -> None:
    """An overload says how many seconds to wait."""
    answer = await rest.post("/v2/models/overloaded/infer", json=REQUEST)
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("verb", "path", "status", "error"),
    [
        ("GET", "/v2/nothing", 404, "Not Found"),
        ("GET", "/v2/models/", 404, "Not Found"),
        ("GET", INFER, 405, "Method Not Allowed"),
        ("POST", "/v2/models/digits/ready", 405, "Method Not Allowed"),
        ("GET", "/page/nothing.js", 404, "Not Found"),
    ],
)
async def test_wrong_paths_and_verbs(
    rest: httpx.AsyncClient, verb: str, path: str, status: int, error: str
) -> None:
    """What the framework refuses has the protocol's shape, too."""
    answer = await rest.request(verb, path)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


async def test_a_parameter_that_does_not_fit_is_400() -> None:
    """The framework's own validation answers 400 in the one shape, never 422."""
    app = build_rest_app(as_service(FakeService()), Access(), EdgeLimits())

    async def endpoint(limit: int) -> int:
        return limit

    app.add_api_route("/limited", endpoint)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.get("/limited", params={"limit": "many"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("query.limit: Input should be a valid integer")


async def test_liveness_and_readiness(rest: httpx.AsyncClient, fake: FakeService) -> None:
    """The status says it, the body repeats it."""
    paths = ("/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready", "/v2/health/any-model")
    answers = [await rest.get(path) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200]
    fake.is_ready = False
    fake.models = {"digits": ModelState.LOADING, "other": ModelState.READY}
    answers = [await rest.get(path) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert [answer.json() for answer in answers] == [
        {"live": True},
        {"ready": False},
        {"name": "digits", "ready": False},
        {"ready": True},
    ]
    fake.models["other"] = ModelState.LOADING
    assert (await rest.get("/v2/health/any-model")).status_code == 503
    assert (await rest.get("/v2/models/nobody/ready")).status_code == 404


async def test_server_metadata_with_and_without_a_slash(rest: httpx.AsyncClient) -> None:
    """Both spellings of the root are served."""
    expected = {"name": "fake", "version": "1.2.3", "extensions": ["statistics", "binary_tensor_data"]}
    assert [(await rest.get(path)).json() for path in ("/v2", "/v2/")] == [expected, expected]


async def test_model_metadata_and_configuration(rest: httpx.AsyncClient) -> None:
    """Metadata has the batch dimension, the configuration has not."""
    metadata = (await rest.get("/v2/models/digits")).json()
    assert metadata["versions"] == ["1", "3"]
    assert metadata["platform"] == "pytorch_torchscript"
    assert metadata["inputs"][0] == {"name": "image", "datatype": "BYTES", "shape": [-1, 1]}
    assert metadata["properties"] == {"layout": "none"}
    config = (await rest.get("/v2/models/digits/versions/3/config")).json()
    assert config == {
        "name": "digits",
        "platform": "pytorch_torchscript",
        "backend": "torchserve",
        "max_batch_size": 8,
        "input": [
            {"name": "image", "data_type": "TYPE_STRING", "dims": [1], "optional": False},
            {"name": "input", "data_type": "TYPE_FP32", "dims": [3, 2, 2], "optional": True},
        ],
        "output": [
            {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [2]},
            {"name": "label", "data_type": "TYPE_STRING", "dims": []},
        ],
        "dynamic_batching": {"preferred_batch_size": [4, 8], "max_queue_delay_microseconds": 500},
        "parameters": {"recipe": {"string_value": "portable"}},
    }


@pytest.mark.parametrize(
    "path", ["/v2/models/stats", "/v2/models/digits/stats", "/v2/models/digits/versions/3/stats"]
)
async def test_statistics(rest: httpx.AsyncClient, path: str) -> None:
    """What a version has done is told with counts and nanoseconds."""
    (usage,) = (await rest.get(path)).json()["model_stats"]
    assert (usage["name"], usage["version"], usage["inference_count"]) == ("digits", "3", 8)
    assert usage["inference_stats"]["success"] == {"count": 3, "ns": 9_000}
    assert usage["inference_stats"]["cache_hit"] == {"count": 0, "ns": 0}
    assert usage["batch_stats"][0]["compute_infer"] == {"count": 2, "ns": 7_000}


async def test_the_repository(rest: httpx.AsyncClient) -> None:
    """Models come, go and are listed; a refused parameter and a wrong state have their own numbers."""
    assert (await rest.post("/v2/repository/models/new/load")).status_code == 200
    body = {"parameters": {"unload_dependents": True}}
    assert (await rest.post("/v2/repository/models/new/unload", json=body)).status_code == 200
    listed = (await rest.post("/v2/repository/index")).json()
    assert [(entry["name"], entry["state"]) for entry in listed] == [
        ("digits", "READY"),
        ("new", "UNAVAILABLE"),
    ]
    ready = (await rest.post("/v2/repository/index", json={"ready": True})).json()
    assert ready == [{"name": "digits", "version": "3", "state": "READY", "reason": ""}]
    override = {"parameters": {"config": "{}"}}
    assert (await rest.post("/v2/repository/models/new/load", json=override)).status_code == 501
    assert (await rest.post("/v2/repository/models/nobody/unload")).status_code == 409
    wrong = await rest.post("/v2/repository/index", json={"ready": "yes"})
    assert (wrong.status_code, wrong.json()) == (400, {"error": "ready: is 'yes', must be a boolean"})


async def test_tokens_are_asked_for_as_far_as_needed(fake: FakeService) -> None:
    """Probes and pages need no token, inference one, loading one with a higher role."""
    tokens = tuple(
        Token(name=name, role=role, sha256=hashlib.sha256(name.encode()).hexdigest())
        for name, role in (("reader", Role.INFER), ("operator", Role.OPERATE))
    )
    app = build_rest_app(as_service(fake), Access(tokens=tokens), EdgeLimits())
    load = "/v2/repository/models/new/load"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        for path in ("/", "/docs", "/v2/health/live", "/v2/models/digits/ready"):
            assert (await client.get(path)).status_code == 200
        refused = await client.post(INFER, json=REQUEST)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert refused.json() == {"error": "authorization: expected 'Bearer <token>'"}
        assert (await client.post(load, headers=_bearer("reader"))).status_code == 403
        assert (await client.post(INFER, json=REQUEST, headers=_bearer("reader"))).status_code == 200
        assert (await client.post(load, headers=_bearer("operator"))).status_code == 200
    assert [call.principal for call in fake.calls] == ["reader", "operator"]


def _bearer(secret: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def test_a_caller_that_hangs_up_ends_the_work(fake: FakeService) -> None:
    """When the connection goes, so does the work for it, and the server lives on."""
    app = build_rest_app(as_service(fake), Access(), EdgeLimits())
    body = json.dumps(REQUEST).encode()
    async with http_door(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /v2/models/slow/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body)
        async with asyncio.timeout(5):
            while not fake.requests:  # noqa: ASYNC110  the fake knows no one who waits for it
                await asyncio.sleep(0.01)
            writer.close()
            await fake.cancelled.wait()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/v2/health/live")).status_code == 200


async def test_a_caller_that_hangs_up_is_no_fault_of_ours(fake: FakeService) -> None:
    """Work that nobody waits for any more ends as the caller's going, not as a bug."""
    app = build_rest_app(as_service(fake), Access(), EdgeLimits())
    body = {"type": "http.request", "body": json.dumps(REQUEST).encode()}
    assert await status_of_post(app, "/v2/models/slow/infer", body, {"type": "http.disconnect"}) == 499
