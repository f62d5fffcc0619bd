"""Many rows at once: reading those with given keys, and writing rows that may be there already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    String,
    Table,
    bindparam,
    func,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite

# Keys in one statement: enough to be quick, fewer than either database allows.
CHUNK = 500

Rows = Sequence[Mapping[str, Any]]
Query = Mapping[str, Select[Any]]  # by dialect

_Insert = postgresql.Insert | sqlite.Insert
_INSERT: Mapping[str, Callable[[Table], _Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def among(key: Column[str], *wanted: Column[Any] | FromClause) -> Query:
    """The query for `rows_of`: these columns, of rows of one experiment, found by one of their keys.

    An index must begin with the experiment and the key.
    """
    return {"sqlite": _in_list(key, wanted), "postgresql": _one_by_one(key, wanted)}


def rows_of(
    connection: Connection, query: Query, experiment_id: int, keys: Iterable[str]
) -> Iterator[Row[Any]]:
    """The rows that have one of these keys; `query` is from `among`."""
    statement = query[connection.dialect.name]
    rest = iter(dict.fromkeys(keys))
    while chunk := list(islice(rest, CHUNK)):
        yield from connection.execute(statement, {"experiment_id": experiment_id, "keys": chunk})


def put(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows; one whose key is there already is replaced."""
    if rows:
        connection.execute(_upsert(connection.dialect.name, table, ""), rows)


def grow(connection: Connection, table: Table, column: str, rows: Rows) -> None:
    """Insert rows; where the key is there already, the number in that column is added to it."""
    if rows:
        connection.execute(_upsert(connection.dialect.name, table, column), rows)


def add_new(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows; one whose key is there already stays as it is."""
    if rows:
        statement = _INSERT[connection.dialect.name](table)
        connection.execute(statement.on_conflict_do_nothing(), rows)


def _in_list(key: Column[str], wanted: Sequence[Column[Any] | FromClause]) -> Select[Any]:
    return select(*wanted).where(_ours(key), key.in_(bindparam("keys", expanding=True)))


def _one_by_one(key: Column[str], wanted: Sequence[Column[Any] | FromClause]) -> Select[Any]:
    """Looks each key up in the index.

    Given a list, PostgreSQL reads all rows of an experiment of which it has no statistics yet, because it
    takes them for few: with a new experiment each batch would take longer than the one before. OFFSET keeps
    it from turning this query into that one.
    """
    keys = (
        func.unnest(bindparam("keys", type_=ARRAY(String))).table_valued("key").render_derived(name="wanted")
    )
    found = select(*wanted).where(_ours(key), key == keys.c.key).offset(0).lateral("found")
    return select(found).select_from(keys.join(found, true()))


def _ours(key: Column[str]) -> ColumnElement[bool]:
    return key.table.c.experiment_id == bindparam("experiment_id")


@cache
def _upsert(dialect: str, table: Table, grown: str) -> _Insert:
    statement = _INSERT[dialect](table)
    keys = [column.name for column in table.primary_key]
    new = {
        column.name: column + statement.excluded[grown]
        if column.name == grown
        else statement.excluded[column.name]
        for column in table.columns
        if column.name not in keys
    }
    return statement.on_conflict_do_update(index_elements=keys, set_=new)
