"""The tables as the migrations make them, in both databases."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, Inspector, create_engine, inspect, text

from serve.ledger.database import Database, LedgerError
from serve.ledger.migrating import migrate
from serve.ledger.schema import metadata
from tests.ledger.conftest import NEEDS_POSTGRES
from tests.ledger.postgres import PostgresServer

_STRICT = {"compare_type": True, "compare_server_default": True}
# Alembic's own.
_VERSION = "alembic_version"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=NEEDS_POSTGRES)])
def two_urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """Two databases of one kind, without any table."""
    if request.param == "sqlite":
        yield [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "other")]
    else:
        yield from _empty_in(request.getfixturevalue("postgres"))


def _empty_in(server: PostgresServer) -> Iterator[list[str]]:
    names = ["empty_one", "empty_other"]
    yield [server.create(name) for name in names]
    for name in names:
        server.drop(name)


@pytest.fixture
def empty_url(two_urls: list[str]) -> str:
    """A database without any table."""
    return two_urls[0]


def test_migrations_make_what_the_schema_says(two_urls: list[str]) -> None:
    """Alembic finds no difference, nor does a look at all tables made in the two ways."""
    migrated, created = (Database.connect(url) for url in two_urls)
    migrate(migrated)
    metadata.create_all(created.engine)
    with migrated.reading() as connection:
        context = MigrationContext.configure(connection, opts=_STRICT)
        assert compare_metadata(context, metadata) == []
    assert _described(migrated.engine) == _described(created.engine)
    migrated.close()
    created.close()


def test_a_migrated_database_is_left_alone(empty_url: str) -> None:
    """The second start finds nothing to do and changes nothing."""
    database = Database.connect(empty_url)
    migrate(database)
    with database.writing() as connection:
        connection.execute(text("INSERT INTO experiment (name, created_at) VALUES ('test', 1)"))
    migrate(database)
    with database.reading() as connection:
        assert connection.execute(text("SELECT name FROM experiment")).scalars().all() == ["test"]
    database.close()


def test_gateways_may_start_at_once(two_urls: list[str]) -> None:
    """Two processes that open an empty database at the same moment both find it ready; and again."""
    assert _at_once(_open, two_urls, processes=2) == [0, 0]


def _open(urls: list[str], together: Barrier) -> None:
    for url in urls:
        together.wait(20)
        database = Database.connect(url)
        migrate(database)
        assert set(metadata.tables) <= set(inspect(database.engine).get_table_names())
        database.close()


@pytest.mark.slow
def test_new_files_may_be_opened_at_once(tmp_path: Path) -> None:
    """Of three processes that make the same file, none is told that another just reads its log."""
    files = [f"sqlite:///{tmp_path / str(number)}.db" for number in range(40)]
    assert _at_once(_prepare, files, processes=3) == [0, 0, 0]


def _prepare(urls: list[str], together: Barrier) -> None:
    databases = [Database.connect(url) for url in urls]
    for database in databases:
        together.wait(20)
        database.prepare()


def _at_once(
    work: Callable[[list[str], Barrier], None], urls: list[str], *, processes: int
) -> list[int | None]:
    """The exit codes of processes that do the same, with a barrier for the moments that they share."""
    spawning = multiprocessing.get_context("spawn")
    together = spawning.Barrier(processes)
    running = [spawning.Process(target=work, args=(urls, together)) for _ in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join(40)
    return [process.exitcode for process in running]


def test_a_newer_schema_is_refused(empty_url: str) -> None:
    """What a newer program wrote is not touched; the message names both revisions."""
    database = Database.connect(empty_url)
    migrate(database)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match=r"'9999'.*newer version.*'0001'"):
        migrate(database)
    database.close()


def test_tables_of_somebody_else_are_not_touched(empty_url: str) -> None:
    """A database in which a table of that name is already is refused, and left as it is."""
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE prediction (mine INTEGER)"))
    database = Database.connect(empty_url)
    with pytest.raises(LedgerError, match="tables cannot be read, made"):
        migrate(database)
    assert set(inspect(engine).get_table_names()) <= {"prediction", _VERSION}
    database.close()
    engine.dispose()


@NEEDS_POSTGRES
def test_a_user_who_may_not_make_tables_is_told(postgres: PostgresServer) -> None:
    """A database user without the right to make tables gets a clear error, with the cause for the log."""
    owner = create_engine(postgres.create("guarded"))
    with owner.begin() as connection:
        connection.execute(text("CREATE ROLE guest LOGIN"))
    database = Database.connect(postgres.url("guarded").replace("postgres@", "guest@"))
    with pytest.raises(LedgerError, match="tables cannot be read, made") as caught:
        migrate(database)
    assert "permission denied" in caught.value.detail
    database.close()
    owner.dispose()
    postgres.drop("guarded")


def _described(engine: Engine) -> dict[str, Any]:
    seen = inspect(engine)
    return {name: _table(seen, name) for name in seen.get_table_names() if name != _VERSION}


def _table(seen: Inspector, name: str) -> dict[str, Any]:
    columns = [{**column, "type": str(column["type"])} for column in seen.get_columns(name)]
    indexes: list[dict[str, Any]] = [
        {
            **index,
            "dialect_options": {name: str(value) for name, value in index.get("dialect_options", {}).items()},
        }
        for index in seen.get_indexes(name)
    ]
    return {
        "columns": columns,
        "primary key": seen.get_pk_constraint(name),
        "foreign keys": seen.get_foreign_keys(name),
        "unique": sorted(seen.get_unique_constraints(name), key=str),
        "indexes": sorted(indexes, key=str),
        "checks": seen.get_check_constraints(name),
    }
