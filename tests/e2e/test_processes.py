"""Several gateway processes behind one pair of ports: to callers they are one server."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from serve.pb import open_inference_pb2 as pb
from serve.pb import open_inference_pb2_grpc as pb_grpc
from tests.e2e.demo import Demo
from tests.e2e.processes import wait_until
from tests.e2e.stacks import Stack, StartStack, series_name

pytestmark = pytest.mark.slow

MODEL = "digits_se"
START_S = 30.0
CONNECTIONS = 16


def counted(stack: Stack) -> int:
    """Requests that a process has answered, by its own metrics."""
    labels = {"model": MODEL, "version": "1", "outcome": "ok"}
    names = [
        series_name("attnserve_requests_total", protocol=protocol, **labels) for protocol in ("grpc", "http")
    ]
    series = stack.series()
    return int(sum(series.get(name, 0) for name in names))


def second(stack: Stack) -> Stack:
    """The process beside the first one, as something whose files and metrics can be read."""
    beside = replace(stack, folder=stack.run_dir / "process-2")
    addresses = stack.run_dir / "process-2" / "addresses.json"
    vars(beside)["addresses"] = json.loads(addresses.read_text())
    return beside


def joined(stack: Stack) -> bool:
    """Whether the second process has opened its doors."""
    addresses = stack.run_dir / "process-2" / "addresses.json"
    return addresses.exists() and bool(addresses.read_text())


def answers(stack: Stack) -> bool:
    """Whether the second process, or the one that came in its place, shows its metrics."""
    try:
        return bool(second(stack).series())
    except (httpx.TransportError, json.JSONDecodeError):
        return False


def ask_both_ways(stack: Stack, demo: Demo) -> int:
    """One request a connection, by many new ones; every answer is right. Gives how many were asked."""
    http, where = stack.addresses["http"], stack.addresses["grpc"]
    for number in range(CONNECTIONS):
        image, label = demo.images[number % len(demo.images)], demo.labels[number % len(demo.images)]
        reply = httpx.post(
            f"{http}/v2/models/{MODEL}/infer",
            content=image,
            headers={"Inference-Header-Content-Length": "0", "Accept": "application/json"},
            timeout=30,
            trust_env=False,
        ).raise_for_status()
        outputs = {output["name"]: output["data"] for output in reply.json()["outputs"]}
        assert outputs["label"] == [label]
        request = pb.ModelInferRequest(model_name=MODEL)
        request.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(image)
        with grpc.insecure_channel(where, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            answer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
        (said,) = (output.contents for output in answer.outputs if output.name == "label")
        assert list(said.bytes_contents) == [label.encode()]
    return 2 * CONNECTIONS


def places(stack: Stack) -> set[tuple[int, int]]:
    """Which processes say, by many new connections, that the live figures are their own."""
    answers = (
        httpx.get(f"{stack.addresses['http']}/v1/live", timeout=30, trust_env=False).raise_for_status().json()
        for _ in range(2 * CONNECTIONS)
    )
    return {(answer["process"]["index"], answer["process"]["of"]) for answer in answers}


def test_two_processes_are_one_server(start_stack: StartStack, demo: Demo) -> None:
    """The kernel spreads connections; all are answered alike; one that dies comes back; all end together."""
    stack = start_stack(processes=2)
    wait_until(lambda: joined(stack), START_S, "the second process opens its doors")
    asked = ask_both_ways(stack, demo)
    first, beside = counted(stack), counted(second(stack))
    assert first + beside == asked
    # With 32 connections the chance that one process gets none is 2 in 2^32.
    assert first
    assert beside
    assert places(stack) == {(1, 2), (2, 2)}

    refused = stack.rest.post(f"/v2/repository/models/{MODEL}/unload")
    assert refused.status_code == 501
    assert "processes" in refused.json()["error"]

    (event,) = stack.events("gateway process started")
    psutil.Process(event["pid"]).send_signal(signal.SIGKILL)
    wait_until(lambda: len(stack.events("gateway process started")) > 1, START_S, "another is started")
    wait_until(lambda: answers(stack), START_S, "the new one opens its doors")
    ask_both_ways(stack, demo)

    assert stack.end() == 0
    stack.assert_nothing_left()


def test_the_second_process_keeps_secrets_to_itself(start_stack: StartStack) -> None:
    """Its configuration, which may hold a password, can be read by its owner only."""
    stack = start_stack(processes=2)
    wait_until(lambda: joined(stack), START_S, "the second process opens its doors")
    file: Path = stack.run_dir / "process-2" / "config.yaml"
    assert file.stat().st_mode & 0o077 == 0
