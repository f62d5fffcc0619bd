"""The tour of `make serve`: what it shows is true, and what it offers to paste works."""

from __future__ import annotations

import json
import re
from itertools import product

import pytest

from tests.e2e.demo import MODELS, Demo
from tests.e2e.processes import ATTNSERVE, attnserve, run, wait_until
from tests.e2e.stacks import Stack


@pytest.mark.slow
@pytest.mark.needs_program("curl", how="apt install curl")
def test_tour(stack: Stack, demo: Demo) -> None:
    """Real images through the model over both protocols, and eight commands that do what they say."""
    wait_until(lambda: "Ctrl-C ends everything." in stack.log(), 30, "the tour is over")
    count = len(demo.images)
    for model, protocol in product(MODELS, ("gRPC", "REST")):
        (right,) = re.findall(rf"{model}\W+{protocol}\W+(\d+) of {count}\W+[0-9.]+ ms", stack.log())
        assert int(right) >= 0.95 * count
    assert all(address in stack.log() for address in stack.addresses.values())

    _, _, offered = stack.log().partition("Try:\n")
    commands = [line.strip() for line in offered.splitlines() if line.startswith("  ")]
    path = {"PATH": f"{ATTNSERVE.parent}:/usr/bin:/bin"}
    printed = [run("bash", "-ec", command, variables=path).stdout for command in commands]
    bare, classified, metadata, metrics, started, answered, reported, own = printed
    assert json.loads(bare)["outputs"][1]["data"] == [demo.labels[0]]
    assert all(file.name in classified for file in demo.samples.iterdir())
    assert json.loads(metadata)["name"] == MODELS[-1]
    assert f'model="{MODELS[-1]}"' in metrics
    assert "digits-se-vs-eca: running" in started
    assert "digits-se-vs-eca" in answered
    assert "Not enough data" in reported
    over = stack.rest.post("/v1/experiments/digits-se-vs-eca:stop", json={"reason": "the tour is over"})
    assert over.is_success
    assert json.loads(own)["label"] == demo.labels[0]
    _check_shown(stack, demo)


def _check_shown(stack: Stack, demo: Demo) -> None:
    """The page has the tour's images to try, and the cards of nets that a real worker describes."""
    samples = stack.rest.get("/v1/samples").json()["samples"]
    assert [one["name"] for one in samples] == sorted(file.name for file in demo.samples.iterdir())
    cards = {one["name"]: one for one in stack.rest.get("/v1/models").json()["models"]}
    for model in MODELS:
        card = cards[model]
        assert card["state"] == "READY"
        assert card["recipe"]
        assert card["card"]["accuracy_interval_95"][0] < card["card"]["accuracy"]
        assert card["usage"]["requests"] >= 2 * len(demo.images)


def test_a_tour_without_images(demo: Demo) -> None:
    """Exit code 2 before anything is started."""
    for folder in (demo.samples / "nowhere", demo.archives):
        done = attnserve("serve", "--tour", folder)
        assert done.returncode == 2
        assert str(folder) in done.stderr
