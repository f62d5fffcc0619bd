"""What is read of the models that are to be asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loadtests.traffic.questions import Subject
from loadtests.traffic.subjects import SubjectError, read_subjects
from serve.core.card import ModelCard
from serve.core.describe import model_config, model_metadata
from serve.core.designs import design_of
from serve.core.edits import Stamp, create
from serve.core.experiment import Alias
from serve.core.messages import ModelRef
from serve.edge.experiments_json import encode_alias, encode_experiment
from serve.edge.oip_json_catalog import encode_config, encode_metadata

LABELS = ("hot dog", 'not "hot" dog', "süß")


def pages(name: str) -> dict[str, Any]:
    """What a gateway answers for a model, in its own words."""
    card = ModelCard(
        ref=ModelRef(name=name, version="1"),
        labels=LABELS,
        input_size=(16, 24),
        attention="none",
        attention_layout=(),
        trained=True,
        max_batch=8,
        contents_sha256="",
        signature={},
    )
    return {
        f"/v2/models/{name}": encode_metadata(model_metadata(card, ("1",))),
        f"/v2/models/{name}/config": encode_config(model_config(card, max_queue_delay_s=0.0)),
    }


@dataclass(slots=True)
class Gateway:
    """Pages by path; the rest is not found.

    Attributes:
        url: Where it listens.
        tokens: The Authorization headers that came, "" for none.
    """

    url: str
    pages: dict[str, Any] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """One with two models and no experiments."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.tokens.add(self.headers.get("Authorization", ""))
            known = self.path in found.pages
            page = found.pages.get(self.path, {"error": "it is not found"})
            body = page if isinstance(page, bytes) else json.dumps(page).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    found = Gateway(f"http://127.0.0.1:{server.server_port}", pages("digits_se") | pages("digits_sk"))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_model_tells_all_that_is_needed(gateway: Gateway) -> None:
    """Its labels, whatever they contain, its size, and its largest batch; each model for itself."""
    assert read_subjects(gateway.url, ["digits_sk", "digits_se"]) == tuple(
        Subject(name=name, labels=LABELS, input_size=(16, 24), max_batch=8, served_by=(name,))
        for name in ("digits_sk", "digits_se")
    )
    assert gateway.tokens == {""}


def test_experiments_and_aliases_are_followed_to_the_models(gateway: Gateway) -> None:
    """Each arm's once, also behind an alias of an experiment; an alias's target may name a version."""
    arms = [
        {"name": f"arm{number}", "model": f"digits_{kind}", "version": "1", "weight": weight}
        for number, (kind, weight) in enumerate((("se", 5000), ("sk", 2500), ("se", 2500)))
    ]
    design = design_of({"name": "trial", "mode": "split", "arms": arms})
    stamp: dict[str, Any] = {"author": "me", "reason": "why not", "effective_at": 0.0}
    trial = create(design, Stamp(created_at=0.0, **stamp))
    aliases = [
        Alias(name=name, number=1, target=target, **stamp)
        for name, target in (("production", "trial"), ("stable", "digits_sk:1"))
    ]
    gateway.pages["/v1/experiments"] = {"experiments": [encode_experiment(trial)]}
    gateway.pages["/v1/aliases"] = {"aliases": [encode_alias(alias) for alias in aliases]}
    for name in ("trial", "production", "stable"):
        gateway.pages |= pages(name)
    subjects = read_subjects(gateway.url, ["trial", "production", "stable", "digits_se"])
    assert {subject.name: subject.served_by for subject in subjects} == {
        "trial": ("digits_se", "digits_sk"),
        "production": ("digits_se", "digits_sk"),
        "stable": ("digits_sk",),
        "digits_se": ("digits_se",),
    }


def test_a_token_is_shown(gateway: Gateway) -> None:
    """With every question."""
    read_subjects(gateway.url, ["digits_se"], "secret")
    assert gateway.tokens == {"Bearer secret"}


def test_what_is_wrong_is_said(gateway: Gateway) -> None:
    """An unknown model in the gateway's words, another server, none, or nothing asked for."""
    with pytest.raises(SubjectError, match="model 'nothing': it is not found"):
        read_subjects(gateway.url, ["digits_se", "nothing"])
    with pytest.raises(SubjectError, match="models: names one or more by comma, got ''"):
        read_subjects(gateway.url, [""])
    with pytest.raises(SubjectError, match=r"http://127\.0\.0\.1:1: does not answer: .*refused"):
        read_subjects("http://127.0.0.1:1", ["digits_se"])


@pytest.mark.parametrize(
    "page", [b"<html>hello</html>", [], {"name": "digits_se"}, {"inputs": [{"name": 1}]}]
)
def test_another_server_is_told_apart(gateway: Gateway, page: Any) -> None:  # noqa: ANN401  any JSON
    """It answers, but not as a gateway does."""
    gateway.pages["/v2/models/digits_se"] = page
    with pytest.raises(SubjectError, match="does not answer as an attnserve does"):
        read_subjects(gateway.url, ["digits_se"])
