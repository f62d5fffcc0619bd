"""What the page asks: who it talks as, and the models' cards."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.core.access import Access, Role, Token
from serve.core.card import AttentionBlock, ModelCard
from serve.core.catalog import ModelState
from serve.core.messages import ModelRef, Timings
from serve.edge import page_rest
from serve.edge.desk import Desk
from serve.edge.limits import EdgeLimits
from serve.edge.models_json import encode_model
from serve.edge.page_parts import PageParts
from serve.edge.rest_api import build_rest_app
from serve.repository import Entry
from serve.usage import Served
from tests.edge.doors import as_service
from tests.edge.fake_desk import FakeDesk
from tests.edge.fakes import FakeService

SECRET = "s3cret"  # noqa: S105  of this test only
TOKENS = (Token(name="ci", role=Role.OPERATE, sha256=hashlib.sha256(SECRET.encode()).hexdigest()),)
CARD = ModelCard(
    ref=ModelRef(name="digits", version="3"),
    labels=("zero", "eins"),
    input_size=(8, 16),
    attention="se",
    attention_layout=(AttentionBlock(block="layer1", channels=3, branches=1),),
    trained=True,
    max_batch=16,
    contents_sha256="c" * 64,
    signature={"family": "resnet", "card": {"accuracy": 0.75, "confusion": [[3, 1], [0, 4]]}},
)


def client(
    fake: FakeService,
    access: Access | None = None,
    page: PageParts | None = None,
    desk: Desk | None = None,
) -> httpx.AsyncClient:
    """A client of a door over that service."""
    app = build_rest_app(as_service(fake), access or Access(), EdgeLimits(), desk, page=page)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_open_access_is_told_as_what_it_is(fake: FakeService) -> None:
    """Anybody is anonymous and may do everything; there is nothing more than models to show."""
    async with client(fake) as door:
        answer = await door.get("/v1/me")
    assert answer.json() == {
        "name": "anonymous",
        "role": "admin",
        "access": "open",
        "version": "1.2.3",
        "experiments": False,
        "samples": False,
        "grafana_url": "",
        "processes": 1,
    }
    assert answer.headers["cache-control"] == "no-store"


async def test_a_token_is_told_whose_it_is(fake: FakeService) -> None:
    """And what it may do; who has none is told nothing, not even where dashboards are."""
    page = PageParts(samples=Path("samples"), grafana_url="https://grafana.example/d/1", processes=3)
    async with client(fake, Access(tokens=TOKENS), page, FakeDesk()) as door:
        refused = await door.get("/v1/me")
        answer = await door.get("/v1/me", headers={"Authorization": f"Bearer {SECRET}"})
    assert refused.status_code == 401
    assert refused.json() == {"error": "authorization: expected 'Bearer <token>'"}
    assert answer.json() == {
        "name": "ci",
        "role": "operate",
        "access": "token",
        "version": "1.2.3",
        "experiments": True,
        "samples": True,
        "grafana_url": "https://grafana.example/d/1",
        "processes": 3,
    }


async def test_a_card_is_shown_in_a_list_and_alone(fake: FakeService, rest: httpx.AsyncClient) -> None:
    """With its use; what is never asked for in a list comes only alone."""
    fake.repository.put(Entry(ref=CARD.ref, state=ModelState.READY, card=CARD))
    timings = Timings(decode_s=0.001, inference_s=0.004, encode_s=0.0)
    served = Served(images=5, duration_s=0.010, queue_s=0.002, timings=timings, wall_ms=0)
    fake.usage.served(CARD.ref, served)
    fake.usage.served(CARD.ref, replace(served, duration_s=0.020))
    fake.usage.failed(CARD.ref, 1.0)
    listed = (await rest.get("/v1/models")).json()
    (one,) = listed["models"]
    assert (one["name"], one["version"], one["state"], one["family"]) == ("digits", "3", "READY", "resnet")
    assert (one["default"], one["aliases"]) == (True, [])
    assert one["card"]["accuracy"] == 0.75
    assert "confusion" not in one["card"]
    assert one["usage"] == {
        "requests": 2,
        "failed": 1,
        "images": 10,
        "mean_ms": pytest.approx(15.0),
        "queue_ms": pytest.approx(2.0),
        "decode_ms": pytest.approx(1.0),
        "infer_ms": pytest.approx(4.0),
        "since": "2027-01-15T08:00:00.000Z",
    }
    alone = (await rest.get("/v1/models/digits/versions/3")).json()
    more = {key: alone.pop(key) for key in alone.keys() - one.keys()}
    assert alone == one
    assert more["labels"] == ["zero", "eins"]
    assert more["confusion"] == [[3, 1], [0, 4]]


async def test_a_model_that_never_was_ready_is_shown_without_a_card(
    fake: FakeService, rest: httpx.AsyncClient
) -> None:
    """With its state and why; of its card everything is null, and so are means of nothing."""
    ref = ModelRef(name="broken", version="1")
    fake.repository.put(Entry(ref=ref, state=ModelState.UNAVAILABLE, reason="<b>no</b>\ud800" + "x" * 9000))
    (one,) = (await rest.get("/v1/models")).json()["models"]
    assert one["state"] == "UNAVAILABLE"
    assert one["reason"].startswith("<b>no</b>?xxx")
    assert len(one["reason"]) < 600
    assert (one["card"], one["trained"], one["classes"]) == (None, None, None)
    assert (one["usage"]["requests"], one["usage"]["mean_ms"]) == (0, None)
    assert (await rest.get("/v1/models/broken/versions/1")).json()["labels"] is None


async def test_a_hostile_signature_is_shown_as_far_as_it_goes(
    fake: FakeService, rest: httpx.AsyncClient
) -> None:
    """Numbers that JSON has not, half characters, depth and size without end: the list still comes."""
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"deeper": deep}
    signature = {
        "architecture": ["no", "text"],
        "family": "half \ud800",
        "parity": deep,
        "card": {
            "accuracy": float("inf"),
            "macs": 10**4000,
            "deep": deep,
            "wide": ["x"] * 10**6,
            "\udfff": 1,
        },
    }
    fake.repository.put(
        Entry(
            ref=CARD.ref, state=ModelState.READY, card=replace(CARD, signature=signature, labels=("\ud800",))
        )
    )
    answer = await rest.get("/v1/models")
    (one,) = answer.json()["models"]
    assert (one["architecture"], one["family"], one["parity"]) == (None, "half ?", None)
    assert one["card"] == {
        "accuracy": None, "accuracy_interval_95": None, "parameters": None, "macs": None, "source": None,
        "deep": None, "wide": None, "?": 1,
    }  # fmt: skip
    assert len(answer.content) < 2000
    assert (await rest.get("/v1/models/digits/versions/3")).json()["labels"] == ["?"]


async def test_cards_hold_nobody_up(
    fake: FakeService, rest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a hundred models take a fifth of a second: another thread writes them, not the requests'."""
    writers: set[int] = set()

    def noting(*known: Any, **how: Any) -> dict[str, Any]:  # noqa: ANN401  passed on
        writers.add(threading.get_ident())
        return encode_model(*known, **how)

    monkeypatch.setattr(page_rest, "encode_model", noting)
    fake.repository.put(Entry(ref=CARD.ref, state=ModelState.READY, card=CARD))
    for path in ("/v1/models", "/v1/models/digits/versions/3"):
        assert (await rest.get(path)).status_code == 200
    assert writers
    assert threading.get_ident() not in writers


async def test_an_unknown_card_is_not_found(rest: httpx.AsyncClient) -> None:
    """In the one shape of errors."""
    answer = await rest.get("/v1/models/nobody/versions/1")
    assert (answer.status_code, answer.json()) == (404, {"error": "model 'nobody' is not found"})
