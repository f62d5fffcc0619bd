"""People around an experiment: who designs it, who sends images to it, and who tells what these showed."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from loadtests.soak.http1 import HttpClient

CALLERS = 8
PATIENCE_S = 40.0
LOOK_S = 0.02
OK = 200

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request of one image: whose, and what the image shows."""

    unit: str
    image: bytes
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a caller was told, when it asked, and when it was told (Unix time)."""

    ask: Ask
    status: int
    document: Json
    asked_at: float
    at: float

    @property
    def parameters(self) -> Json:
        """Of the reply: experiment, arm, assignment, feedback_token; none of an error's."""
        found: Json = self.document.get("parameters", {})
        return found

    @property
    def model(self) -> str:
        """Who answered; "" where nobody did."""
        return str(self.document.get("model_name", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experimenter:
    """Talks to one gateway's REST door."""

    base: str
    rest: httpx.AsyncClient
    _clients: list[HttpClient] = field(default_factory=list)

    async def ask(self, name: str, asks: Iterable[Ask], callers: int = CALLERS) -> list[Told]:
        """Send requests to a model, an experiment or an alias, so many at a time; answers in their order."""
        numbered, answers = iter(enumerate(asks)), dict[int, Told]()
        while len(self._clients) < callers:
            self._clients.append(HttpClient(self.base))

        async def caller(client: HttpClient) -> None:
            for number, one in numbered:
                answers[number] = await _infer(client, name, one)

        async with asyncio.TaskGroup() as group:
            for client in self._clients[:callers]:
                group.create_task(caller(client))
        return [answers[number] for number in range(len(answers))]

    async def labels(self, model: str, images: Sequence[bytes]) -> list[str]:
        """What a model names some images, in one request."""
        headers = {"Content-Type": "application/json"}
        reply = await self.rest.post(
            f"/v2/models/{model}/infer", content=infer_body(*images), headers=headers
        )
        outputs = {output["name"]: output["data"] for output in _good(reply)["outputs"]}
        found: list[str] = outputs["label"]
        return found

    async def tell(self, name: str, told: Sequence[Told]) -> list[str]:
        """Tell what the images showed, to whoever has a token; what became of each."""
        outcomes = [
            {"feedback_token": one.parameters["feedback_token"], "label": one.ask.label}
            for one in told
            if "feedback_token" in one.parameters
        ]
        answer = await self.post(f"/v1/experiments/{name}/outcomes", {"outcomes": outcomes})
        return [receipt["status"] for receipt in answer["outcomes"]]

    async def start(self, design: Mapping[str, object]) -> Json:
        """Create an experiment and start it; it is in force."""
        await self.post("/v1/experiments", {"reason": "a test", **design})
        return await self.act(str(design["name"]), "start")

    async def act(self, name: str, act: str, **more: object) -> Json:
        """Ask for a transition, and wait until it is in force here."""
        done = await self.post(f"/v1/experiments/{name}:{act}", {"reason": "a test", **more})
        await self.in_force(name, done["version"])
        return done

    async def in_force(self, name: str, version: int) -> None:
        """Wait until requests meet that version of an experiment, or a later one."""
        path = f"/v1/experiments/{name}/assign?unit=u"

        async def reached() -> bool:
            answer = await self.rest.get(path)  # not found, until a gateway has read of it
            return bool(answer.is_success and answer.json()["version"] >= version)

        await eventually(reached, f"version {version} of {name} is in force")

    async def report(self, name: str, until: Callable[[Json], bool] = bool) -> Json:
        """The report as JSON, once something holds of it."""
        found: Json = {}

        async def holds() -> bool:
            found.update(await self.get(f"/v1/experiments/{name}/report"))
            return until(found)

        await eventually(holds, f"the report of {name} is as it should be")
        return found

    async def history(self, name: str) -> list[Json]:
        """Every version of an experiment, oldest first."""
        versions: list[Json] = (await self.get(f"/v1/experiments/{name}/audit"))["versions"]
        return versions

    async def get(self, path: str) -> Json:
        """GET a document."""
        return _good(await self.rest.get(path))

    async def post(self, path: str, document: Mapping[str, object]) -> Json:
        """POST a document."""
        return _good(await self.rest.post(path, json=document))

    async def put(self, path: str, document: Mapping[str, object]) -> Json:
        """PUT a document."""
        return _good(await self.rest.put(path, json=document))

    def hang_up(self) -> None:
        """Close the callers' connections."""
        for client in self._clients:
            client.hang_up()


@asynccontextmanager
async def experimenter(base: str) -> AsyncIterator[Experimenter]:
    """Somebody who talks to the REST door at that address."""
    async with httpx.AsyncClient(base_url=base, timeout=30, trust_env=False) as rest:
        people = Experimenter(base=base, rest=rest)
        try:
            yield people
        finally:
            people.hang_up()


def two_arms(control: str, arm: str, mode: str, **more: object) -> Json:
    """A design of two models, half and half."""
    weight = {} if mode == "shadow" else {"weight": 5000}
    arms = [{"name": name, "model": name, "version": "1", **weight} for name in (control, arm)]
    return {"mode": mode, "arms": arms, **more}


def row_of(report: Json, metric: str) -> Json:
    """The row in which the arm is compared with the control by a metric."""
    (row,) = (one for one in report["rows"] if one["metric"] == metric and one["kind"] != "level")
    found: Json = row
    return found


def pairs_of(report: Json) -> int:
    """How many images both arms have answered."""
    (table,) = report["pair_tables"]
    return sum(count for count in table.values() if isinstance(count, int))


async def eventually(holds: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds, which is asked with `await`; `what` is said when it does not."""
    ends = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < ends, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(LOOK_S)


def infer_body(*images: bytes) -> bytes:
    """An inference request for images, as JSON."""
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [len(images)],
        "data": [base64.b64encode(image).decode() for image in images],
        "parameters": {"encoding": "base64"},
    }
    return json.dumps({"inputs": [tensor]}).encode()


def _good(response: httpx.Response) -> Json:
    assert response.is_success, response.text
    document: Json = response.json()
    return document


async def _infer(client: HttpClient, name: str, ask: Ask) -> Told:
    headers = {"Content-Type": "application/json", "X-Unit-Id": ask.unit}
    asked_at = time.time()
    reply = await client.post(f"/v2/models/{name}/infer", infer_body(ask.image), headers)
    document = json.loads(reply.body)
    return Told(ask=ask, status=reply.status, document=document, asked_at=asked_at, at=time.time())
