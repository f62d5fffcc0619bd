"""An arm that fails 5 % of its calls is rolled back, before its failures reach anybody, in every mode."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import takewhile
from operator import sub
from pathlib import Path
from statistics import median

import pytest

from serve.core.report.guards import guardrails
from serve.core.report.rows import Guard
from serve.core.report.study import study
from serve.experiments.steward import Steward
from serve.ledger.ledger import Ledger
from serve.sections import ExperimentsConfig
from tests.e2e.experimenter import OK, PATIENCE_S, Json, Told, eventually, two_arms
from tests.e2e.planted import Truth
from tests.e2e.trial_gateway import TrialGateway, planted_asks, trial_gateway

NAME, ALIAS, GOOD, BAD = "which", "production", "good", "bad"
TRUTHS = {GOOD: Truth(), BAD: Truth(failing=0.05)}
GUARDRAIL = {"metric": "error_rate", "max_ratio": 1.5, "alpha": 0.01}
MOST_REQUESTS = 6000
# So few that the gateway, which shares this process with them, is not busy all the time.
CALLERS = 3
POLL_S = 0.5
POLLS = ExperimentsConfig(poll_interval_s=POLL_S)
ROLLBACKS = "attnserve_experiment_rollbacks_total"
SLOW = pytest.mark.slow


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the gateway began to look at its experiments, Unix times: a busy machine delays what it does."""
    look, begun = Steward.look, list[float]()

    async def noted(steward: Steward) -> None:
        begun.append(time.time())
        await look(steward)

    monkeypatch.setattr(Steward, "look", noted)
    return begun


@pytest.mark.parametrize(
    ("mode", "attempts"),
    [
        ("split", 1),
        pytest.param("split", 3, marks=SLOW),
        pytest.param("shadow", 1, marks=SLOW),
        pytest.param("shadow", 3, marks=SLOW),
        pytest.param("paired", 1, marks=SLOW),
        pytest.param("paired", 3, marks=SLOW),
    ],
)
async def test_it_is_rolled_back(mode: str, attempts: int, looks: list[float], tmp_path: Path) -> None:
    """By the second look at the evidence, with retries that hide failures and without: nobody sees one."""
    async with trial_gateway(tmp_path, TRUTHS, attempts=attempts, experiments=POLLS) as trial:
        await trial.people.start(_design(mode))
        proof, told = await _until_rolled_back(trial)
        versions = await trial.people.history(NAME)
        last = versions[-1]
        _check_rolled_back(last)
        ended = datetime.fromisoformat(last["created_at"]).timestamp()
        assert sum(proof < look < ended for look in looks) <= 2
        assert median(map(sub, looks[1:], looks)) < 1.5 * POLL_S, "it looks at every poll"
        assert {one.status for one in told} == {OK}, "no caller sees a failure"
        after = [one for one in told if one.asked_at > ended + POLL_S]
        assert {one.model for one in after} == {GOOD}
        assert {one.model for one in told} == ({GOOD, BAD} if mode == "split" else {GOOD})
        aliases = {
            alias["name"]: alias["target"] for alias in (await trial.people.get("/v1/aliases"))["aliases"]
        }
        assert aliases[ALIAS] == f"{GOOD}:1"
        assert trial.sample(ROLLBACKS, experiment=NAME, reason="error_rate") == 1
        asked_of_bad = trial.engines[BAD].calls
        for name in (ALIAS, NAME):
            later = await trial.people.ask(name, planted_asks(9, 50))
            assert {one.parameters.get("assignment", "single") for one in later} == {"single"}
        assert trial.engines[BAD].calls == asked_of_bad, "nobody asks the arm any more"
    (line,) = [line for line in _audit(tmp_path) if line["act"] == "rollback_experiment"]
    assert (line["target"], line["principal"], line["outcome"]) == (NAME, "guardrail", "ok")


@SLOW
async def test_it_is_rolled_back_while_paused(tmp_path: Path) -> None:
    """What proves the harm is written only once the pause is in force: it is rolled back from there."""
    async with trial_gateway(tmp_path, {GOOD: Truth(), BAD: Truth()}, experiments=POLLS) as trial:
        people = trial.people
        await people.start(_design("split"))
        trial.engines[BAD].truth = Truth(failing=0.5)
        paused = await people.post(f"/v1/experiments/{NAME}:pause", {"reason": "a test"})
        with _no_writes(tmp_path / "experiments.db"):
            told = await people.ask(NAME, planted_asks(1, 120))
            assert any(one.parameters["assignment"] == "fallback" for one in told), "the pause came too early"
            await people.in_force(NAME, paused["version"])
            assert len(await people.history(NAME)) == paused["version"], "nothing is proven yet"
        await eventually(lambda: _is_over(trial), "the paused experiment is rolled back")
        before, last = (await people.history(NAME))[-2:]
        assert before["state"] == "paused"
        _check_rolled_back(last)
        assert {one.status for one in told} == {OK}


def _design(mode: str) -> Json:
    return {"name": NAME, **two_arms(GOOD, BAD, mode, guardrails=[GUARDRAIL], alias=ALIAS)}


def _check_rolled_back(version: Json) -> None:
    assert (version["state"], version["act"], version["author"]) == ("rolled_back", "rollback", "guardrail")
    assert version["reason"].startswith(f"guardrail error_rate: arm '{BAD}'")
    assert version["effective_at"] == version["created_at"], "it holds at once"


async def _until_rolled_back(trial: TrialGateway) -> tuple[float, list[Told]]:
    """Send traffic until some time after the rollback; when the proof was written, and the answers."""
    stop = asyncio.Event()
    asks = takewhile(lambda _: not stop.is_set(), planted_asks(1, MOST_REQUESTS))
    async with asyncio.TaskGroup() as group:
        traffic = group.create_task(trial.people.ask(ALIAS, asks, CALLERS))
        proof = group.create_task(asyncio.to_thread(_time_of_proof, trial.gateway.config.experiments_url))
        try:
            await eventually(lambda: _is_over(trial), "the experiment is rolled back")
            await asyncio.sleep(2 * POLL_S)
        finally:
            stop.set()
    return proof.result(), traffic.result()


async def _is_over(trial: TrialGateway) -> bool:
    state: str = (await trial.people.get(f"/v1/experiments/{NAME}"))["state"]
    return state == "rolled_back"


def _time_of_proof(url: str) -> float:
    """Unix time at which the ledger did not yet hold the evidence, moments before it did."""
    ledger = Ledger.open(url)
    try:
        experiment = ledger.versions.history(NAME)[1]
        before, ends = time.time(), time.time() + PATIENCE_S
        while time.time() < ends:
            now = time.time()
            seen = study(experiment, ledger.reading.evidence(experiment.id), now)
            if any(row.state is Guard.TRIPPED for row in guardrails(seen)):
                return before
            before = now
            time.sleep(0.02)  # each look takes time from the gateway, which is in this process
    finally:
        ledger.close()
    raise AssertionError("no evidence of harm has been written")


@contextmanager
def _no_writes(database: Path) -> Iterator[None]:
    """Nobody else writes into a SQLite file inside."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _audit(folder: Path) -> list[Json]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
