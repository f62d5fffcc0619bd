"""NVIDIA's client works unchanged, over both protocols."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.demo import Demo
from tests.e2e.processes import run, wait_until
from tests.e2e.stacks import Stack

PROGRAM = Path(__file__).with_name("triton_calls.py")
EXTENSIONS = {
    "classification",
    "model_repository",
    "model_configuration",
    "statistics",
    "binary_tensor_data",
    "parameters",
    "schedule_policy",
}
# Another one for each protocol, since it is unloaded for a while.
MODELS = {"grpc": "digits_eca", "http": "digits_sk"}


@pytest.fixture(scope="module", params=MODELS)
def protocol(request: pytest.FixtureRequest) -> str:
    """The protocol."""
    return str(request.param)


@pytest.fixture(scope="module")
def calls(stack: Stack, demo: Demo, protocol: str) -> dict[str, Any]:
    """What every call of triton_calls.py came back with."""
    # Its requests count in the statistics, too.
    wait_until(lambda: "Ctrl-C ends everything." in stack.log(), 60, "the tour is over")
    address = stack.addresses[protocol].removeprefix("http://")
    arguments = (protocol, address, demo.samples, MODELS[protocol])
    done = run(sys.executable, PROGRAM, *arguments, timeout_s=100, variables={"PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_health(calls: dict[str, Any]) -> None:
    """Server and model are live and ready."""
    assert calls["health"] == [True, True, True]


@pytest.mark.parametrize("call", ["images", "pixels", "compressed"])
def test_infer(calls: dict[str, Any], demo: Demo, call: str) -> None:
    """Files, pixels and compressed requests get the right digits."""
    assert demo.share_right(calls[call]) >= 0.95


def test_infer_normalised(calls: dict[str, Any]) -> None:
    """An FP32 input gets a row of probabilities for each of its images."""
    shape, sums = calls["zeros"]
    assert shape == [2, 10]
    assert sums == pytest.approx([1, 1], abs=1e-5)


def test_request_id(calls: dict[str, Any]) -> None:
    """The id comes back."""
    assert calls["request_id"] == "mine"


def test_classification(calls: dict[str, Any], demo: Demo) -> None:
    """class_count gives value:index:label, the best first."""
    rows = [[text.split(":") for text in row] for row in calls["classification"]]
    assert all(float(best[0]) >= float(second[0]) for best, second in rows)
    assert [best[2] for best, _ in rows] == calls["images"]
    assert all(index == label for row in rows for _, index, label in row)
    assert len(rows) == len(demo.images)


def test_metadata(calls: dict[str, Any], protocol: str) -> None:
    """The server lists what works; the model tells inputs and outputs with their batch dimension."""
    server, model = calls["metadata"]
    assert (server["name"], set(server["extensions"])) == ("attnserve", EXTENSIONS)
    assert (model["name"], model["versions"], model["platform"]) == (
        MODELS[protocol],
        ["1"],
        "pytorch_torchscript",
    )
    shapes = {
        tensor["name"]: [int(size) for size in tensor["shape"]]
        for tensor in model["inputs"] + model["outputs"]
    }
    assert shapes["image"] == [-1, 1]
    assert shapes["probabilities"] == [-1, 10]
    assert shapes["attention"][1] > 0


def test_config(calls: dict[str, Any], protocol: str) -> None:
    """What perf_analyzer needs: batch size, and the metadata's inputs without their batch dimension."""
    config = calls["config"]["config"] if protocol == "grpc" else calls["config"]
    assert (config["name"], config["max_batch_size"]) == (MODELS[protocol], 16)
    inputs = {tensor["name"]: tensor for tensor in config["input"]}
    assert inputs.keys() == {"image", "pixels", "input"}
    assert inputs["image"]["data_type"] == "TYPE_STRING"
    assert [int(size) for size in inputs["image"]["dims"]] == [1]


def test_statistics(calls: dict[str, Any], demo: Demo) -> None:
    """One request of all samples counts once, and its images as many as they are."""
    assert calls["statistics"] == [1, len(demo.images)]


def test_load_and_unload(calls: dict[str, Any]) -> None:
    """The repository's states, and readiness, follow unload and load."""
    assert calls["repository"] == ["READY", "UNAVAILABLE", "False", "READY", "True"]


def test_errors(calls: dict[str, Any], protocol: str) -> None:
    """The client can read our errors."""
    expected = {"grpc": "StatusCode.NOT_FOUND", "http": "404"}[protocol]
    assert calls["error"] == [expected, "model 'stranger' is not found"]


def test_stream(calls: dict[str, Any], demo: Demo, protocol: str) -> None:
    """Over gRPC, a stream answers each request in turn."""
    assert calls["stream"] == (list(demo.labels[:2]) if protocol == "grpc" else [])
