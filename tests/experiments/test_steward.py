"""What the gateway does about experiments by itself, on a real ledger and a clock that only a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from serve.core.experiment import Experiment, State
from serve.core.record import CallRecord, Outcome, Role, Said
from serve.core.report.rows import Health
from serve.experiments import reports
from serve.ledger.database import LedgerError
from tests.experiments.gateway import PLAIN, POLL_S, Gateway, calls, gateways

GUARDED: dict[str, Any] = {"guardrails": [{"metric": "error_rate", "max_ratio": 1.5, "alpha": 0.01}]}
PAIRED: dict[str, Any] = {"mode": "paired", "planned_units": 1000}
VERDICTS = 7


async def test_harm_is_rolled_back_within_two_polls(tmp_path: Path) -> None:
    """An arm that fails 8 % of its calls is taken out, with reason, audit, metric and an error in the log."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started(alias="production", **GUARDED)
        gateway.metrics.start_experiment(experiment)
        await gateway.poll()
        harm(gateway, experiment)
        harmed_at = gateway.clock()
        with capture_logs() as logs:
            await polls(gateway, 2)
        ended = gateway.plans.current.experiments["se-or-eca"]
        assert (ended.state, ended.author, ended.act) == (State.ROLLED_BACK, "guardrail", "rollback")
        assert ended.effective_at - harmed_at <= 2 * POLL_S
        assert "guardrail error_rate: arm 'eca' 20 of 250 calls, control 0 of 250" in ended.reason
        assert gateway.plans.current.aliases["production"] == "digits_se:1"
        assert gateway.sample("rollbacks_total", experiment="se-or-eca", reason="error_rate") == 1
        told = [line for line in logs if line["log_level"] == "error"]
        assert [(line["event"], line["experiment"]) for line in told] == [
            ("experiment rolled back", "se-or-eca")
        ]
        audited = [line for line in logs if line["event"] == "audit"]
        assert [(line["act"], line["principal"]) for line in audited] == [
            ("rollback_experiment", "guardrail")
        ]


@pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED])
async def test_guardrails_act_in_every_live_state(tmp_path: Path, state: State) -> None:
    """A paused experiment is rolled back as well: it would harm again when it is resumed."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started(**GUARDED)
        if state is State.PAUSED:
            await gateway.act("se-or-eca", "pause")
        assert gateway.desk.get("se-or-eca").state is state
        harm(gateway, experiment)
        await polls(gateway, 2)
        assert gateway.desk.get("se-or-eca").state is State.ROLLED_BACK


async def test_arms_that_fail_alike_are_left_alone(tmp_path: Path) -> None:
    """Errors of both arms are no reason to roll back, however many."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started(**GUARDED)
        both = calls(experiment, 0, 250, failed=20) + calls(experiment, 1, 250, failed=20)
        gateway.ledger.records.write(both)
        await polls(gateway, 2)
        assert gateway.desk.get("se-or-eca").state is State.RUNNING


async def test_two_stewards_roll_back_once(tmp_path: Path) -> None:
    """Of several gateways that see the harm at the same moment one acts, and all know it."""
    async with gateways(tmp_path, 2) as (here, there):
        experiment = await here.started(**GUARDED)
        await there.plans.refresh()
        harm(here, experiment)
        await asyncio.gather(here.steward.look(), there.steward.look())
        history = await here.desk.audit("se-or-eca")
        assert [version.act for version in history] == ["create", "start", "rollback"]
        counts = [
            gateway.sample("rollbacks_total", experiment="se-or-eca", reason="error_rate")
            for gateway in (here, there)
        ]
        assert sorted(count or 0 for count in counts) == [0, 1]
        for gateway in (here, there):
            assert gateway.desk.get("se-or-eca").state is State.ROLLED_BACK
            assert gateway.sample("watch_success") == 1


async def test_an_operator_who_was_first_is_not_overruled(tmp_path: Path) -> None:
    """What a person has ended meanwhile on another gateway stays as that person has put it."""
    async with gateways(tmp_path, 2) as (here, there):
        experiment = await here.started(**GUARDED)
        await there.plans.refresh()
        harm(here, experiment)
        await there.act("se-or-eca", "promote", replace(PLAIN, arm="eca"))
        await here.steward.look()
        assert here.desk.get("se-or-eca").state is State.PROMOTED
        assert here.desk.get("se-or-eca").author == "anna"


async def test_an_outage_of_the_store_is_survived_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the ledger is down the steward keeps trying, says so once, and acts as soon as it is back."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started(**GUARDED)
        harm(gateway, experiment)

        def down(*_: object) -> None:
            raise LedgerError

        with capture_logs() as logs:
            with monkeypatch.context() as patch:
                patch.setattr(gateway.ledger.reading, "activity", down)
                patch.setattr(gateway.ledger.versions, "since", down)
                await polls(gateway, 3)
                assert gateway.sample("watch_success") == 0
                reload = {"what": "experiments"}
                assert gateway.registry.get_sample_value("attnserve_config_reload_success", reload) == 0
            await polls(gateway, 1)
        assert gateway.desk.get("se-or-eca").state is State.ROLLED_BACK
        assert gateway.sample("watch_success") == 1
        events = [line["event"] for line in logs]
        assert events.count("experiments cannot be watched, guardrails do not act") == 1
        assert events.count("experiments are watched again") == 1


