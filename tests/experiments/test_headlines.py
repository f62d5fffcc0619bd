"""The verdicts of a list: known without waiting, found where they are not, and never a reason to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from serve.core.experiment import Experiment
from serve.core.report import Report, evaluate
from serve.core.verdict import Verdict
from serve.experiments import headlines, reports
from serve.experiments.headlines import Headlines
from serve.ledger.database import LedgerError
from tests.experiments.gateway import ANNA, calls, design, gateways


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the experiments that are evaluated, as they are."""
    names: list[str] = []

    def noting(experiment: Experiment, *rest: Any) -> Report:  # noqa: ANN401  passed on
        names.append(experiment.name)
        return evaluate(experiment, *rest)

    monkeypatch.setattr(reports, "evaluate", noting)
    return names


async def test_a_headline_is_what_the_report_says(tmp_path: Path) -> None:
    """Verdict and sentence are those of the whole report; a draft has none."""
    async with gateways(tmp_path) as (gateway,):
        started = await gateway.started(primary_metric="error_rate")
        await gateway.desk.create(design(name="draft"), "why", ANNA)
        gateway.ledger.records.write(calls(started, 0, 3000) + calls(started, 1, 3000, failed=900), [])
        found = await gateway.desk.headlines()
        report = (await gateway.desk.report(started.name)).report
        assert report.verdict is not Verdict.INSUFFICIENT_DATA
        assert {name: (one.verdict, one.sentence) for name, one in found.items()} == {
            started.name: (report.verdict, report.sentence)
        }


async def test_what_is_known_is_not_evaluated_again(
    tmp_path: Path, evaluated: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question evaluates, the next does not, though reports are gone; a write or an act does again."""
    monkeypatch.setattr(reports, "MOST_KEPT", 0)
    async with gateways(tmp_path) as (gateway,):
        started = await gateway.started()
        first = await gateway.desk.headlines()
        assert await gateway.desk.headlines() == first
        assert evaluated == [started.name]
        gateway.ledger.records.write(calls(started, 0, 30), [])
        await gateway.desk.headlines()
        await gateway.act(started.name, "pause")
        await gateway.desk.headlines()
        assert evaluated == [started.name] * 3


async def test_the_watch_makes_them_known(tmp_path: Path, evaluated: list[str]) -> None:
    """What runs is evaluated at the poll, and not once more for a list."""
    async with gateways(tmp_path) as (gateway,):
        started = await gateway.started()
        await gateway.poll()
        assert evaluated == [started.name]
        assert set(await gateway.desk.headlines()) == {started.name}
        assert evaluated == [started.name]


async def test_the_newest_come_first_and_the_others_later(tmp_path: Path, evaluated: list[str]) -> None:
    """When the time is over the rest is left for the next question; in the end all are known."""
    async with gateways(tmp_path) as (gateway,):
        names = [f"number-{number}" for number in range(6)]
        for name in names:
            await gateway.started(name=name)
        clock = chain([0.0] * 4, repeat(headlines.BUDGET_S))  # when it ends, and three looks that begin one
        asked = Headlines(gateway.desk.reports, clock=lambda: next(clock))
        assert set(await asked.of(gateway.desk.list())) == set(names[-3:])
        assert sorted(evaluated) == names[-3:]
        assert set(await gateway.desk.headlines()) == set(names)


async def test_traffic_takes_no_verdict_away(tmp_path: Path, evaluated: list[str]) -> None:
    """What was last known is told until there is time, and what nothing is known of goes first."""
    async with gateways(tmp_path) as (gateway,):
        older = await gateway.started(name="older")
        reports_ = gateway.desk.reports
        gone = Headlines(reports_, clock=chain([0.0], repeat(headlines.BUDGET_S)).__next__)
        busy = await gateway.started(name="busy")
        await reports_.learn(busy, 0)
        evaluated.clear()
        gateway.ledger.records.write(calls(busy, 0, 30), [])
        assert set(await gone.of([busy])) == {busy.name}
        assert evaluated == []
        one_look = chain([0.0, 0.0], repeat(headlines.BUDGET_S))
        found = await Headlines(reports_, clock=one_look.__next__).of([busy, older])
        assert (set(found), evaluated) == ({busy.name, older.name}, [older.name])


async def test_few_are_evaluated_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many people look at the list, and nothing is evaluated twice for it."""
    async with gateways(tmp_path) as (gateway,):
        names = [f"number-{number}" for number in range(5)]
        for name in names:
            await gateway.started(name=name)
        now, most, all_of_them = 0, 0, []
        learn = gateway.desk.reports.learn

        async def counting(experiment: Experiment, writes: int) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            all_of_them.append(experiment.name)
            await learn(experiment, writes)
            now -= 1

        monkeypatch.setattr(gateway.desk.reports, "learn", counting)
        monkeypatch.setattr(headlines, "BUDGET_S", 60.0)
        found = await asyncio.gather(*(gateway.desk.headlines() for _ in range(4)))
        assert most == headlines.MOST_AT_ONCE
        assert all(set(one) == set(names) for one in found)


async def test_one_that_cannot_be_evaluated_spoils_no_list(
    tmp_path: Path, evaluated: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays unknown, is told once and not tried again before something is written of it."""
    async with gateways(tmp_path) as (gateway,):
        bad, good = await gateway.started(name="bad"), await gateway.started(name="good")

        def failing(experiment: Experiment, *rest: Any) -> Report:  # noqa: ANN401  passed on
            if experiment.name == bad.name:
                evaluated.append("tried")
                raise ZeroDivisionError
            return evaluate(experiment, *rest)

        monkeypatch.setattr(reports, "evaluate", failing)
        for _ in range(2):
            assert set(await gateway.desk.headlines()) == {good.name}
        assert evaluated.count("tried") == 1
        gateway.ledger.records.write(calls(bad, 0, 1), [])
        assert set(await gateway.desk.headlines()) == {good.name}
        assert evaluated.count("tried") == 2


async def test_a_lost_ledger_leaves_a_list_without_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first question, or between it and the evaluation: nothing is raised, nothing is told."""
    async with gateways(tmp_path) as (gateway,):
        await gateway.started()
        with monkeypatch.context() as lost:
            lost.setattr(gateway.ledger.reading, "evidence", _lost)
            assert await gateway.desk.headlines() == {}
            lost.setattr(gateway.ledger.reading, "activity", _lost)
            assert await gateway.desk.headlines() == {}
        assert set(await gateway.desk.headlines()) == {"se-or-eca"}


def _lost(*_: object) -> Mapping[int, int]:
    raise LedgerError("the disk is gone")
