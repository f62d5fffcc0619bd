"""What reports are made from: sums, never single rows, so that a report costs the same after any time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict

from pydantic import TypeAdapter
from sqlalchemy import BindParameter, bindparam, func, select

from serve.core.evidence import ArmEvidence, Evidence, Look, PhaseEvidence
from serve.ledger.bulk import add_new
from serve.ledger.database import Database
from serve.ledger.schema import experiment, experiment_version, latency, look, sums
from serve.ledger.settling import newest

_LOOK = TypeAdapter(Look)
_OURS: BindParameter[int] = bindparam("experiment_id")
_SUMS = select(sums.c.phase, sums.c.arm, sums.c.name, sums.c.value).where(sums.c.experiment_id == _OURS)
_LATENCY = select(latency.c.phase, latency.c.arm, latency.c.bucket, latency.c.count).where(
    latency.c.experiment_id == _OURS
)
_STARTED = select(func.min(experiment_version.c.effective_at)).where(
    experiment_version.c.experiment_id == _OURS, experiment_version.c.act == "start"
)
_Place = tuple[int, int]  # phase, arm


class Reading:
    """Reads what reports need, and keeps what was reported."""

    def __init__(self, database: Database) -> None:
        """Read from that database."""
        self._database = database

    def activity(self) -> Mapping[int, int]:
        """For each experiment's id a number that grows whenever its evidence changes.

        Raises:
            LedgerError: The store does not answer.
        """
        with self._database.reading() as connection:
            rows = connection.execute(select(experiment.c.id, experiment.c.writes))
            return {row.id: row.writes for row in rows}

    def evidence(self, experiment_id: int) -> Evidence:
        """The sums of an experiment that is there, all of one moment.

        Raises:
            LedgerError: The store does not answer.
        """
        counts: defaultdict[_Place, dict[str, float]] = defaultdict(dict)
        buckets: defaultdict[_Place, dict[int, int]] = defaultdict(dict)
        with self._database.reading() as connection:
            version = newest(connection, experiment_id)
            since = connection.execute(_STARTED, {"experiment_id": experiment_id}).scalar_one()
            for phase, arm, name, value in connection.execute(_SUMS, {"experiment_id": experiment_id}):
                counts[phase, arm][name] = value
            for phase, arm, bucket, count in connection.execute(_LATENCY, {"experiment_id": experiment_id}):
                buckets[phase, arm][bucket] = count
        arms = range(len(version.design.arms))
        return Evidence(
            phases=tuple(
                PhaseEvidence(
                    phase=phase,
                    weights=weights,
                    arms=tuple(
                        ArmEvidence(sums=counts[phase, arm], latency=buckets[phase, arm]) for arm in arms
                    ),
                )
                for phase, weights in enumerate(version.phases)
            ),
            since=since,
        )

    def looks(self, experiment_id: int) -> tuple[Look, ...]:
        """What was reported so far, oldest first.

        Raises:
            LedgerError: The store does not answer.
        """
        query = select(look.c.document).where(look.c.experiment_id == experiment_id).order_by(look.c.at)
        with self._database.reading() as connection:
            return tuple(
                _LOOK.validate_python(json.loads(text)) for text in connection.execute(query).scalars()
            )

    def add_look(self, experiment_id: int, seen: Look) -> None:
        """Keep what was reported; of two at the same time the first stays.

        Raises:
            LedgerError: The store does not answer.
        """
        # An end of an interval may be infinite, for which JSON has no word; Python's has.
        row = {"experiment_id": experiment_id, "at": seen.at, "document": json.dumps(asdict(seen))}
        with self._database.writing() as connection:
            add_new(connection, look, [row])
