"""The demo's models name real handwritten digits, by every way into the stack."""

from __future__ import annotations

import json

import httpx
import numpy as np
import pytest

from tests.e2e.demo import MODELS, Demo
from tests.e2e.oip import WAYS, Input, Question, Way, ask, infer_path, read_rest
from tests.e2e.processes import run
from tests.e2e.stacks import Stack

ENOUGH = 0.95


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_digits_are_right(stack: Stack, demo: Demo, way: Way, model: str) -> None:
    """All samples in one request: labels, and rows of probabilities that agree with them."""
    answer = way(stack, ask(model, *demo.images, request_id="all at once"))
    assert (answer.model, answer.version, answer.request_id) == (model, "1", "all at once")
    assert list(answer.outputs) == ["probabilities", "label"]
    probabilities = answer.outputs["probabilities"]
    assert probabilities.shape == (len(demo.images), 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [str(best) for best in probabilities.argmax(axis=1)] == answer.labels
    assert demo.share_right(answer.labels) >= ENOUGH


@pytest.mark.parametrize("model", MODELS)
def test_digits_are_right_as_bare_bodies(stack: Stack, demo: Demo, model: str) -> None:
    """The body is the file, and nothing else; the answer is binary."""
    headers = {"Inference-Header-Content-Length": "0"}
    answers = []
    for image in demo.images:
        response = stack.rest.post(infer_path(model), content=image, headers=headers)
        assert response.headers["Content-Type"] == "application/octet-stream"
        answers += read_rest(response).labels
    assert demo.share_right(answers) >= ENOUGH


@pytest.mark.needs_program("curl", how="apt install curl")
@pytest.mark.parametrize("model", MODELS)
def test_digits_are_right_at_torchserves_own_port(stack: Stack, demo: Demo, model: str) -> None:
    """`curl -T` with the token that the gateway wrote down gets JSON; without the token it gets nothing."""
    url = f"{(stack.run_dir / 'inference.url').read_text().strip()}/predictions/{model}"
    token = (stack.run_dir / "inference.token").read_text().strip()
    answers = []
    for path in sorted(demo.samples.iterdir())[::3]:
        printed = run("curl", "-sS", "-T", path, "-H", f"Authorization: Bearer {token}", url).stdout
        answers.append(json.loads(printed)["label"])
    expected = demo.labels[::3]
    assert sum(map(str.__eq__, answers, expected)) >= ENOUGH * len(expected)
    assert httpx.put(url, content=demo.images[0], timeout=30, trust_env=False).status_code == 400


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_input_gives_the_same_answer(stack: Stack, demo: Demo, way: Way) -> None:
    """Pixels and normalised input are answered as the files that they came from."""
    expected = way(stack, ask("digits_se", *demo.images)).outputs["probabilities"]
    for tensor in (
        Input(name="pixels", datatype="UINT8", shape=demo.pixels.shape, data=demo.pixels),
        Input(name="input", datatype="FP32", shape=demo.inputs.shape, data=demo.inputs),
        Input(name="image", datatype="BYTES", shape=(len(demo.images), 1), data=demo.images),
    ):
        answer = way(stack, Question(model="digits_se", inputs=(tensor,)))
        np.testing.assert_allclose(answer.outputs["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_output_comes_in_the_order_asked_for(stack: Stack, demo: Demo, way: Way) -> None:
    """Gates, status, logits and the classification extension, each in its datatype and shape."""
    columns = stack.rest.get("/v2/models/digits_se").json()["outputs"][-1]["shape"][1]
    outputs = {
        "status": {},
        "attention": {},
        "logits": {},
        "probabilities": {"classification": 3},
        "label": {},
    }
    answer = way(stack, ask("digits_se", *demo.images[:2], version="1", outputs=outputs))
    assert list(answer.outputs) == list(outputs)
    assert answer.outputs["status"].tolist() == [0, 0]
    assert answer.outputs["attention"].shape == (2, columns)
    assert ((answer.outputs["attention"] > 0) & (answer.outputs["attention"] < 1)).all()
    best = answer.outputs["logits"].argmax(axis=1)
    assert answer.labels == [str(label) for label in best] == list(demo.labels[:2])
    ranked = [text.decode().split(":") for text in answer.outputs["probabilities"]]
    assert [ranked[0][1:], ranked[3][1:]] == [[str(label), str(label)] for label in best]
    values = np.array([value for value, _, _ in ranked], float).reshape(2, 3)
    assert (np.diff(values) <= 0).all()
