"""Callers need not know of experiments: what they call stays a name that answers like a model."""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.experimenter import OK, Told, two_arms
from tests.e2e.planted import Truth
from tests.e2e.trial_gateway import POLL_S, planted_asks, trial_gateway

PROGRAM = Path(__file__).with_name("triton_experiment.py")
NAME, ALIAS = "which", "production"
TRUTHS = {"one": Truth(wrong=0.0), "other": Truth(wrong=0.0)}
MOST_REQUESTS = 20_000


async def test_an_alias_leads_from_a_model_to_the_winner(tmp_path: Path) -> None:
    """A client that goes on calling it gets the model, the experiment and the winner, and never an error."""
    stop = asyncio.Event()
    asks = takewhile(lambda _: not stop.is_set(), planted_asks(1, MOST_REQUESTS))
    async with trial_gateway(tmp_path, TRUTHS) as trial:
        people = trial.people
        await people.put(f"/v1/aliases/{ALIAS}", {"target": "one", "reason": "a test"})
        await asyncio.sleep(3 * POLL_S)
        async with asyncio.TaskGroup() as group:
            client = group.create_task(people.ask(ALIAS, asks, callers=1))
            try:
                await asyncio.sleep(POLL_S)
                await people.start({"name": NAME, **two_arms("one", "other", "split", alias=ALIAS)})
                await asyncio.sleep(POLL_S)
                await people.act(NAME, "promote", arm="other")
                await asyncio.sleep(POLL_S)
            finally:
                stop.set()
        told = client.result()
    assert {one.status for one in told} == {OK}
    stages = [(stage, {one.model for one in part}) for stage, part in groupby(told, key=_stage)]
    assert stages == [("model", {"one"}), ("experiment", {"one", "other"}), ("model", {"other"})]


@pytest.mark.parametrize(("protocol", "mode"), [("grpc", "paired"), ("http", "split")])
async def test_tritonclient_calls_an_experiment(protocol: str, mode: str, tmp_path: Path) -> None:
    """Readiness, metadata, configuration and inference are those of a model of that name."""
    async with trial_gateway(tmp_path, TRUTHS) as trial:
        await trial.people.start({"name": NAME, **two_arms("one", "other", mode)})
        address = getattr(trial.gateway.addresses, protocol).removeprefix("http://")
        found = await _triton(protocol, address, NAME, "unit-1", "7:1")
    assert found["ready"]
    assert (found["metadata"]["name"], found["config"]["name"]) == (NAME, NAME)
    assert {tensor["name"] for tensor in found["metadata"]["inputs"]} >= {"image", "pixels", "input"}
    first, second = found["with a unit"]
    for answer in (found["plain"], first, second):
        assert answer["label"] == "7"
        assert answer["model"] == answer["parameters"]["arm"]
        assert answer["parameters"]["experiment"] == NAME
        assert answer["parameters"]["feedback_token"]
    assert "sticky" not in first["parameters"]
    assert found["plain"]["parameters"]["sticky"] is False
    assert first["model"] == second["model"]


def _stage(told: Told) -> str:
    return "experiment" if told.parameters.get("assignment") == "hash" else "model"


async def _triton(*arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    found: dict[str, Any] = json.loads(output)
    return found
