"""Two gateways on one PostgreSQL are one, whichever is asked, and whatever becomes of the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from serve.experiments import keys
from serve.sections import ExperimentsConfig
from tests.e2e.experimenter import OK, Ask, Json, Told, eventually, pairs_of, two_arms
from tests.e2e.planted import Truth
from tests.e2e.trial_gateway import POLL_S, TrialGateway, planted_asks, trial_gateway
from tests.ledger.postgres import HOW, PostgresServer, postgres_server

pytestmark = pytest.mark.needs_program("initdb", how=HOW)

NAME = "which"
RELOADED = "attnserve_config_reload_success"
ALIKE = {"one": Truth(), "other": Truth()}
TOLD = 100


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; a test that stops it starts it again."""
    with postgres_server(durable=False) as server:
        yield server


@asynccontextmanager
async def _two(
    folder: Path, postgres: PostgresServer, truths: dict[str, Truth]
) -> AsyncIterator[tuple[TrialGateway, TrialGateway]]:
    """Two gateways that share a new database and the keys."""
    database = f"of_{folder.name}"
    file = folder / "keys.yaml"
    keys.make(file)
    settings = ExperimentsConfig(
        store_url=postgres.create(database), keys_file=file, poll_interval_s=POLL_S, max_mirrors=64
    )
    try:
        async with AsyncExitStack() as running:
            first, second = [
                await running.enter_async_context(
                    trial_gateway(folder / number, truths, experiments=settings)
                )
                for number in ("first", "second")
            ]
            yield first, second
    finally:
        postgres.drop(database)


@pytest.mark.slow
async def test_they_agree(tmp_path: Path, postgres: PostgresServer) -> None:
    """On every unit's arm, on a ramp from its moment on, and on outcomes that go to the other one."""
    async with _two(tmp_path, postgres, ALIKE) as (first, second):
        await _start(first, second, "split", ramp=5000)
        before = await _same_answers(first, second)
        assert 0 < before.count("hash") < len(before)

        ramped = await first.people.act(NAME, "ramp", ramp=10_000)
        await second.people.in_force(NAME, ramped["version"])
        assert time.time() >= _unix(ramped["effective_at"])
        assert set(await _same_answers(first, second)) == {"hash"}

        told = await first.people.ask(NAME, planted_asks(2, TOLD))
        assert await second.people.tell(NAME, told) == ["accepted"] * TOLD
        for gateway in (first, second):
            await gateway.people.report(NAME, lambda found: _sum(found, "labelled") == TOLD)


@pytest.mark.slow
async def test_a_rollback_holds_on_both(tmp_path: Path, postgres: PostgresServer) -> None:
    """Both see that an arm does harm, one of them rolls back, and both obey within two polls."""
    truths = {"one": Truth(), "other": Truth(failing=0.2)}
    guardrail = {"metric": "error_rate", "max_ratio": 1.5, "alpha": 0.01}
    async with _two(tmp_path, postgres, truths) as (first, second):
        await _start(first, second, "split", guardrails=[guardrail])
        told: list[Told] = []
        asks = planted_asks(1, 6000)

        async def both_are_over() -> bool:
            part = list(islice(asks, 60))
            for gateway in (first, second):
                told.extend(await gateway.people.ask(NAME, part))
            return all(one.parameters["assignment"] == "single" for one in told[-2 * len(part) :])

        await eventually(both_are_over, "both answer from the control")
        versions = await first.people.history(NAME)
        over = [version for version in versions if version["act"] == "rollback"]
        assert [version["author"] for version in over] == ["guardrail"], "one of them was first"
        effective_at = _unix(over[0]["effective_at"])
        enrolled = [one.at for one in told if one.parameters["assignment"] != "single"]
        assert max(enrolled) <= effective_at + 2 * POLL_S
        assert {one.status for one in told} == {OK}


async def test_the_store_goes_away(tmp_path: Path, postgres: PostgresServer) -> None:
    """Both serve on and say so, outcomes are refused; once it is back all that waited adds up."""
    async with _two(tmp_path, postgres, ALIKE) as (first, second):
        await _start(first, second, "paired")
        halves = [list(planted_asks(seed, TOLD)) for seed in (1, 2)]
        told = await _ask_both(first, second, halves[0])
        await asyncio.to_thread(postgres.stop)
        try:
            for gateway in (first, second):
                await eventually(partial(_reloads, gateway, 0.0), "it says that it cannot read")
            told += await _ask_both(first, second, halves[1])
            assert {one.parameters["assignment"] for one in told} == {"hash"}, "it serves on as before"
            outcome = {"feedback_token": told[0].parameters["feedback_token"], "label": told[0].ask.label}
            for gateway in (first, second):
                path = f"/v1/experiments/{NAME}/outcomes"
                refused = await gateway.people.rest.post(path, json={"outcomes": [outcome]})
                assert refused.status_code == 503
        finally:
            await asyncio.to_thread(postgres.start)
        for gateway in (first, second):
            await eventually(partial(_reloads, gateway, 1.0), "it reads again")
        assert await second.people.tell(NAME, told) == ["accepted"] * len(told)
        report = await first.people.report(NAME, lambda found: pairs_of(found) == len(told))
        assert _sum(report, "calls") == _sum(report, "labelled") == 2 * len(told), "both arms, all images"
        assert not [row for row in report["health"] if row["check"].startswith("dropped") and row["value"]]


async def _start(first: TrialGateway, second: TrialGateway, mode: str, **more: object) -> None:
    started = await first.people.start({"name": NAME, **two_arms("one", "other", mode, **more)})
    await second.people.in_force(NAME, started["version"])


async def _same_answers(first: TrialGateway, second: TrialGateway) -> list[str]:
    """Ask both about the same units; the assignments, on which they agree, as on the arms."""
    asks = list(planted_asks(1, 200))
    answers = [
        [
            (one.parameters["arm"], one.parameters["assignment"])
            for one in await gateway.people.ask(NAME, asks)
        ]
        for gateway in (first, second)
    ]
    assert answers[0] == answers[1]
    return [assignment for _, assignment in answers[0]]


async def _ask_both(first: TrialGateway, second: TrialGateway, asks: Iterable[Ask]) -> list[Told]:
    asks = list(asks)
    middle = len(asks) // 2
    told = await first.people.ask(NAME, asks[:middle]) + await second.people.ask(NAME, asks[middle:])
    assert {one.status for one in told} == {OK}
    return told


async def _reloads(gateway: TrialGateway, value: float) -> bool:
    return gateway.sample(RELOADED, what="experiments") == value


def _sum(report: Json, metric: str) -> int:
    return int(sum(row["estimate"] for row in report["rows"] if row["metric"] == metric))


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
