"""Loads what is known of predictions and their units, and writes what has changed: `serve.core.settling`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from serve.core.accounting import Call, Known, Label, Rules, UnitKey
from serve.core.experiment import Experiment
from serve.core.record import CallRecord, Role
from serve.core.settling import Changes, Kept, Settling
from serve.core.tally import FIELDS, UnitTally
from serve.ledger.answers import decoded, encoded
from serve.ledger.bulk import add_new, among, grow, put, rows_of
from serve.ledger.coding import experiment_of
from serve.ledger.schema import (
    experiment,
    experiment_version,
    image,
    latency,
    outcome,
    prediction,
    sums,
    unit,
)

# Columns of a call that its record has under the same name.
_SAME = (
    "prediction", "arm", "version", "phase", "unit", "at", "model", "model_version", "outcome", "failed",
    "latency_us", "queue_us",
)  # fmt: skip

_CALLS = among(prediction.c.prediction, prediction)
_LABELS = among(outcome.c.prediction, outcome)
_TALLIES = among(unit.c.unit, unit)


def newest(connection: Connection, experiment_id: int) -> Experiment:
    """The latest version of an experiment that is there."""
    mine = select(experiment_version).where(experiment_version.c.experiment_id == experiment_id)
    query = mine.order_by(experiment_version.c.number.desc()).limit(1)
    return experiment_of(dict(connection.execute(query).mappings().one()))


def load(
    connection: Connection, version: Experiment, predictions: Collection[str], units: Iterable[str]
) -> Settling:
    """What is known of these predictions, their units and those that are named beside."""
    known = known_of(connection, version.id, predictions)
    calls = chain.from_iterable(one.calls.values() for one in known.values())
    wanted = {*units, *(call.record.unit for call in calls)}
    tallies = rows_of(connection, _TALLIES, version.id, wanted)
    purged = select(experiment.c.purged_before).where(experiment.c.id == version.id)
    return Settling(
        rules=Rules.of(version),
        known=known,
        units=dict(map(_tally_of, tallies)),
        purged_before=connection.execute(purged).scalar_one(),
    )


def known_of(connection: Connection, experiment_id: int, predictions: Collection[str]) -> dict[str, Known]:
    """All that is there of these predictions."""
    known: defaultdict[str, Known] = defaultdict(Known)
    for row in rows_of(connection, _CALLS, experiment_id, predictions):
        known[row.prediction].calls[row.arm] = _call_of(row)
    for row in rows_of(connection, _LABELS, experiment_id, predictions):
        label = Label(label=row.label, source=row.source, at=row.at, disputed=row.disputed)
        known[row.prediction].labels[row.item] = label
    return dict(known)


def save(connection: Connection, version: Experiment, changes: Changes) -> None:
    """Write what has changed."""
    if not changes:
        return
    own = {"experiment_id": version.id}
    put(connection, prediction, [own | _row_of(call) for call in changes.calls])
    put(connection, outcome, [own | _label_row(key, label) for key, label in changes.labels.items()])
    put(connection, unit, [own | _unit_row(key, tally) for key, tally in changes.units.items()])
    counts = [
        own | {"phase": phase, "arm": arm, "name": name, "value": float(value)}
        for (phase, arm, name), value in changes.sums.items()
    ]
    grow(connection, sums, "value", counts)
    buckets = [
        own | {"phase": phase, "arm": arm, "bucket": bucket, "count": count}
        for (phase, arm, bucket), count in changes.latency.items()
    ]
    grow(connection, latency, "count", buckets)
    _keep(connection, version, changes.images)
    one_more = {"writes": experiment.c.writes + 1}
    connection.execute(update(experiment).where(experiment.c.id == version.id).values(one_more))


def _keep(connection: Connection, version: Experiment, images: Iterable[Kept]) -> None:
    """Keep images as long as there is room for them."""
    allowed = version.design.keep_images
    fresh = list(images)
    if allowed is None or not fresh:
        return
    count = select(func.count()).select_from(image).where(image.c.experiment_id == version.id)
    room = allowed.max_images - connection.execute(count).scalar_one()
    rows = [
        {"experiment_id": version.id, "prediction": one.prediction, "item": one.item, "at": one.at}
        | {"content": one.content}
        for one in fresh[: max(0, room)]
    ]
    add_new(connection, image, rows)


def _call_of(row: Row[Any]) -> Call:
    record = CallRecord(
        experiment=row.experiment_id,
        role=Role(row.role),
        answers=decoded(row.answers),
        **{name: getattr(row, name) for name in _SAME},
    )
    return Call(record=record, recorded=row.recorded, first_item=row.first_item, differs=row.differs)


def _row_of(call: Call) -> dict[str, Any]:
    record = call.record
    return {
        "role": record.role.value,
        "answers": encoded(record.answers),
        "recorded": call.recorded,
        "first_item": call.first_item,
        "differs": call.differs,
        **{name: getattr(record, name) for name in _SAME},
    }


def _label_row(key: tuple[str, int], label: Label) -> dict[str, Any]:
    name, item = key
    return {
        "prediction": name,
        "item": item,
        "label": label.label,
        "source": label.source,
        "at": label.at,
        "disputed": label.disputed,
    }


def _tally_of(row: Row[Any]) -> tuple[UnitKey, UnitTally]:
    values: Mapping[str, int] = {name: getattr(row, name) for name in FIELDS}
    return (row.phase, row.unit, row.arm), UnitTally(**values)


def _unit_row(key: UnitKey, tally: UnitTally) -> dict[str, Any]:
    phase, name, arm = key
    return {"phase": phase, "unit": name, "arm": arm, **{field: getattr(tally, field) for field in FIELDS}}
