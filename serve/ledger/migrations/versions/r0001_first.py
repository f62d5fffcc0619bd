"""The first tables. What they mean stands in `serve.ledger.schema`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY_TYPES = {"prediction": sa.String(32), "unit": sa.String(32)}
_APPEND_ONLY = ("experiment_version", "alias_version")
_TALLY = (
    "calls",
    "failures",
    "labelled",
    "right",
    "brier",
    "pairs",
    "differ",
    "differ_labelled",
    "signed",
    "scored",
    "brier_change",
)


def upgrade() -> None:
    """From an empty database."""
    _create_documents()
    _create_raw_rows()
    _create_sums()
    for table in _APPEND_ONLY:
        _refuse_changes(table)


def _create_documents() -> None:
    op.create_table(
        "experiment",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.Double, nullable=False),
        _count("writes"),
        sa.Column("purged_before", sa.Double, nullable=False, server_default=sa.text("0")),
    )
    op.create_table(
        "experiment_version",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiment.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("effective_at", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("act", sa.String(16), nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.UniqueConstraint("experiment_id", "number"),
    )
    op.create_table(
        "alias_version",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("effective_at", sa.Double, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.UniqueConstraint("name", "number"),
    )


def _create_raw_rows() -> None:
    op.create_table(
        "prediction",
        *_keys("prediction", "arm"),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("phase", sa.Integer, nullable=False),
        sa.Column("unit", sa.String(32), nullable=False),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("model_version", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        _flag("failed"),
        _count("latency_us"),
        _count("queue_us"),
        sa.Column("answers", sa.Text, nullable=False),
        _flag("recorded"),
        sa.Column("first_item", sa.Integer),
        _flag("differs"),
        sa.Index(None, "experiment_id", "at", "prediction", "arm"),
    )
    differs = sa.column("differs", sa.Boolean)
    op.create_index(
        "ix_prediction_differs",
        "prediction",
        ["experiment_id", "at", "prediction"],
        postgresql_where=differs,
        sqlite_where=differs,
    )
    op.create_table(
        "outcome",
        *_keys("prediction", "item"),
        sa.Column("label", sa.Integer, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        _flag("disputed"),
    )
    op.create_table(
        "image",
        *_keys("prediction", "item"),
        sa.Column("at", sa.Double, nullable=False, index=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )


def _create_sums() -> None:
    op.create_table("unit", *_keys("unit", "phase", "arm"), *(_count(name) for name in _TALLY))
    op.create_table(
        "sum",
        *_keys("phase", "arm"),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Double, nullable=False),
    )
    op.create_table(
        "latency", *_keys("phase", "arm", "bucket"), sa.Column("count", sa.BigInteger, nullable=False)
    )
    op.create_table(
        "look",
        *_keys(),
        sa.Column("at", sa.Double, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )


def _keys(*names: str) -> list[sa.Column[Any]]:
    """The columns of a primary key that begins with the experiment."""
    experiment = sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiment.id"), primary_key=True)
    return [
        experiment,
        *(sa.Column(name, _KEY_TYPES.get(name, sa.Integer), primary_key=True) for name in names),
    ]


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def _refuse_changes(table: str) -> None:
    for statement in _REFUSE_CHANGES[op.get_bind().dialect.name]:
        op.execute(statement.format(table=table))


_REFUSE_CHANGES = {
    "sqlite": (
        """
        CREATE TRIGGER {table}_keeps_rows BEFORE DELETE ON {table}
        BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
        """,
        """
        CREATE TRIGGER {table}_keeps_values BEFORE UPDATE ON {table}
        BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
        """,
    ),
    "postgresql": (
        """
        CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE restrict_violation USING MESSAGE = TG_TABLE_NAME || ' is append-only'; END $$
        """,
        """
        CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """,
    ),
}
