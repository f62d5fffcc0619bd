"""Plans: what is in force on a gateway, read from the ledger, changed at the moment that was agreed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from serve.core.experiment import Alias, Experiment, Mode, State
from serve.experiments.plans import Plans
from serve.experiments.threads import LedgerThreads
from serve.ledger.database import LedgerError
from serve.ledger.ledger import Ledger
from serve.metrics import Metrics
from tests.experiments.trial_house import design_of, running


class Clock:
    """Unix time, moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gateway:
    """One gateway's plans on a ledger that others may share."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self.ledger = Ledger.open(url)
        self.threads = LedgerThreads()
        self.plans = Plans(self.ledger, self.threads, Metrics(self.registry), clock, 2.0)

    def states(self) -> dict[str, tuple[int, str]]:
        """Version and state of what is in force."""
        return {name: (one.number, one.state.value) for name, one in self.plans.current.experiments.items()}

    def close(self) -> None:
        """End its threads and connections."""
        self.threads.close()
        self.ledger.close()


@pytest.fixture
def clock() -> Clock:
    """The time of a test."""
    return Clock()


@pytest.fixture
def gateways(tmp_path: Path, clock: Clock) -> Iterator[tuple[Gateway, Gateway]]:
    """Two gateways of one ledger."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    both = Gateway(url, clock), Gateway(url, clock)
    yield both
    for one in both:
        one.close()


def draft() -> Experiment:
    """A first version."""
    return replace(running(design_of(Mode.SPLIT)), id=0, number=1, state=State.DRAFT, act="create")


async def test_a_version_holds_from_its_moment_on_everywhere(
    gateways: tuple[Gateway, Gateway], clock: Clock
) -> None:
    """Who writes it and who reads it change at the same time; until then the older one holds."""
    writer, reader = gateways
    first = writer.ledger.versions.add(draft())
    writer.plans.apply(first)
    await reader.plans.refresh()
    second = writer.ledger.versions.append(
        replace(first, number=2, state=State.RUNNING, effective_at=1004.0, act="start")
    )
    writer.plans.apply(second)
    await reader.plans.refresh()
    for gateway in gateways:
        assert gateway.states() == {"trial": (1, "draft")}
        assert gateway.plans.newest("trial") == second
    clock.now = 1004.0
    for gateway in gateways:
        await gateway.plans.refresh()
        assert gateway.states() == {"trial": (2, "running")}
        standing = gateway.plans.find("trial")
        assert standing
        assert standing.experiment == second


async def test_a_rollback_overtakes_what_is_still_to_come(
    gateways: tuple[Gateway, Gateway], clock: Clock
) -> None:
    """It holds as soon as it is read, whatever the clock of its author, and for good."""
    writer, reader = gateways
    first = writer.ledger.versions.add(draft())
    versions = [
        replace(first, number=2, state=State.RUNNING, effective_at=1004.0, act="start"),
        replace(first, number=3, state=State.ROLLED_BACK, effective_at=1001.0, act="rollback"),
    ]
    for version in versions:
        writer.plans.apply(writer.ledger.versions.append(version))
    for clock.now in (1000.0, 1001.0, 1004.0, 2000.0):
        for gateway in (writer, reader):
            await gateway.plans.refresh()
            assert gateway.states() == {"trial": (3, "rolled_back")}


async def test_a_ledger_that_does_not_answer_leaves_the_last_known_in_force(
    gateways: tuple[Gateway, Gateway], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metric says so, and how old what is known is can be asked."""
    writer, reader = gateways
    writer.ledger.versions.add(draft())
    await reader.plans.refresh()

    def broken(_seq: int) -> None:
        raise LedgerError

    monkeypatch.setattr(reader.ledger.versions, "since", broken)
    clock.now = 1030.0
    await reader.plans.refresh()
    labels = {"what": "experiments"}
    assert reader.registry.get_sample_value("attnserve_config_reload_success", labels) == 0
    assert (reader.plans.stale, reader.plans.stale_s) == (True, 30.0)
    assert reader.states() == {"trial": (1, "draft")}
    monkeypatch.undo()
    await reader.plans.refresh()
    assert reader.registry.get_sample_value("attnserve_config_reload_success", labels) == 1
    assert (reader.plans.stale, reader.plans.stale_s) == (False, 0.0)


async def test_aliases_change_like_experiments(gateways: tuple[Gateway, Gateway], clock: Clock) -> None:
    """Each points where its newest effective version says."""
    writer, reader = gateways
    for number, (target, at) in enumerate((("digits_se", 1000.0), ("digits_eca:1", 1005.0)), start=1):
        writer.ledger.versions.put_alias(
            Alias(
                name="production",
                number=number,
                target=target,
                effective_at=at,
                author="test",
                reason="test",
            )
        )
    await reader.plans.refresh()
    assert reader.plans.current.aliases == {"production": "digits_se"}
    clock.now = 1005.0
    await reader.plans.refresh()
    assert reader.plans.current.aliases == {"production": "digits_eca:1"}


async def test_who_listens_hears_of_each_change_once(gateways: tuple[Gateway, Gateway]) -> None:
    """With the plan before and the plan after; nothing new is no change."""
    writer, reader = gateways
    heard: list[tuple[list[str], list[str]]] = []
    reader.plans.on_change = lambda old, new: heard.append((list(old.experiments), list(new.experiments)))
    writer.ledger.versions.add(draft())
    await reader.plans.refresh()
    await reader.plans.refresh()
    assert heard == [([], ["trial"])]


async def test_a_bug_in_reading_is_survived_and_told(
    gateways: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was known stays in force, and who asks for a change hears of the bug."""
    writer, reader = gateways
    writer.ledger.versions.add(draft())
    known = [reader.plans.known]
    await reader.plans.refresh()
    assert [*known, reader.plans.known] == [False, True]

    def broken(_seq: int) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(reader.ledger.versions, "since", broken)
    await reader.plans.refresh()
    assert reader.plans.stale
    assert reader.states() == {"trial": (1, "draft")}
    with pytest.raises(ZeroDivisionError):
        await reader.plans.read()
