"""A plain TorchServe client: one image in, JSON out, and an HTTP status of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from handlers.classify import Classifier
    from tests.handlers.conftest import Archive, Encode, FakeContext

    Loaded = tuple[Classifier, FakeContext]

LABELS = ("black", "red", "green", "blue")
DESCRIBE = {"attnserve": b'{"version": 1, "describe": true}'}


@pytest.mark.parametrize("key", ["body", "data", "image.jpg"])
def test_a_stock_client_gets_json(loaded: Loaded, encode: Encode, key: str) -> None:
    """One encoded image under TorchServe's usual keys gives the most likely labels, in order."""
    classifier, context = loaded
    answer = json.loads(classifier.handle([{key: bytearray(encode("JPEG", "red"))}], context)[0])
    ranked = list(answer["probabilities"].values())
    assert (answer["model"], answer["version"]) == ("tiny", "3")
    assert answer["label"] == next(iter(answer["probabilities"]))
    assert sorted(answer["probabilities"]) == sorted(LABELS)
    assert ranked == sorted(ranked, reverse=True)
    assert sum(ranked) == pytest.approx(1)
    assert context.content_types == {0: "application/json"}
    assert context.statuses == {}


def test_a_stock_client_sees_the_five_best(archive: Archive, encode: Encode) -> None:
    """With more labels than five, the rest is left out."""
    layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 9))
    archive.replace_net(layers, labels=[f"class {index}" for index in range(9)])
    classifier, context = archive.load()
    answer = json.loads(classifier.handle([{"body": encode("PNG", "red")}], context)[0])
    assert len(answer["probabilities"]) == 5


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"body": b"no image"}, "of no known image format"),
        ({"body": b""}, "image: no bytes"),
        ({"body": "text"}, "body must be an image's bytes, got str; check Content-Type"),
        ({"body": {"a": 1}}, "body must be an image's bytes, got dict"),
        ({}, "must hold one image under body or data, got keys []"),
        ({"a": b"", "b": b""}, "got keys ['a', 'b']"),
    ],
)
def test_a_bad_stock_request_is_a_400(loaded: Loaded, row: dict[str, Any], words: str) -> None:
    """The status is this row's alone, the reason is JSON."""
    classifier, context = loaded
    _, answer = classifier.handle([DESCRIBE, row], context)
    assert words in json.loads(answer)["error"]
    assert context.statuses == {1: (400, "Bad Request")}
    assert context.content_types == {1: "application/json"}