async def test_a_rollback_that_could_not_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Harm that was seen while the ledger took no versions is not forgotten."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started(**GUARDED)
        harm(gateway, experiment)

        def down(*_: object) -> None:
            raise LedgerError

        with monkeypatch.context() as patch:
            patch.setattr(gateway.ledger.versions, "append", down)
            await polls(gateway, 1)
        assert gateway.desk.get("se-or-eca").state is State.RUNNING
        await polls(gateway, 1)
        assert gateway.desk.get("se-or-eca").state is State.ROLLED_BACK


async def test_one_experiments_trouble_does_not_hide_anothers_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An experiment that cannot be evaluated is told of, and the others are watched all the same."""
    async with gateways(tmp_path) as (gateway,):
        odd = await gateway.started(name="a-is-odd")
        experiment = await gateway.started(**GUARDED)
        harm(gateway, experiment)
        evidence = gateway.ledger.reading.evidence

        def broken_for_one(identity: int) -> object:
            if identity == odd.id:
                raise ZeroDivisionError
            return evidence(identity)

        monkeypatch.setattr(gateway.ledger.reading, "evidence", broken_for_one)
        with capture_logs() as logs:
            await polls(gateway, 3)
        assert gateway.desk.get("se-or-eca").state is State.ROLLED_BACK
        assert gateway.sample("watch_success") == 0
        assert [line["event"] for line in logs].count("experiment cannot be seen to") == 1


async def test_a_policy_promotes_what_is_better(tmp_path: Path) -> None:
    """Where it was written down beforehand the better arm is promoted, and its alias follows."""
    async with gateways(tmp_path) as (gateway,):
        policy = {"promote_when_better": True, "guardrails": [{"metric": "error_rate"}]}
        experiment = await gateway.started(alias="production", **policy, **PAIRED)
        await labelled(gateway, experiment, right=(180, 270))
        await polls(gateway, 3)
        ended = gateway.plans.current.experiments["se-or-eca"]
        assert (ended.state, ended.author, ended.standing.name) == (State.PROMOTED, "policy", "eca")
        assert "promote_when_better" in ended.reason
        assert gateway.plans.current.aliases["production"] == "digits_eca:1"


async def test_without_a_policy_a_person_promotes(tmp_path: Path) -> None:
    """A verdict alone changes nothing: it is shown and left to people."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started(**PAIRED)
        await labelled(gateway, experiment, right=(180, 270))
        await polls(gateway, 3)
        assert gateway.desk.get("se-or-eca").state is State.RUNNING
        assert gateway.sample("verdict", experiment="se-or-eca", verdict="better") == 1
        shown = [
            sample.value
            for metric in gateway.registry.collect()
            for sample in metric.samples
            if sample.name == "attnserve_experiment_verdict"
        ]
        assert (len(shown), sum(shown)) == (VERDICTS, 1)


async def test_a_broken_comparison_ends_nothing_and_is_told(tmp_path: Path) -> None:
    """Arms that get other shares than designed make no winner, whatever their figures, and no rollback."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started(promote_when_better=True, primary_metric="error_rate", **GUARDED)
        lopsided = calls(experiment, 0, 900, failed=200) + calls(experiment, 1, 300)
        gateway.ledger.records.write(lopsided)
        with capture_logs() as logs:
            await polls(gateway, 3)
        assert gateway.desk.get("se-or-eca").state is State.RUNNING
        assert gateway.sample("verdict", experiment="se-or-eca", verdict="broken") == 1
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["comparison is broken"]


async def test_harm_counts_even_where_figures_do_not(tmp_path: Path) -> None:
    """A comparison that is broken does not keep a guardrail from acting."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started(**GUARDED)
        gateway.ledger.records.write(calls(experiment, 0, 900) + calls(experiment, 1, 300, failed=40))
        await polls(gateway, 2)
        assert gateway.desk.get("se-or-eca").state is State.ROLLED_BACK
        assert [health.state for health in (await gateway.desk.report("se-or-eca")).report.health].count(
            Health.BROKEN
        ) == 1


