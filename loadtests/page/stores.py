"""Experiments to look at: one whose traffic is simulated, and one with ten million outcomes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Final

from sqlalchemy import insert, update

from loadtests.bench_ledger import grown
from loadtests.example_report import HOURS, HOURS_BETWEEN_LOOKS, SEED, versions
from loadtests.sorting_line import HOUR, SortingLine
from serve.core.experiment import Experiment, State
from serve.core.report import evaluate, look
from serve.ledger.database import Database
from serve.ledger.ledger import Ledger
from serve.ledger.schema import experiment as experiments
from serve.ledger.schema import look as looks

# A gateway keeps a look whenever an experiment is older by this share: `serve.experiments.looks`.
GROWTH: Final = 1 / 200
FIRST_LOOK_S: Final = 60.0
AGE_S: Final = 30 * 86400.0


def write_simulated(url: str, now: float) -> str:
    """Write the experiment of `loadtests.example_report` hour by hour, as a gateway does; gives its name.

    Args:
        url: Of a ledger that no gateway uses yet.
        now: Unix time at which its last hour ends.
    """
    ledger, line, start = Ledger.open(url), SortingLine(SEED), now - HOURS * HOUR
    try:
        history = _appended(ledger, versions(HOURS, start))
        for hour in range(HOURS):
            at = start + HOUR * hour
            version = [one for one in history if one.effective_at <= at][-1]
            if version.state is State.RUNNING:
                calls, outcomes = line.hour(version, at)
                ledger.records.write(calls)
                ledger.records.outcomes(outcomes)
            if hour % HOURS_BETWEEN_LOOKS == HOURS_BETWEEN_LOOKS - 1:
                report = evaluate(version, ledger.reading.evidence(version.id), at + HOUR)
                ledger.reading.add_look(version.id, look(report))
        return version.name
    finally:
        ledger.close()


def write_grown(url: str) -> str:
    """Write an experiment with ten million outcomes, 100 classes, a month of looks; gives its name."""
    ledger = Ledger.open(url)
    try:
        experiment = grown(url, ledger)
        now = time.time()
        shown = look(evaluate(experiment, ledger.reading.evidence(experiment.id), now))
    finally:
        ledger.close()
    rows = [
        {"experiment_id": experiment.id, "at": at, "document": json.dumps(asdict(replace(shown, at=at)))}
        for at in _times(now)
    ]
    database = Database.connect(url)
    with database.writing() as connection:
        connection.execute(insert(looks), rows)
    database.close()
    return experiment.name


def touch(url: str, name: str) -> None:
    """Let it seem that something was written of an experiment: no report of it is kept any longer."""
    database = Database.connect(url)
    with database.writing() as connection:
        known = update(experiments).where(experiments.c.name == name)
        connection.execute(known.values(writes=experiments.c.writes + 1))
    database.close()


def _appended(ledger: Ledger, history: Iterator[Experiment]) -> list[Experiment]:
    """All versions, as the ledger has them."""
    first = ledger.versions.add(next(history))
    return [first, *(ledger.versions.append(replace(version, id=first.id)) for version in history)]


def _times(now: float) -> Iterator[float]:
    """When a gateway would have kept looks, oldest first."""
    age = FIRST_LOOK_S
    while age < AGE_S:
        yield now - AGE_S + age
        age *= 1 + GROWTH
