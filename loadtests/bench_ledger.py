"""`python -m loadtests.bench_ledger`: how fast records and outcomes are settled, and evidence is read.

Both databases in turn, or the one that is named by its address. SQLite's file lies in a temporary folder,
PostgreSQL is one of its own there, with its own settings: what is acknowledged is on the disk.
"""

from __future__ import annotations

import random
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from sqlalchemy import insert

from loadtests.console import wide
from serve.core.experiment import Arm, Design, Experiment, Guardrail, Mode, State
from serve.core.record import CallRecord, Outcome, Receipt, Role, Said, Ticket
from serve.core.statistics.quantile import bucket_of
from serve.core.tally import UnitTally, products
from serve.ledger.database import Database
from serve.ledger.ledger import Ledger
from serve.ledger.schema import latency, sums
from tests.ledger.postgres import postgres_server

GOAL_PER_S = 2_000
PHASES, ARMS, CLASSES = 3, 2, 100
DIFFER, RIGHT = 0.1, 0.9  # shares of the pairs, and of the answers
MANY = 10_000_000  # outcomes

console = wide()

_Fact = TypeVar("_Fact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What was measured of one database.

    Attributes:
        records: Calls a second, written in batches.
        outcomes: Outcomes a second, in such batches, each settled with its pair.
        lone_ms: One outcome that goes alone, until it is durable.
        evidence_ms: Reading the evidence of an experiment with ten million outcomes.
    """

    records: float
    outcomes: float
    lone_ms: float
    evidence_ms: float


def main(
    *,
    url: Annotated[str, typer.Option(help="Measure that database only; it gets new experiments.")] = "",
    predictions: Annotated[int, typer.Option(help="Pairs to write.", min=1000)] = 20_000,
    batch: Annotated[int, typer.Option(help="Facts that are written at once.", min=1)] = 500,
) -> None:
    """Measure how fast a ledger is. Takes about a minute; nothing else should run meanwhile."""
    table = Table("database", "records/s", "outcomes/s", "lone outcome", "evidence of 10 million")
    for name, address in _databases(url):
        speed = measure(address, predictions, batch)
        table.add_row(
            name,
            f"{speed.records:,.0f}",
            f"{speed.outcomes:,.0f}",
            f"{speed.lone_ms:.1f} ms",
            f"{speed.evidence_ms:.1f} ms",
        )
    console.print(table)
    console.print(f"Goal: {GOAL_PER_S:,} outcomes a second into PostgreSQL, on two cores with the server.")


def measure(address: str, predictions: int, batch: int) -> Speed:
    """Measure one database."""
    ledger = Ledger.open(address)
    try:
        experiment = _begun(ledger)
        calls = list(_calls(experiment, predictions))
        outcomes = [_outcome(call) for call in calls if not call.arm]
        records_s = _timed(lambda part: ledger.records.write(part, []), calls, batch)
        outcomes_s = _timed(lambda part: _accepted(ledger, part), outcomes, batch)
        more = list(_calls(experiment, 50))
        ledger.records.write(more, [])
        lone = [_outcome(call) for call in more if not call.arm]
        lone_s = _timed(lambda part: _accepted(ledger, part), lone, 1)
        return Speed(
            records=len(calls) / records_s,
            outcomes=len(outcomes) / outcomes_s,
            lone_ms=lone_s / len(lone) * 1000,
            evidence_ms=_evidence_s(address, ledger) * 1000,
        )
    finally:
        ledger.close()


@contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{Path(folder) / 'experiments.db'}"


@contextmanager
def _postgresql() -> Iterator[str]:
    with postgres_server() as server:
        yield server.create("bench")


def _databases(url: str) -> Iterator[tuple[str, str]]:
    """Name and address of each, one after the other."""
    if url:
        yield "given", url
        return
    for name, opened in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
        with opened() as address:
            yield name, address


def _begun(ledger: Ledger) -> Experiment:
    """A paired experiment that runs."""
    arms = tuple(Arm(name=name, model=name, version="1", weight=5000) for name in ("control", "treatment"))
    design = Design(
        name=f"bench-{secrets.token_hex(6)}",
        mode=Mode.PAIRED,
        arms=arms,
        guardrails=(Guardrail(metric="slo_exceedance", threshold_ms=200),),
    )
    draft = Experiment(
        number=1,
        design=design,
        state=State.DRAFT,
        effective_at=time.time(),
        created_at=time.time(),
        act="create",
        author="bench",
        reason="measure",
    )
    started = replace(
        ledger.versions.add(draft),
        number=2,
        state=State.RUNNING,
        phases=(design.weights,) * PHASES,
        labels=tuple(map(str, range(CLASSES))),
        act="start",
    )
    return ledger.versions.append(started)


def _calls(experiment: Experiment, predictions: int) -> Iterator[CallRecord]:
    """Both arms' calls; a unit has about ten requests."""
    units = [secrets.token_hex(16) for _ in range(max(1, predictions // 10))]
    for _ in range(predictions):
        prediction, unit, top1 = secrets.token_hex(16), random.choice(units), random.randrange(CLASSES)
        for arm in range(ARMS):
            other = arm and random.random() < DIFFER
            yield CallRecord(
                experiment=experiment.id,
                version=experiment.number,
                phase=0,
                prediction=prediction,
                unit=unit,
                arm=arm,
                role=Role.MIRROR if arm else Role.SERVED,
                at=time.time(),
                model=experiment.design.arms[arm].model,
                model_version="1",
                outcome="ok",
                failed=False,
                latency_us=round(random.lognormvariate(10, 0.4)),
                queue_us=100,
                answers=(Said(top1=(top1 + other) % CLASSES, confidence=random.randrange(5000, 10_000)),),
            )


def _outcome(call: CallRecord) -> Outcome:
    """The caller says which class it was."""
    ticket = Ticket(
        experiment=call.experiment,
        version=call.version,
        phase=call.phase,
        prediction=call.prediction,
        unit=call.unit,
        arm=call.arm,
        issued_at=int(call.at),
        answers=call.answers,
    )
    classes = [said.top1 for said in call.answers if said] if random.random() < RIGHT else range(CLASSES)
    return Outcome(
        ticket=ticket,
        experiment=call.experiment,
        prediction=call.prediction,
        item=0,
        label=random.choice(classes),
        source="bench",
        at=time.time(),
    )


def _accepted(ledger: Ledger, batch: Sequence[Outcome]) -> None:
    if set(ledger.records.outcomes(batch)) != {Receipt.ACCEPTED}:
        raise RuntimeError("an outcome was not accepted")


def _timed(write: Callable[[Sequence[_Fact]], None], facts: Sequence[_Fact], batch: int) -> float:
    """Seconds that it takes to write all."""
    begun = time.perf_counter()
    for at in range(0, len(facts), batch):
        write(facts[at : at + batch])
    return time.perf_counter() - begun


def _evidence_s(address: str, ledger: Ledger) -> float:
    """Seconds to read the evidence of an experiment with many outcomes."""
    experiment = grown(address, ledger)
    return min(_timed(lambda part: _read(ledger, part), [experiment], 1) for _ in range(5))


def grown(address: str, ledger: Ledger) -> Experiment:
    """An experiment with `MANY` outcomes, of which only the sums are written."""
    experiment = _begun(ledger)
    tally = UnitTally(calls=10, labelled=10, right=9, brier=900, pairs=10, differ=1, scored=10)
    units = MANY // (PHASES * tally.labelled)
    names = {name: float(units * value) for name, value in products(tally).items()}
    names |= {
        f"confusion:{label}:{said}": float(MANY // CLASSES**2)
        for label in range(CLASSES)
        for said in range(CLASSES)
    }
    places = [
        {"experiment_id": experiment.id, "phase": phase, "arm": arm}
        for phase in range(PHASES)
        for arm in range(ARMS)
    ]
    database = Database.connect(address)
    with database.writing() as connection:
        rows = [place | {"name": name, "value": value} for place in places for name, value in names.items()]
        connection.execute(insert(sums), rows)
        buckets = [
            place | {"bucket": bucket, "count": units}
            for place in places
            for bucket in range(bucket_of(1_000), bucket_of(1_000_000))
        ]
        connection.execute(insert(latency), buckets)
    database.close()
    return experiment


def _read(ledger: Ledger, experiments: Sequence[Experiment]) -> None:
    for experiment in experiments:
        evidence = ledger.reading.evidence(experiment.id)
        if len(evidence.phases) != PHASES:
            raise RuntimeError("the evidence is not what was written")


if __name__ == "__main__":
    typer.run(main)
