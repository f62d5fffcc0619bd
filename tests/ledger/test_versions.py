"""The documents: numbered, chained, never changed, never missed, in both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from serve.core.errors import ConflictError, InvalidRequestError, NotFoundError
from serve.core.experiment import State
from serve.ledger.database import Database
from serve.ledger.migrating import migrate
from serve.ledger.schema import alias_version, experiment, experiment_version
from serve.ledger.versions import Versions
from tests.ledger.documents import an_alias, an_experiment, experiments, the_next


@pytest.fixture
def database(ledger_url: str) -> Iterator[Database]:
    """One with all tables."""
    database = Database.connect(ledger_url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def versions(database: Database) -> Versions:
    """The documents of an empty ledger."""
    return Versions(database)


def test_what_is_kept_comes_back(versions: Versions) -> None:
    """Every version that was kept is in the history, oldest first, as it was."""
    first = versions.add(an_experiment())
    second = versions.append(the_next(first))
    assert versions.history("test") == (first, second)
    assert first == replace(an_experiment(), id=first.id, seq=1, digest=first.digest)
    assert second.id == first.id
    assert second.state is State.RUNNING


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_experiment_can_be_kept(versions: Versions, data: st.DataObject) -> None:
    """Whatever the core allows survives the database, and its digest still fits."""
    number = len(versions.since(0)[0])
    drawn = data.draw(experiments())
    design = drawn.design.model_copy(update={"name": f"test{number}"})
    kept = versions.add(replace(drawn, design=design))
    assert versions.history(kept.name) == (kept,)
    assert versions.verify(kept.name)


def test_a_name_is_never_used_twice(versions: Versions) -> None:
    """Neither an experiment nor an alias gets a name that is taken."""
    versions.add(an_experiment())
    versions.put_alias(an_alias())
    with pytest.raises(ConflictError, match="'test' is taken"):
        versions.add(an_experiment())
    with pytest.raises(ConflictError, match="'production' is taken"):
        versions.add(an_experiment("production"))
    with pytest.raises(ConflictError, match="'test' is taken"):
        versions.put_alias(an_alias("test"))
    assert [one.name for one in versions.since(0)[0]] == ["test"]


@pytest.mark.parametrize("number", [1, 3])
def test_only_the_next_number_is_kept(versions: Versions, number: int) -> None:
    """Who did not see the newest version gets a conflict, and nothing is written."""
    kept = versions.add(an_experiment())
    alias = versions.put_alias(an_alias())
    with pytest.raises(ConflictError, match="changed meanwhile"):
        versions.append(replace(kept, number=number))
    with pytest.raises(ConflictError, match="changed meanwhile"):
        versions.put_alias(replace(alias, number=number))
    assert versions.history("test") == (kept,)
    assert versions.alias_history("production") == (alias,)


def test_what_is_not_there_is_not_found(versions: Versions) -> None:
    """Every question about an unknown name says so."""
    for ask in (versions.history, versions.alias_history, versions.verify):
        with pytest.raises(NotFoundError, match="'test' is not found"):
            ask("test")
    with pytest.raises(NotFoundError, match="'test' is not found"):
        versions.append(an_experiment(number=2))


def test_a_refused_version_leaves_nothing(versions: Versions) -> None:
    """When a version cannot be kept, its experiment is not there either, and the name is free."""
    with pytest.raises(InvalidRequestError, match="reason"):
        versions.add(an_experiment(reason="\0"))
    assert versions.add(an_experiment()).number == 1


def test_since_gives_what_is_newer(versions: Versions) -> None:
    """Who passes the greatest number that it has seen gets exactly what came afterwards."""
    first = versions.add(an_experiment())
    alias = versions.put_alias(an_alias())
    other = versions.add(an_experiment("other"))
    second = versions.append(the_next(first))
    assert [one.seq for one in (first, alias, other, second)] == [1, 2, 3, 4]
    assert versions.since(0) == ([first, other, second], [alias])
    assert versions.since(first.seq) == ([other, second], [alias])
    assert versions.since(alias.seq) == ([other, second], [])
    assert versions.since(second.seq) == ([], [])


def test_since_never_misses_a_version(database: Database) -> None:
    """While several write at once, who polls sees every version once, in order."""
    done = Event()

    def write(writer: int) -> None:
        mine = Versions(database)
        newest = mine.add(an_experiment(f"test{writer}"))
        for _ in range(7):
            newest = mine.append(the_next(newest))

    def poll() -> list[int]:
        seen: list[int] = []
        last_turn = False
        while not last_turn:
            last_turn = done.is_set()
            experiments, _ = Versions(database).since(seen[-1] if seen else 0)
            seen += [one.seq for one in experiments]
        return seen

    with ThreadPoolExecutor(4) as threads:
        polled = threads.submit(poll)
        try:
            list(threads.map(write, range(3)))
        finally:
            done.set()
        assert polled.result() == list(range(1, 25))


def test_one_of_two_that_write_at_once_wins(database: Database) -> None:
    """Of several next versions exactly one is kept; the others get a conflict."""
    kept = Versions(database).add(an_experiment())

    def race(author: int) -> bool:
        try:
            Versions(database).append(replace(the_next(kept), author=str(author)))
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(race, range(4))) == [False, False, False, True]
    assert len(Versions(database).history("test")) == 2


def test_an_untouched_history_is_verified(versions: Versions) -> None:
    """The digests of what was only appended fit."""
    newest = versions.add(an_experiment())
    for _ in range(3):
        newest = versions.append(the_next(newest))
    versions.put_alias(replace(versions.put_alias(an_alias()), number=2))
    assert versions.verify("test")
    assert versions.verify("production")


# What somebody may do who has all rights.
_DISARM = {
    "sqlite": ["DROP TRIGGER experiment_version_keeps_rows", "DROP TRIGGER experiment_version_keeps_values"],
    "postgresql": ["SET LOCAL session_replication_role = replica"],
}
_Tamper = Callable[[Connection], object]
_SECOND = experiment_version.c.number == 2


def _cut_out(connection: Connection) -> None:
    connection.execute(delete(experiment_version).where(_SECOND))
    connection.execute(update(experiment_version).where(experiment_version.c.number == 3).values(number=2))


def _swap(connection: Connection) -> None:
    for old, new in ((2, 9), (3, 2), (9, 3)):
        connection.execute(
            update(experiment_version).where(experiment_version.c.number == old).values(number=new)
        )


@pytest.mark.parametrize(
    "tamper",
    [
        lambda connection: connection.execute(update(experiment_version).where(_SECOND).values(reason="x")),
        lambda connection: connection.execute(update(experiment_version).where(_SECOND).values(digest="x")),
        lambda connection: connection.execute(update(experiment_version).where(_SECOND).values(seq=99)),
        lambda connection: connection.execute(delete(experiment_version).where(_SECOND)),
        _cut_out,
        _swap,
    ],
)
def test_a_changed_history_is_found(database: Database, versions: Versions, tamper: _Tamper) -> None:
    """Who changes a version behind the program's back is found by the digests."""
    newest = versions.add(an_experiment())
    for _ in range(3):
        newest = versions.append(the_next(newest))
    with database.writing() as connection:
        for statement in _DISARM[database.engine.dialect.name]:
            connection.exec_driver_sql(statement)
        tamper(connection)
    assert not versions.verify("test")


@pytest.mark.parametrize("table", [experiment_version, alias_version])
def test_the_database_itself_refuses_changes(database: Database, versions: Versions, table: Table) -> None:
    """A version can neither be changed nor deleted by a statement."""
    versions.add(an_experiment())
    versions.put_alias(an_alias())
    for statement in (update(table).values(reason="x"), delete(table)):
        with pytest.raises(IntegrityError, match="append-only"), database.writing() as connection:
            connection.execute(statement)
    with database.reading() as connection:
        assert connection.execute(select(table.c.reason)).scalars().all() == ["because"]


def test_an_experiment_has_a_version(database: Database) -> None:
    """A version of an experiment that is not there is refused by the database."""
    with database.writing() as connection:
        connection.execute(insert(experiment).values(name="test", created_at=1.0))
    row = {"seq": 1, "experiment_id": 999, "number": 1, "document": "", "state": "", "act": ""}
    row |= {"effective_at": 1.0, "created_at": 1.0, "author": "", "reason": "", "digest": ""}
    with pytest.raises(IntegrityError), database.writing() as connection:
        connection.execute(insert(experiment_version).values(row))
