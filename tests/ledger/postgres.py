"""A PostgreSQL server of its own, on a unix socket in a temporary folder that only its user may enter.

With PostgreSQL's own settings what it acknowledges is on the disk. Tests, which never lose the machine's
power, need not wait for the disk: the kernel keeps what a killed server has written.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.programs import find_program

HOW = "apt install postgresql"

_OWNER = "postgres"
_START_S = 30.0
_STOP_S = 20.0
_POLL_S = 0.02
# What the server runs as when the tests run as root, which it refuses.
_USERS = ("postgres", "nobody")


class PostgresServer:
    """A server that can be stopped and started again."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """Make a new cluster in an empty folder; `start` starts it.

        Args:
            folder: Belongs to the server alone.
            durable: Whether what it acknowledges survives even the machine's loss of power.
        """
        self.folder = folder
        self._settings = [] if durable else ["-c", "fsync=off"]
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _unprivileged()
        if self._user:
            shutil.chown(folder, **self._user)
        command = [
            _program("initdb"),
            "--pgdata",
            str(folder / "data"),
            "--username",
            _OWNER,
            "--auth",
            "trust",
        ]
        more = ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        subprocess.run([*command, *more], check=True, capture_output=True, cwd=folder, **self._identity)

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._process is None, "it runs"
        # The kernel ends it with the tests, however these end.
        command = ["setpriv", "--pdeathsig", "KILL", _program("postgres"), "-D", f"{self.folder}/data"]
        socket_only = ["-k", str(self.folder), "-c", "listen_addresses="]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *socket_only, *self._settings],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._identity,
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Close all connections and stop it; once is enough, twice does no harm."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown"
            self._process.wait(_STOP_S)
            self._process = None

    def url(self, database: str) -> str:
        """The address of a database of this server, for SQLAlchemy."""
        return f"postgresql+psycopg://{_OWNER}@/{database}?host={self.folder}"

    def create(self, database: str) -> str:
        """Make a database and give its address."""
        with self._connected() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever is still connected to it."""
        with self._connected() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))

    def empty(self, database: str, tables: Iterable[str]) -> None:
        """Delete all rows of these tables, whatever triggers say, end all connections and count from 1 again.

        Far quicker than another database, which is hundreds of files.
        """
        with self._connected(database) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute("SET session_replication_role = replica")
            for table in tables:
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            connection.execute("SELECT setval(sequencename::regclass, start_value, false) FROM pg_sequences")

    @property
    def _identity(self) -> dict[str, Any]:
        return {**self._user, "extra_groups": []} if self._user else {}

    def _connected(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(host=str(self.folder), user=_OWNER, dbname=database, autocommit=True)

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self._connected().close()
            except psycopg.OperationalError:
                log = (self.folder / "log").read_text()
                assert self._process.poll() is None, f"it ended: {log}"
                assert time.monotonic() < deadline, f"it does not answer: {log}"
                time.sleep(_POLL_S)
            else:
                return


@contextmanager
def postgres_server(*, durable: bool = True) -> Iterator[PostgresServer]:
    """A running server; it and its folder are gone afterwards. See `PostgresServer` for `durable`."""
    # Not below TMPDIR: the path of a socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="attnserve-pg-", dir="/tmp"))
    try:
        server = PostgresServer(folder, durable=durable)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _program(name: str) -> str:
    found = find_program(name)
    assert found, f"mark the test with needs_program({name!r}, how={HOW!r})"
    return str(found)


def _unprivileged() -> dict[str, int]:
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in _USERS if name in known)
    return {"user": entry.pw_uid, "group": entry.pw_gid}
