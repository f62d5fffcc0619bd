"""Forgets what is kept for a time only: single predictions and their labels, images, hashes of units.

The sums stay, and with them every figure of the report. What is forgotten cannot be settled any more, so the
experiment remembers until when it was: what is told of earlier requests is not taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sqlalchemy import Column, ColumnElement, Connection, Table, bindparam, delete, select, true, update

from serve.core.experiment import ENDED, Experiment
from serve.ledger.bulk import CHUNK
from serve.ledger.database import Database
from serve.ledger.schema import experiment, image, outcome, prediction, unit
from serve.ledger.settling import newest

_DAY_S = 86_400.0


def purge(database: Database, now: float, keep_raw_days: float) -> None:
    """Forget what is too old, a little at a time.

    Images go after the days that the design allows, all at once when it does not ask for them any more; with
    their predictions at the latest. Hashes of units go when the experiment has ended and its last prediction
    is forgotten.

    Args:
        database: Where.
        now: Unix time.
        keep_raw_days: How long predictions and their labels are kept.

    Raises:
        LedgerError: The store does not answer; what is left goes the next time.
    """
    # Tickets are issued at whole seconds, too.
    before = math.floor(now - keep_raw_days * _DAY_S)
    with database.reading() as connection:
        identities = connection.execute(select(experiment.c.id)).scalars().all()
    for identity in identities:
        with database.writing(identity) as connection:
            version = newest(connection, identity)
            _forget_images(connection, version, now)
            earlier = (experiment.c.id == identity, experiment.c.purged_before < before)
            connection.execute(update(experiment).where(*earlier).values(purged_before=before))
        _forget_predictions(database, identity, before)
        if version.state in ENDED and version.effective_at < before:
            _forget_units(database, identity)


def _forget_images(connection: Connection, version: Experiment, now: float) -> None:
    asked = version.design.keep_images
    before = now - asked.days * _DAY_S if asked else math.inf
    connection.execute(delete(image).where(image.c.experiment_id == version.id, image.c.at < before))


def _forget_predictions(database: Database, identity: int, before: float) -> None:
    tables = (outcome, image, prediction)
    while _forget_some(database, identity, prediction.c.prediction, prediction.c.at < before, tables):
        pass


def _forget_units(database: Database, identity: int) -> None:
    while _forget_some(database, identity, unit.c.unit, true(), (unit,)):
        pass


def _forget_some(
    database: Database, identity: int, key: Column[str], which: ColumnElement[bool], tables: Sequence[Table]
) -> bool:
    """Delete all rows of a few keys of those rows; whether there were any."""
    with database.writing(identity) as connection:
        ours = (key.table.c.experiment_id == identity, which)
        found = set(connection.execute(select(key).where(*ours).limit(CHUNK)).scalars())
        for table in tables if found else ():
            # One by one, for the same reason as in `serve.ledger.bulk`.
            one = (table.c.experiment_id == identity, table.c[key.name] == bindparam("key"))
            connection.execute(delete(table).where(*one), [{"key": name} for name in found])
    return bool(found)
