"""The tables of the ledger, the same in SQLite and PostgreSQL.

`serve/ledger/migrations` makes them; a test finds any difference between the two. Times are Unix times in
seconds. A `prediction` and a `unit` are 32 hexadecimal digits, an `arm` is its index in the design.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from serve.core.tally import FIELDS

# Every constraint has a name of its own, so that a later migration can speak of it.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=_NAMES)

_HEX = String(32)


def _experiment_key() -> Column[int]:
    """The first column of everything that belongs to one experiment."""
    return Column("experiment_id", ForeignKey("experiment.id"), primary_key=True)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


# One row an experiment. Whoever writes anything of an experiment locks its row first.
experiment = Table(
    "experiment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    # Grows with every write that can change a figure of the report.
    _count("writes"),
    # Raw rows of requests before this time are gone, so nothing that is told of them now can be counted.
    Column("purged_before", Double, nullable=False, server_default=text("0")),
)

# Append-only: triggers refuse to change or delete a row. `seq` numbers the versions of all experiments and
# aliases in the order in which they can be seen; `digest` chains each version to the one before it.
experiment_version = Table(
    "experiment_version",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("experiment_id", ForeignKey("experiment.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("document", Text, nullable=False),  # JSON, see serve.ledger.coding
    Column("state", String(16), nullable=False),
    Column("effective_at", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("act", String(16), nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    UniqueConstraint("experiment_id", "number"),
)

alias_version = Table(
    "alias_version",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("target", Text, nullable=False),
    Column("effective_at", Double, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    UniqueConstraint("name", "number"),
)

# What one unit did with one arm in one phase: `serve.core.tally.UnitTally`. Found by unit, in all its phases.
unit = Table(
    "unit",
    metadata,
    _experiment_key(),
    Column("unit", _HEX, primary_key=True),
    Column("phase", Integer, primary_key=True),
    Column("arm", Integer, primary_key=True),
    *(_count(name) for name in FIELDS),
)

# One arm's call: `serve.core.record.CallRecord`. Purged after a time; what it added to the sums stays.
prediction = Table(
    "prediction",
    metadata,
    _experiment_key(),
    Column("prediction", _HEX, primary_key=True),
    Column("arm", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("phase", Integer, nullable=False),
    Column("unit", _HEX, nullable=False),
    Column("role", String(8), nullable=False),
    Column("at", Double, nullable=False),
    Column("model", String(64), nullable=False),
    Column("model_version", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    _flag("failed"),
    _count("latency_us"),
    _count("queue_us"),
    Column("answers", Text, nullable=False),  # one an image, see serve.ledger.answers
    _flag("recorded"),  # false where only a feedback token told of it so far
    Column("first_item", Integer),  # with an arm, never the control: the image that is its unit's first pair
    _flag("differs"),  # with an arm, never the control: it said something else of an image than the control
    Index(None, "experiment_id", "at", "prediction", "arm"),
)
Index(
    "ix_prediction_differs",
    prediction.c.experiment_id,
    prediction.c.at,
    prediction.c.prediction,
    postgresql_where=prediction.c.differs,
    sqlite_where=prediction.c.differs,
)

# True labels. One can be here before its prediction.
outcome = Table(
    "outcome",
    metadata,
    _experiment_key(),
    Column("prediction", _HEX, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("label", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("at", Double, nullable=False),
    _flag("disputed"),  # somebody told another label later
)

# The sums of `serve.core.tally` over all units. Double precision holds whole numbers exactly up to 2**53.
sums = Table(
    "sum",
    metadata,
    _experiment_key(),
    Column("phase", Integer, primary_key=True),
    Column("arm", Integer, primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Double, nullable=False),
)

# How many calls were answered in such a time; the buckets are those of serve.core.statistics.quantile.
latency = Table(
    "latency",
    metadata,
    _experiment_key(),
    Column("phase", Integer, primary_key=True),
    Column("arm", Integer, primary_key=True),
    Column("bucket", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

# What each evaluation showed: `serve.core.evidence.Look`.
look = Table(
    "look",
    metadata,
    _experiment_key(),
    Column("at", Double, primary_key=True),
    Column("document", Text, nullable=False),  # JSON
)

# Bytes of images that the arms disagree on, where the design asks for them.
image = Table(
    "image",
    metadata,
    _experiment_key(),
    Column("prediction", _HEX, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("content", LargeBinary, nullable=False),
)
