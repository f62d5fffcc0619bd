"""The documents: every version of every experiment and alias, append-only, each chained to the one before.

All versions share one sequence of numbers, `seq`. Writers of documents take turns, so a version becomes
visible only after all that have smaller numbers: who has read up to a number has missed nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, func, insert, select, text

from serve.core.errors import ConflictError, NotFoundError
from serve.core.experiment import Alias, Experiment
from serve.ledger.coding import Row, alias_of, alias_row, digest_of, experiment_of, experiment_row
from serve.ledger.database import Database
from serve.ledger.schema import alias_version, experiment, experiment_version


class Versions:
    """Reads and appends documents."""

    def __init__(self, database: Database) -> None:
        """Keep them in that database."""
        self._database = database

    def add(self, version: Experiment) -> Experiment:
        """Keep the first version of a new experiment.

        Returns:
            It, with its id, `seq` and digest.

        Raises:
            ConflictError: Its name is an experiment's or an alias's already, or was once.
            InvalidRequestError: A text holds characters that cannot be kept.
            LedgerError: The store does not answer.
        """
        with self._in_turn() as connection:
            for known in (_experiment_named(version.name), _alias_named(version.name)):
                _refuse_second(connection, known, version.name)
            created = insert(experiment).values(name=version.name, created_at=version.created_at)
            (identity,) = connection.execute(created.returning(experiment.c.id)).one()
            return _append(connection, replace(version, id=identity))

    def append(self, version: Experiment) -> Experiment:
        """Keep the next version of an experiment.

        Returns:
            It, with its `seq` and digest.

        Raises:
            ConflictError: Somebody else changed it meanwhile: its number is not the next one.
            InvalidRequestError: A text holds characters that cannot be kept.
            NotFoundError: There is no such experiment.
            LedgerError: The store does not answer.
        """
        with self._in_turn() as connection:
            identity = connection.execute(_experiment_named(version.name)).scalar_one_or_none()
            if identity is None:
                raise _unknown("experiment", version.name)
            return _append(connection, replace(version, id=identity))

    def put_alias(self, version: Alias) -> Alias:
        """Keep the first or the next version of an alias.

        Returns:
            It, with its `seq`.

        Raises:
            ConflictError: Its name is an experiment's, or somebody else changed it meanwhile.
            InvalidRequestError: A text holds characters that cannot be kept.
            LedgerError: The store does not answer.
        """
        with self._in_turn() as connection:
            _refuse_second(connection, _experiment_named(version.name), version.name)
            kept = replace(version, seq=_next_seq(connection))
            _chain(connection, alias_version, alias_version.c.name == kept.name, alias_row(kept))
            return kept

    def since(self, seq: int) -> tuple[Sequence[Experiment], Sequence[Alias]]:
        """All versions with a greater `seq`, in that order. The next call passes the greatest one seen.

        Raises:
            LedgerError: The store does not answer, or a newer program wrote what this one cannot read.
        """
        with self._database.reading() as connection:
            experiments, aliases = (
                _rows(connection, select(table).where(table.c.seq > seq).order_by(table.c.seq))
                for table in (experiment_version, alias_version)
            )
        return [experiment_of(row) for row in experiments], [alias_of(row) for row in aliases]

    def history(self, name: str) -> tuple[Experiment, ...]:
        """All versions of an experiment, oldest first.

        Raises:
            NotFoundError: There is no such experiment.
            LedgerError: The store does not answer, or a newer program wrote what this one cannot read.
        """
        rows = self._rows_of_experiment(name)
        if not rows:
            raise _unknown("experiment", name)
        return tuple(experiment_of(row) for row in rows)

    def alias_history(self, name: str) -> tuple[Alias, ...]:
        """All versions of an alias, oldest first.

        Raises:
            NotFoundError: There is no such alias.
            LedgerError: The store does not answer.
        """
        rows = self._rows_of_alias(name)
        if not rows:
            raise _unknown("alias", name)
        return tuple(alias_of(row) for row in rows)

    def verify(self, name: str) -> bool:
        """Whether no version of that experiment or alias was changed, taken out or put in afterwards.

        The newest ones could still have been cut off: compare the last digest with one that you kept.

        Raises:
            NotFoundError: There is no such experiment or alias.
            LedgerError: The store does not answer.
        """
        rows = self._rows_of_experiment(name) or self._rows_of_alias(name)
        if not rows:
            raise _unknown("experiment or alias", name)
        before = ["", *(row["digest"] for row in rows)]
        return all(
            row["number"] == number and row["digest"] == digest_of(row, previous)
            for number, (row, previous) in enumerate(zip(rows, before, strict=False), start=1)
        )

    def _rows_of_experiment(self, name: str) -> list[Row]:
        ours = experiment_version.c.experiment_id == _experiment_named(name).scalar_subquery()
        return self._chained(experiment_version, ours)

    def _rows_of_alias(self, name: str) -> list[Row]:
        return self._chained(alias_version, alias_version.c.name == name)

    def _chained(self, table: Table, ours: ColumnElement[bool]) -> list[Row]:
        with self._database.reading() as connection:
            return _rows(connection, select(table).where(ours).order_by(table.c.number))

    @contextmanager
    def _in_turn(self) -> Iterator[Connection]:
        with self._database.writing() as connection:
            if connection.dialect.name == "postgresql":
                # Readers go on; SQLite has one writer at a time anyway.
                connection.execute(text("LOCK TABLE experiment_version IN SHARE ROW EXCLUSIVE MODE"))
            yield connection


def _append(connection: Connection, version: Experiment) -> Experiment:
    row = experiment_row(replace(version, seq=_next_seq(connection)))
    ours = experiment_version.c.experiment_id == version.id
    return experiment_of(_chain(connection, experiment_version, ours, row))


def _chain(connection: Connection, table: Table, ours: ColumnElement[bool], row: Row) -> Row:
    """Insert a row as the next of those that `ours` selects; gives it with its digest."""
    newest = select(table.c.number, table.c.digest).where(ours).order_by(table.c.number.desc()).limit(1)
    number, previous = connection.execute(newest).one_or_none() or (0, "")
    if row["number"] != number + 1:
        raise ConflictError(
            f"changed meanwhile: the newest version is {number}, so the next one is not {row['number']}"
        )
    chained = {**row, "digest": digest_of(row, previous)}
    connection.execute(insert(table).values(chained))
    return chained


def _next_seq(connection: Connection) -> int:
    tables = (experiment_version, alias_version)
    return 1 + max(connection.execute(select(func.max(table.c.seq))).scalar() or 0 for table in tables)


def _rows(connection: Connection, query: Select[Any]) -> list[Row]:
    return [row._asdict() for row in connection.execute(query)]


def _experiment_named(name: str) -> Select[int]:
    return select(experiment.c.id).where(experiment.c.name == name)


def _alias_named(name: str) -> Select[int]:
    return select(alias_version.c.seq).where(alias_version.c.name == name).limit(1)


def _refuse_second(connection: Connection, known: Select[int], name: str) -> None:
    if connection.execute(known).one_or_none() is not None:
        raise ConflictError(
            f"name: {name!r} is taken by an experiment or an alias, and names are not used twice"
        )


def _unknown(what: str, name: str) -> NotFoundError:
    return NotFoundError(f"{what} {name!r} is not found")