async def test_looks_stay_few(tmp_path: Path) -> None:
    """A look is kept of each new evaluation at first, and in the long run one for each part of the age."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started()
        written = calls(experiment, 0, 20)
        for number in range(5):
            gateway.ledger.records.write(written[number : number + 1])
            await polls(gateway, 1)
        assert len(gateway.ledger.reading.looks(experiment.id)) == 5
        await gateway.passes(1e6)
        for number in range(5, 20):
            gateway.ledger.records.write(written[number : number + 1])
            await polls(gateway, 1)
        assert len(gateway.ledger.reading.looks(experiment.id)) == 6


async def test_nothing_new_is_not_evaluated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll asks how much was written, and reads the sums only of experiments where that has changed."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started()
        asked: list[int] = []
        evidence = gateway.ledger.reading.evidence

        def counted(identity: int) -> object:
            asked.append(identity)
            return evidence(identity)

        monkeypatch.setattr(gateway.ledger.reading, "evidence", counted)
        monkeypatch.setattr(reports, "MOST_KEPT", 0)
        await polls(gateway, 3)
        gateway.ledger.records.write(calls(experiment, 0, 1))
        await polls(gateway, 3)
        assert asked == [experiment.id] * 2


async def test_an_ended_experiment_has_no_series(tmp_path: Path) -> None:
    """Its series go when its end is in force, but a rollback stays for the alert that looks for it."""
    async with gateways(tmp_path) as (gateway,):
        for name in ("stopped", "harmed"):
            experiment = await gateway.started(name=name, **GUARDED)
            gateway.metrics.start_experiment(experiment)
        harm(gateway, experiment)
        await gateway.poll()
        await gateway.act("stopped", "stop")
        await polls(gateway, 1)
        left = {
            (sample.name, sample.labels["experiment"])
            for metric in gateway.registry.collect()
            for sample in metric.samples
            if "experiment" in sample.labels and not sample.name.endswith("_created")
        }
        assert left == {("attnserve_experiment_rollbacks_total", "harmed")}


async def test_series_stay_until_an_end_is_in_force(tmp_path: Path) -> None:
    """Between the act and its effect requests are still counted, so their series are still there."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.started()
        await gateway.poll()
        await gateway.act("se-or-eca", "promote")
        await gateway.poll()
        shown = {"experiment": "se-or-eca", "verdict": "insufficient_data"}
        assert gateway.sample("verdict", **shown) == 1
        await polls(gateway, 2)
        assert gateway.sample("verdict", **shown) is None


async def test_an_alias_that_was_left_behind_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that dies between a rollback and the alias leaves nothing that a steward does not mend."""
    async with gateways(tmp_path, 2) as (here, there):
        await here.started(alias="production")

        def down(*_: object) -> None:
            raise LedgerError

        with monkeypatch.context() as patch:
            patch.setattr(here.ledger.versions, "put_alias", down)
            with pytest.raises(LedgerError):
                await here.act("se-or-eca", "rollback")
        await there.plans.refresh()
        assert there.plans.current.experiments["se-or-eca"].state is State.ROLLED_BACK
        assert there.plans.current.aliases["production"] == "se-or-eca"
        await here.steward.look()
        await there.steward.look()
        for gateway in (here, there):
            assert gateway.plans.current.aliases["production"] == "digits_se:1"
            assert gateway.sample("watch_success") == 1
        assert len(here.ledger.versions.alias_history("production")) == 2


async def test_it_runs_until_cancelled(tmp_path: Path) -> None:
    """The task looks at once and then at every poll, whatever happens, until it is cancelled."""
    async with gateways(tmp_path) as (gateway,):
        experiment = await gateway.started(**GUARDED)
        harm(gateway, experiment)
        task = asyncio.create_task(gateway.steward.run())
        for _ in range(500):
            await asyncio.sleep(0.01)
            if gateway.desk.get("se-or-eca").state is State.ROLLED_BACK:
                break
        assert gateway.desk.get("se-or-eca").state is State.ROLLED_BACK
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def polls(gateway: Gateway, count: int) -> None:
    """Let that many polling intervals pass, each with its poll."""
    for _ in range(count):
        gateway.clock.now += POLL_S
        await gateway.poll()


def harm(gateway: Gateway, experiment: Experiment) -> None:
    """Write calls of which the second arm fails 20 of 250 and the control none."""
    gateway.ledger.records.write(calls(experiment, 0, 250) + calls(experiment, 1, 250, failed=20))


async def labelled(gateway: Gateway, experiment: Experiment, right: Sequence[int], count: int = 300) -> None:
    """Write pairs with labels; each arm is right in its first so many."""
    records: list[CallRecord] = []
    for number in range(count):
        for index, one in enumerate(calls(experiment, 0, 1) * len(right)):
            top1 = number % 10 if number < right[index] else (number + 1) % 10
            records.append(
                replace(
                    one,
                    prediction=f"{number:032x}",
                    unit=f"{number:032x}",
                    arm=index,
                    role=Role.MIRROR if index else Role.SERVED,
                    answers=(Said(top1=top1, confidence=9000),),
                )
            )
    gateway.ledger.records.write(records)
    outcomes = [
        Outcome(
            ticket=None,
            experiment=experiment.id,
            prediction=f"{number:032x}",
            item=0,
            label=number % 10,
            source="test",
            at=gateway.clock(),
        )
        for number in range(count)
    ]
    gateway.ledger.records.outcomes(outcomes)
