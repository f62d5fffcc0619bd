"""One database, SQLite or PostgreSQL: connections, transactions, and one error for all that can go wrong.

Both are asked for the same three things. What is committed is on the disk. A transaction that writes for an
experiment has that experiment to itself. No statement waits for more than a few seconds.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from serve.core.errors import NotFoundError, ServeError, UnavailableError
from serve.ledger.schema import experiment
from serve.ledger.turns import Turns

_CONNECT_S = 3
_LOCK_MS = 4000
_STATEMENT_MS = 5000
# A gateway that stops in the midst of a transaction must not hold an experiment's row for ever.
_IDLE_MS = 30_000
_WAL_ATTEMPTS = 80
_WAL_PAUSE_S = 0.05
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_BEGIN = "sqlite_begin"

# Bugs of ours, not failures of the store ...
_BUGS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
# ... unless PostgreSQL says that a right was taken from us, or a table away, as while a backup is put back.
_TAKEN_AWAY = frozenset({"42501", "42P01"})


class LedgerError(UnavailableError):
    """The store cannot be used now; expected when the database is down, full, locked or out of reach.

    Attributes:
        detail: What the database said; for the log, never for a caller.
    """

    def __init__(self, message: str = "the experiment store does not answer", *, detail: str = "") -> None:
        """Keep the public message and what the log should say beside it."""
        super().__init__(message)
        self.detail = detail


def told(error: ServeError) -> str:
    """A failure in one line for the log: the public message, and what the database said where it did."""
    detail = " ".join(error.detail.split()) if isinstance(error, LedgerError) else ""
    return f"{error.message}: {detail}" if detail else error.message


@contextmanager
def guarded() -> Iterator[None]:
    """Turns every failure of the store that is met inside into a `LedgerError`; bugs pass as they are."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error, _BUGS) and getattr(error.orig, "sqlstate", None) not in _TAKEN_AWAY:
            raise
        raise LedgerError(detail=f"{type(error).__name__}: {error.orig}") from error
    except (NoConnectionError, TimeoutError) as error:
        raise LedgerError(detail=str(error)) from error


class Database:
    """An engine with two kinds of transactions, `reading` and `writing`.

    Threads may share it; a connection belongs to one transaction.
    """

    def __init__(self, engine: Engine) -> None:
        """Take an engine of `connect`."""
        self.engine = engine
        kind = _KINDS[engine.dialect.name]
        self._reader = engine.execution_options(**kind.reading)
        self._writer = engine.execution_options(**kind.writing)
        self._turn = kind.turns()

    @classmethod
    def connect(cls, url: str) -> Database:
        """The database at that address, which nothing is asked yet.

        Args:
            url: ``sqlite:///FILE`` or ``postgresql+psycopg://USER:PASSWORD@HOST/DATABASE``.

        Raises:
            LedgerError: The address cannot be used.
        """
        kind, parsed = _parsed(url)
        if kind is _SQLITE and parsed.database in (None, "", ":memory:"):
            raise LedgerError("experiments.store_url names no file: what is kept in memory only is not kept")
        # Statements' parameters stay out of error texts: they hold labels and hashes of units.
        common = {"hide_parameters": True, "pool_timeout": _CONNECT_S}
        try:
            engine = create_engine(parsed, connect_args=dict(kind.connect_args), **common, **kind.pool)
        except ImportError as error:
            raise LedgerError("PostgreSQL needs psycopg: pip install 'attnserve[postgres]'") from error
        kind.listen(engine)
        return cls(engine)

    def prepare(self) -> None:
        """Make a SQLite file where there is none.

        Raises:
            LedgerError: It cannot be made, or opened.
        """
        _KINDS[self.engine.dialect.name].prepare(self.engine.url)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the database and changes nothing.

        Raises:
            LedgerError: The store does not answer.
        """
        with guarded(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self, experiment_id: int | None = None) -> Iterator[Connection]:
        """A transaction that is durable when the block ends, and gone when it raises.

        Args:
            experiment_id: Nobody else writes for this experiment at the same time.

        Raises:
            LedgerError: The store does not answer; nothing was written, or it is not known to be.
            NotFoundError: There is no such experiment.
        """
        with guarded(), self._turn(), self._writer.begin() as connection:
            if experiment_id is not None:
                _lock(connection, experiment_id)
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _lock(connection: Connection, experiment_id: int) -> None:
    # "No key": rows that only refer to the experiment, such as a new version, need not wait. SQLite has one
    # writer at a time anyway.
    query = select(experiment.c.id).where(experiment.c.id == experiment_id).with_for_update(key_share=True)
    if connection.execute(query).one_or_none() is None:
        raise NotFoundError(f"experiment with the id {experiment_id} is not found")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What differs between the two databases.

    Attributes:
        turns: Makes what lets the writers of this process take turns, where the database does not.
    """

    turns: Callable[[], Callable[[], AbstractContextManager[None]]]
    connect_args: Mapping[str, Any]
    pool: Mapping[str, Any]
    reading: Mapping[str, Any]
    writing: Mapping[str, Any]
    prepare: Callable[[URL], None]
    listen: Callable[[Engine], None]


