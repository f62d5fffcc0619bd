"""Connections and transactions in both databases, and what happens when the store is away."""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, ProgrammingError

from serve.core.errors import NotFoundError, UnavailableError
from serve.ledger.database import Database, LedgerError
from serve.ledger.migrating import migrate
from serve.ledger.schema import experiment, image
from serve.ledger.versions import Versions
from tests.ledger.conftest import NEEDS_POSTGRES
from tests.ledger.documents import an_experiment, the_next
from tests.ledger.postgres import PostgresServer

MESSAGE = "the experiment store does not answer"
SOON_S = 5.0


@pytest.fixture
def database(ledger_url: str) -> Iterator[Database]:
    """One with all tables and one experiment, whose id is 1."""
    yield from _opened(ledger_url)


@pytest.fixture
def in_postgres(postgres_url: str) -> Iterator[Database]:
    """The same in PostgreSQL only."""
    yield from _opened(postgres_url)


@pytest.fixture
def in_sqlite(sqlite_url: str) -> Iterator[Database]:
    """The same in SQLite only."""
    yield from _opened(sqlite_url)


def _opened(url: str) -> Iterator[Database]:
    database = Database.connect(url)
    migrate(database)
    Versions(database).add(an_experiment())
    yield database
    database.close()


def test_what_raises_is_undone(database: Database) -> None:
    """When the block of a writing transaction raises, nothing of it is kept, and the error passes."""

    def bump_and_fail() -> None:
        with database.writing(1) as connection:
            _bump(connection)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        bump_and_fail()
    assert _writes(database) == 0


def test_reading_sees_one_moment(database: Database) -> None:
    """What others write meanwhile is not seen before the next reading transaction."""
    with database.reading() as connection:
        before = connection.execute(select(experiment.c.writes)).scalar_one()
        with database.writing(1) as other:
            _bump(other)
        assert connection.execute(select(experiment.c.writes)).scalar_one() == before
    assert _writes(database) == before + 1


def test_writers_of_one_experiment_take_turns(database: Database) -> None:
    """What several read and then write for one experiment at the same time does not get lost."""

    def add_one(_: int) -> None:
        with database.writing(1) as connection:
            seen = connection.execute(select(experiment.c.writes)).scalar_one()
            time.sleep(0.002)
            connection.execute(update(experiment).values(writes=seen + 1))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add_one, range(40)))
    assert _writes(database) == 40


def test_a_writer_has_its_turn_beside_a_busy_one(database: Database) -> None:
    """Who writes batch after batch does not keep another from writing in between."""
    over, begun, longest = Event(), Event(), 0.0

    def write_all_the_time() -> None:
        while not over.is_set():
            with database.writing(1) as connection:
                _bump(connection)
                begun.set()
                time.sleep(0.02)

    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(write_all_the_time)
        try:
            begun.wait(SOON_S)
            for _ in range(20):
                began = time.monotonic()
                with database.writing(1) as connection:
                    _bump(connection)
                longest = max(longest, time.monotonic() - began)
        finally:
            over.set()
        busy.result()
    assert longest < 0.5


def test_an_unknown_experiment_cannot_be_written(database: Database) -> None:
    """Its id is named."""
    with pytest.raises(NotFoundError, match="77"), database.writing(77):
        pass


def test_a_bug_is_not_an_outage(database: Database) -> None:
    """A statement that is wrong, or breaks a constraint, is not reported as a store that is away."""
    with pytest.raises(IntegrityError), database.writing() as connection:
        connection.execute(insert(experiment).values(id=1, name="other", created_at=1.0))
    with pytest.raises(IntegrityError), database.writing() as connection:
        connection.execute(insert(image).values(experiment_id=9, prediction="", item=0, at=1.0, content=b""))


@NEEDS_POSTGRES
def test_a_wrong_statement_is_a_bug(in_postgres: Database) -> None:
    """PostgreSQL tells a missing column from an outage."""
    with pytest.raises(ProgrammingError), in_postgres.reading() as connection:
        connection.execute(text("SELECT nothing FROM experiment"))


@NEEDS_POSTGRES
def test_a_table_or_a_right_that_is_taken_away_is_an_outage(in_postgres: Database) -> None:
    """As while a backup is put back: it comes back, and what waits is written then."""
    for statement in ("SELECT 1 FROM no_such_table", "SET ROLE pg_monitor; SELECT * FROM experiment"):
        with pytest.raises(LedgerError, match=MESSAGE) as told, in_postgres.writing() as connection:
            connection.exec_driver_sql(statement)
        assert "no_such_table" in told.value.detail or "permission denied" in told.value.detail


def test_reading_cannot_write(in_postgres: Database) -> None:
    """PostgreSQL refuses to write in a reading transaction."""
    with pytest.raises(LedgerError) as caught, in_postgres.reading() as connection:
        _bump(connection)
    assert "read-only" in caught.value.detail


@NEEDS_POSTGRES
def test_versions_do_not_wait_for_records(in_postgres: Database) -> None:
    """While an experiment's figures are written in PostgreSQL, its next version can be kept."""
    versions = Versions(in_postgres)
    (kept,) = versions.history("test")
    with in_postgres.writing(kept.id):
        assert versions.append(the_next(kept)).number == 2


@NEEDS_POSTGRES
def test_a_stopped_server_is_an_outage(postgres: PostgresServer, in_postgres: Database) -> None:
    """Every transaction fails soon with the public message, and works again once the server does."""
    assert _writes(in_postgres) == 0
    postgres.stop()
    try:
        began = time.monotonic()
        for transaction in (in_postgres.reading, in_postgres.writing):
            with pytest.raises(LedgerError) as caught, transaction():
                pass
            assert str(caught.value) == MESSAGE
            assert caught.value.detail
            assert isinstance(caught.value, UnavailableError)
        assert time.monotonic() - began < SOON_S
    finally:
        postgres.start()
    with in_postgres.writing(1) as connection:
        _bump(connection)
    assert _writes(in_postgres) == 1


