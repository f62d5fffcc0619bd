"""The A/A trial: two arms of one version, created, counted, reported on and stopped at a real gateway."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import pytest

from loadtests.running.trial import ARMS, Trial, TrialError, Twins, running_trial
from loadtests.scrape import scrape
from serve.sections import ExperimentsConfig, TokenConfig
from tests.e2e.experimenter import OK, Told
from tests.e2e.planted import Truth
from tests.e2e.trial_gateway import TrialGateway, planted_asks, trial_gateway

MODEL = "one"
ALIKE = {MODEL: Truth(wrong=0.1, call_s=0.001)}
QUICK_POLLS = ExperimentsConfig(poll_interval_s=0.1)
REQUESTS = 240
NOTHING = {"insufficient_data", "undecided", "no_difference"}
NOBODY = "http://127.0.0.1:9"  # the discard port: nobody listens


def arms_counted(trial: Trial, url: str) -> dict[str, int]:
    """Requests by arm, as the gateway's metrics page says."""
    page = scrape(url)
    return {
        arm: int(page.total("attnserve_experiment_requests_total", experiment=trial.name, arm=arm))
        for arm in ARMS
    }


@asynccontextmanager
async def entered(context: AbstractContextManager[Trial]) -> AsyncIterator[Trial]:
    """A context that blocks, beside a gateway in the same process."""
    trial = await asyncio.to_thread(context.__enter__)
    try:
        yield trial
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def ask(gateway: TrialGateway, trial: Trial, seed: int = 0) -> list[Told]:
    """Send requests, each another unit's, all of which must be answered."""
    told = await gateway.people.ask(trial.name, planted_asks(seed, REQUESTS))
    assert {one.status for one in told} == {OK}
    return told


async def test_a_split_trial_counts_each_request_at_one_arm_and_finds_nothing(tmp_path: Path) -> None:
    """Replies, both counters of the gateway and its report agree; afterwards the experiment is stopped."""
    async with trial_gateway(tmp_path, ALIKE, experiments=QUICK_POLLS) as gateway:
        addresses, said = gateway.gateway.addresses, list[str]()
        async with entered(running_trial(addresses.http, "", Twins(model=MODEL), said.append)) as trial:
            told = await ask(gateway, trial)
            counted = await asyncio.to_thread(arms_counted, trial, addresses.metrics)
            report = await asyncio.to_thread(trial.report, REQUESTS)
        stopped = await gateway.people.get(f"/v1/experiments/{trial.name}")
    assert counted == Counter(one.parameters["arm"] for one in told)
    assert min(counted.values()) > REQUESTS / 4
    served = {"model": MODEL, "version": "1", "protocol": "http", "outcome": "ok"}
    assert gateway.sample("attnserve_requests_total", **served) == REQUESTS
    assert {one.model for one in told} == {MODEL}
    assert {(arm["model"], arm["version"]) for arm in report["arms"]} == {(MODEL, "1")}
    assert report["verdict"] in NOTHING
    assert (stopped["state"], said) == ("stopped", [])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["paired", "shadow"])
async def test_a_mirrored_trial_counts_the_twins_calls_only_for_the_experiment(
    mode: str, tmp_path: Path
) -> None:
    """The control answers every caller; what the twin does beside it is no request of the model."""
    async with trial_gateway(tmp_path, ALIKE, experiments=QUICK_POLLS) as gateway:
        addresses = gateway.gateway.addresses
        context = running_trial(addresses.http, "", Twins(model=MODEL, version="1", mode=mode), print)
        async with entered(context) as trial:
            told = await ask(gateway, trial)
            report = await asyncio.to_thread(trial.report, REQUESTS)
            counted = await asyncio.to_thread(arms_counted, trial, addresses.metrics)
    assert {one.parameters["arm"] for one in told} == {"control"}
    assert counted == dict.fromkeys(ARMS, REQUESTS)
    served = {"model": MODEL, "version": "1", "protocol": "http", "outcome": "ok"}
    assert gateway.sample("attnserve_requests_total", **served) == REQUESTS
    (agreement,) = (row for row in report["rows"] if row["metric"] == "agreement")
    assert report["verdict"] in NOTHING, agreement