def _parsed(url: str) -> tuple[_Kind, URL]:
    try:
        parsed = make_url(url)
        return _KINDS[parsed.get_dialect().name], parsed
    except (ArgumentError, NoSuchModuleError, KeyError, ImportError, ValueError):
        # Neither the address nor what its parser says of it: there may be a password in both.
        raise LedgerError(
            "experiments.store_url must be sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
        ) from None


def _nothing(_: object) -> None:
    """PostgreSQL needs no preparation here."""


def _prepare_file(url: URL) -> None:
    """Make the file, for its owner only, and let readers and a writer work side by side (WAL)."""
    path = Path(url.database or "")
    try:
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        _create_file(path)
        _use_wal(path)
    except (OSError, sqlite3.Error) as error:
        detail = f"{type(error).__name__}: {error}"
        raise LedgerError("the experiment store's file cannot be opened", detail=detail) from error


def _create_file(path: Path) -> None:
    # Never a second time: closing a file takes away the locks that this process has on it by another handle.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _FILE_MODE))


def _use_wal(path: Path) -> None:
    # The mode stays in the file. While somebody else sets it SQLite does not wait, whatever its timeout.
    with closing(sqlite3.connect(path, timeout=0)) as connection:
        for attempt in range(_WAL_ATTEMPTS):
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # The low byte: SQLITE_BUSY_RECOVERY says that somebody else reads the new log just now.
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or attempt == _WAL_ATTEMPTS - 1:
                    raise
                time.sleep(_WAL_PAUSE_S)
            else:
                return


def _listen_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver's own transactions begin too late, and never with IMMEDIATE: `_begun` does it.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_LOCK_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, '')}")


# IMMEDIATE takes the writer's lock at once: a transaction that reads first and writes later could otherwise
# be refused in its midst.
_SQLITE = _Kind(
    turns=lambda: Turns(_LOCK_MS / 1000).taken,
    connect_args={},
    pool={},
    reading={_BEGIN: "DEFERRED"},
    writing={_BEGIN: "IMMEDIATE"},
    prepare=_prepare_file,
    listen=_listen_sqlite,
)

_POSTGRESQL = _Kind(
    turns=lambda: nullcontext,
    connect_args={
        "connect_timeout": _CONNECT_S,
        # Connections that are cut without a word are noticed as soon as statements that wait too long.
        "tcp_user_timeout": _STATEMENT_MS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "application_name": "attnserve",
        "options": f"-c statement_timeout={_STATEMENT_MS} -c lock_timeout={_LOCK_MS}"
        f" -c idle_in_transaction_session_timeout={_IDLE_MS}",
    },
    pool={"pool_pre_ping": True},
    reading={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    writing={"isolation_level": "READ COMMITTED"},
    prepare=_nothing,
    listen=_nothing,
)

_KINDS = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}
