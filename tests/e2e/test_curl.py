"""Plain curl, as the README shows it."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.e2e.demo import Demo
from tests.e2e.stacks import Stack

pytestmark = pytest.mark.needs_program("curl", how="apt install curl")

BARE = ("-H", "Inference-Header-Content-Length: 0")


def curl(*arguments: object) -> bytes:
    """Run curl and give what it prints."""
    command = ["curl", "-sS", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, timeout=30).stdout


def test_bare_image_with_a_json_answer(stack: Stack, demo: Demo) -> None:
    """`--data-binary @image` and `Accept: application/json`: readable JSON."""
    path = max(demo.samples.iterdir())
    url = f"{stack.addresses['http']}/v2/models/digits_se/infer"
    answer = json.loads(curl("--data-binary", f"@{path}", *BARE, "-H", "Accept: application/json", url))
    assert (answer["model_name"], answer["model_version"]) == ("digits_se", "1")
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["label"]["data"] == [demo.labels[-1]]
    assert (outputs["probabilities"]["shape"], len(outputs["probabilities"]["data"])) == ([1, 10], 10)


def test_bare_image_with_a_binary_answer(stack: Stack, demo: Demo) -> None:
    """Without `Accept` all outputs are binary, as the protocol has it."""
    path = max(demo.samples.iterdir())
    url = f"{stack.addresses['http']}/v2/models/digits_se/infer"
    head, _, body = curl("-i", "--data-binary", f"@{path}", *BARE, url).partition(b"\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert headers["content-type"] == "application/octet-stream"
    size = int(headers["inference-header-content-length"])
    sizes = {o["name"]: o["parameters"]["binary_data_size"] for o in json.loads(body[:size])["outputs"]}
    assert sizes == {"probabilities": 40, "label": 5}
    assert body[size + 40 :] == b"\x01\0\0\0" + demo.labels[-1].encode()


def test_compressed_answer(stack: Stack) -> None:
    """`curl --compressed` gets gzip, and the same document."""
    url = f"{stack.addresses['http']}/openapi.json"
    assert b"content-encoding: gzip" in curl("-i", "-H", "Accept-Encoding: gzip", url).lower()
    assert json.loads(curl("--compressed", url)) == json.loads(curl(url))


def test_pages(stack: Stack) -> None:
    """The page for people and the description of the API come from the gateway itself."""
    base = stack.addresses["http"]
    assert b"<html" in curl(f"{base}/")
    assert b"<html" in curl(f"{base}/docs")
    assert "/v2/models/{model}/infer" in json.loads(curl(f"{base}/openapi.json"))["paths"]
