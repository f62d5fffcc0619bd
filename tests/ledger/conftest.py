"""An empty ledger in each of the two databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.ledger.database import Database
from serve.ledger.ledger import Ledger
from serve.ledger.migrating import migrate
from serve.ledger.schema import metadata
from tests.ledger.postgres import HOW, PostgresServer, postgres_server

_SHARED = "shared"

NEEDS_POSTGRES = pytest.mark.needs_program("initdb", how=HOW)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; a test that stops it starts it again."""
    with postgres_server(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def _migrated(postgres: PostgresServer) -> str:
    database = Database.connect(postgres.create(_SHARED))
    migrate(database)
    database.close()
    return _SHARED


@pytest.fixture
def postgres_url(postgres: PostgresServer, _migrated: str) -> str:
    """A database in PostgreSQL that has all tables, and nothing in them; who changes a table mends it."""
    postgres.empty(_migrated, metadata.tables)
    return postgres.url(_migrated)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that is not there yet."""
    return f"sqlite:///{tmp_path}/experiments.db"


@pytest.fixture(params=["sqlite_url", pytest.param("postgres_url", marks=NEEDS_POSTGRES)])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty ledger."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    opened = Ledger.open(ledger_url)
    yield opened
    opened.close()