@pytest.mark.slow
async def test_what_the_gateway_cannot_know_of_is_not_waited_for_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that lacks answers is one all the same, and it is said how many it knows of."""
    said: list[str] = []
    monkeypatch.setattr("loadtests.running.trial.PATIENCE_S", 0.3)
    async with trial_gateway(tmp_path, ALIKE, experiments=QUICK_POLLS) as gateway:
        context = running_trial(gateway.gateway.addresses.http, "", Twins(model=MODEL), said.append)
        async with entered(context) as trial:
            await ask(gateway, trial)
            report = await asyncio.to_thread(trial.report, REQUESTS + 1)
    assert report["experiment"] == trial.name
    (line,) = said
    assert f"of {REQUESTS + 1} requests that were answered the gateway's report knows {REQUESTS};" in line


async def test_an_experiment_that_stays_behind_is_named(tmp_path: Path) -> None:
    """When the gateway is gone before the end, somebody is told what to stop later, and how."""
    said: list[str] = []
    async with trial_gateway(tmp_path, ALIKE, experiments=QUICK_POLLS) as gateway:
        context = running_trial(gateway.gateway.addresses.http, "", Twins(model=MODEL), said.append)
        trial = await asyncio.to_thread(context.__enter__)
    await asyncio.to_thread(context.__exit__, None, None, None)
    (line,) = said
    assert f"the experiment {trial.name!r} is left behind" in line
    assert f"attnserve experiment stop {trial.name}" in line


async def test_a_gateway_without_experiments_is_told_apart(tmp_path: Path) -> None:
    """The message names the setting."""
    async with trial_gateway(tmp_path, ALIKE, experiments=ExperimentsConfig(enabled=False)) as gateway:
        with pytest.raises(TrialError, match=r"cannot be created: .* disabled .*set experiments\.enabled"):
            await asyncio.to_thread(enter, gateway.gateway.addresses.http, "", Twins(model=MODEL))


async def test_a_token_must_allow_it(tmp_path: Path) -> None:
    """A token that may only infer is refused with the role that is needed, and is not shown."""
    secret = "infer-only"  # noqa: S105  of this test
    digest = hashlib.sha256(secret.encode()).hexdigest()
    tokens = (TokenConfig(name="load", role="infer", sha256=digest),)
    async with trial_gateway(tmp_path, ALIKE, experiments=QUICK_POLLS, tokens=tokens) as gateway:
        with pytest.raises(
            TrialError, match="needs 'operate'; give a token with the role operate"
        ) as refused:
            await asyncio.to_thread(enter, gateway.gateway.addresses.http, secret, Twins(model=MODEL))
        with pytest.raises(TrialError, match="401"):
            await asyncio.to_thread(enter, gateway.gateway.addresses.http, "", Twins(model=MODEL))
    assert secret not in str(refused.value)


async def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Nothing is created for a model that the gateway does not have."""
    async with trial_gateway(tmp_path, ALIKE, experiments=QUICK_POLLS) as gateway:
        with pytest.raises(TrialError, match="404: model 'stranger' is not found"):
            await asyncio.to_thread(enter, gateway.gateway.addresses.http, "", Twins(model="stranger"))
        found = await gateway.people.get("/v1/experiments")
    assert found["experiments"] == []


def test_a_mode_that_there_is_not_is_refused() -> None:
    """The message names the ones that there are."""
    with pytest.raises(TrialError, match="mode: is 'duel', must be one of split, shadow, paired"):
        Twins(model=MODEL, mode="duel")


@pytest.mark.parametrize(
    ("url", "says"),
    [(NOBODY, "refused"), ("127.0.0.1:8000", "experiments are asked for over REST, http://host:port")],
)
def test_an_address_that_does_not_answer_is_named(url: str, says: str) -> None:
    """Nobody there, or no address at all."""
    with pytest.raises(TrialError, match=says):
        enter(url, "", Twins(model=MODEL))


def enter(url: str, token: str, twins: Twins) -> None:
    """Begin a trial that must not begin."""
    with running_trial(url, token, twins, print):
        pytest.fail("it began")
