"""Brings a database's tables to what this version of the program needs, when the ledger is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from serve.ledger.database import Database, LedgerError

# Of PostgreSQL's advisory lock, which is known to nobody else: the letters of the name.
_LOCK_KEY = int.from_bytes(b"attnserv", "big")
_WAIT_MS = 60_000

# Alembic keeps what it works on in module variables.
_one_at_a_time = Lock()


def migrate(database: Database) -> None:
    """Create or bring up to date all tables. Several gateways may do this at once: one does, others wait.

    Raises:
        LedgerError: The store does not answer, was written by a newer program, or does not let this user
            make tables.
    """
    database.prepare()
    config = Config()
    config.set_main_option("script_location", "serve.ledger:migrations")
    scripts = ScriptDirectory.from_config(config)
    with _one_at_a_time:
        with database.reading() as connection, _explained():
            if _is_current(connection, scripts):
                return
        with database.writing() as connection, _explained():
            _have_it_alone(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        message = "the experiment store's tables cannot be read, made or changed"
        raise LedgerError(message, detail=f"{error.orig}") from error


def _is_current(connection: Connection, scripts: ScriptDirectory) -> bool:
    here = MigrationContext.configure(connection).get_current_revision()
    if here not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise LedgerError(
            f"the experiment store has schema {here!r}, which a newer version of attnserve wrote; this one "
            f"knows up to {scripts.get_current_head()!r}"
        )
    return here == scripts.get_current_head()


def _have_it_alone(connection: Connection) -> None:
    """SQLite's write transaction is alone already."""
    if connection.dialect.name != "postgresql":
        return
    for limit in ("statement_timeout", "lock_timeout"):
        connection.execute(text(f"SET LOCAL {limit} = {_WAIT_MS}"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
