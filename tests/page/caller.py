"""Whoever talks to a gateway beside the browser: sends images, tells what they show, makes experiments."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.page.samples import DIGITS, another, digit_of

Json = dict[str, Any]

REASON = "the tests want to know"
PATIENCE_S = 30.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Talks to one gateway's REST door."""

    rest: httpx.Client

    @classmethod
    @contextmanager
    def to(cls, http: str, secret: str = "") -> Iterator[Caller]:
        """Somebody with that token, if any."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        with httpx.Client(base_url=http, headers=headers, timeout=30, trust_env=False) as rest:
            yield cls(rest=rest)

    def get(self, path: str) -> Json:
        """GET a document."""
        return _good(self.rest.get(path))

    def send(self, method: str, path: str, document: Mapping[str, object]) -> Json:
        """Send a document."""
        return _good(self.rest.request(method, path, json=document))

    def ask(self, model: str, image: bytes, unit: str) -> Json:
        """Send an image to a model, an experiment or an alias; gives the answer."""
        request = json.loads(infer_body(image)) | {"parameters": {"unit": unit}}
        return self.send("POST", f"/v2/models/{model}/infer", request)

    def feed(self, name: str, images: Iterable[tuple[bytes, str]]) -> int:
        """Send images to an experiment, each another unit's, and tell what they show; how many there were."""
        outcomes = [
            {"feedback_token": answer["parameters"]["feedback_token"], "label": label}
            for number, (image, label) in enumerate(images)
            if (answer := self.ask(name, image, f"unit-{number}"))
        ]
        told = self.send("POST", f"/v1/experiments/{name}/outcomes", {"outcomes": outcomes})
        assert {receipt["status"] for receipt in told["outcomes"]} == {"accepted"}
        return len(outcomes)

    def act(self, name: str, act: str, **more: object) -> None:
        """Ask for a transition, and wait until requests meet it."""
        made = self.send("POST", f"/v1/experiments/{name}:{act}", {"reason": REASON, **more})
        self.wait_for(name, made["version"])

    def wait_for(self, name: str, version: int) -> None:
        """Wait until requests meet that version of an experiment, or a later one."""

        def met() -> bool:
            answer = self.rest.get(f"/v1/experiments/{name}/assign", params={"unit": "u"})
            return answer.is_success and bool(answer.json()["version"] >= version)

        until(met, f"version {version} of {name} is in force")

    def experiment(self, name: str, images: Iterable[tuple[bytes, str]] = (), **more: object) -> str:
        """Start a paired experiment of digits_se and digits_eca, and feed it; gives its name.

        Args:
            name: Of the experiment.
            images: With what each shows; 60 that are drawn where none are given.
            more: Of its design.
        """
        arms = [
            {"name": arm, "model": f"digits_{arm}", "version": "1", "weight": 5000} for arm in ("se", "eca")
        ]
        kept = {"max_images": 50, "days": 1}
        design = {"name": name, "mode": "paired", "arms": arms, "margin": 0.05, "keep_images": kept, **more}
        self.send("POST", "/v1/experiments", {"reason": REASON, **design})
        self.act(name, "start")
        count = self.feed(name, images or drawn(60))
        until(lambda: self.labelled(name) == count, "every pair has its label")
        return name

    def labelled(self, name: str) -> int:
        """Pairs of an experiment whose label is known."""
        (table,) = self.get(f"/v1/experiments/{name}/report")["pair_tables"]
        return sum(table[key] for key in ("both_right", "control_right", "arm_right", "both_wrong"))


def infer_body(image: bytes) -> bytes:
    """An inference request for an image, JSON."""
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1],
        "data": [base64.b64encode(image).decode()],
        "parameters": {"encoding": "base64"},
    }
    return json.dumps({"inputs": [tensor]}).encode()


def drawn(count: int) -> Iterator[tuple[bytes, str]]:
    """Pictures that are none of the samples, and what the fake engine's best model says of each."""
    for number in range(count):
        image = another(DIGITS[number % len(DIGITS)], number)
        yield image, DIGITS[digit_of(image)]


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; `what` is said when it does not."""
    ends = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(POLL_S)


def _good(response: httpx.Response) -> Json:
    assert response.is_success, response.text
    document: Json = response.json()
    return document