@NEEDS_POSTGRES
def test_a_server_that_stops_in_the_midst(postgres: PostgresServer, in_postgres: Database) -> None:
    """What was not acknowledged is an outage for the writer, and not there after the restart."""

    def bump_and_stop() -> None:
        with in_postgres.writing(1) as connection:
            _bump(connection)
            postgres.stop()

    try:
        with pytest.raises(LedgerError, match=MESSAGE):
            bump_and_stop()
    finally:
        postgres.stop()
        postgres.start()
    assert _writes(in_postgres) == 0


@NEEDS_POSTGRES
def test_no_statement_runs_for_ever(in_postgres: Database) -> None:
    """Statements and locks have a limit of a few seconds; one that is over it counts as an outage."""
    with in_postgres.reading() as connection:
        for name in ("statement_timeout", "lock_timeout"):
            assert connection.execute(text(f"SHOW {name}")).scalar_one() in {"4s", "5s"}

    def sleep() -> None:
        with in_postgres.writing() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 20"))
            connection.execute(text("SELECT pg_sleep(30)"))

    with pytest.raises(LedgerError, match=MESSAGE) as caught:
        sleep()
    assert "statement timeout" in caught.value.detail


@pytest.mark.slow
def test_nobody_waits_for_ever_for_a_lock(database: Database) -> None:
    """Who does not get its turn within a few seconds meets an outage, and the other is not disturbed."""
    began = time.monotonic()
    with database.writing(1) as connection:
        _bump(connection)
        with pytest.raises(LedgerError, match=MESSAGE), database.writing(1):
            pass
    assert time.monotonic() - began < 2 * SOON_S
    assert _writes(database) == 1


@NEEDS_POSTGRES
def test_what_is_committed_is_on_the_disk_of_postgres(in_postgres: Database) -> None:
    """The server is not asked to acknowledge earlier than it does by itself."""
    with in_postgres.writing() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


def test_what_is_committed_is_on_the_disk_of_sqlite(in_sqlite: Database) -> None:
    """A commit is synchronous, foreign keys hold, and readers do not block the writer."""
    with in_sqlite.reading() as connection:
        asked = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("synchronous", "foreign_keys", "journal_mode")
        }
    assert asked == {"synchronous": 2, "foreign_keys": 1, "journal_mode": "wal"}  # 2: FULL


def test_the_file_is_its_owners(tmp_path: Path) -> None:
    """SQLite's files and the folder made for them are closed to everybody else."""
    folder = tmp_path / "new" / "folder"
    for _ in _opened(f"sqlite:///{folder}/experiments.db"):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert modes == dict.fromkeys([f"experiments.db{end}" for end in ("", "-wal", "-shm")], 0o600)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    """Who opened the file to a group has a reason."""
    path = tmp_path / "experiments.db"
    path.touch()
    path.chmod(0o640)
    Database.connect(f"sqlite:///{path}").prepare()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_full_disk_is_an_outage(in_sqlite: Database) -> None:
    """When SQLite has no room the writer is told so, and nothing is half written."""
    row = {"experiment_id": 1, "prediction": "", "item": 0, "at": 1.0, "content": bytes(10**6)}

    def fill() -> None:
        with in_sqlite.writing(1) as connection:
            _bump(connection)
            connection.execute(text("PRAGMA max_page_count = 1"))
            connection.execute(insert(image).values(row))

    with pytest.raises(LedgerError, match=MESSAGE) as caught:
        fill()
    assert "full" in caught.value.detail
    assert _writes(in_sqlite) == 0


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """It is left as it is."""
    path = tmp_path / "experiments.db"
    path.write_text("a letter to my mother " * 100)
    with pytest.raises(LedgerError, match="cannot be opened") as caught:
        Database.connect(f"sqlite:///{path}").prepare()
    assert "not a database" in caught.value.detail
    assert path.read_text().startswith("a letter")


def test_a_file_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A folder in the file's place, or a file in its folder's, gives a clear error without the path."""
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "experiments.db"):
        with pytest.raises(LedgerError, match="cannot be opened") as caught:
            Database.connect(f"sqlite:///{place}").prepare()
        assert str(tmp_path) not in str(caught.value)
        assert caught.value.detail


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://me:secret@host/x", "must be sqlite"),
        ("no address", "must be sqlite"),
        ("postgresql+psycopg://me:secret@host:port/x", "must be sqlite"),
        ("postgresql+psycopg://me:secret@127.0.0.1:99999999/x", "does not answer"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/x", "does not answer"),
    ],
)
def test_a_useless_address_is_refused_without_its_password(url: str, told: str) -> None:
    """Neither the message nor the detail for the log shows the password."""
    with pytest.raises(LedgerError, match=told) as caught:
        migrate(Database.connect(url))
    assert "secret" not in f"{caught.value} {caught.value.detail}"


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg, which is an extra, PostgreSQL's address says how to get it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match=r"pip install 'attnserve\[postgres\]'"):
        Database.connect("postgresql+psycopg://me@host/x")


def _bump(connection: Connection) -> None:
    connection.execute(update(experiment).values(writes=experiment.c.writes + 1))


def _writes(database: Database) -> int:
    with database.reading() as connection:
        total: int = connection.execute(select(func.sum(experiment.c.writes))).scalar_one()
    return total
