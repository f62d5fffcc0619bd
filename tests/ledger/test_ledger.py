"""The ledger as a whole: opened, closed, opened again, and opened while its server is away."""

from __future__ import annotations

import pytest

from serve.ledger.database import LedgerError
from serve.ledger.ledger import Ledger
from tests.ledger.conftest import NEEDS_POSTGRES
from tests.ledger.documents import an_alias, an_experiment
from tests.ledger.postgres import PostgresServer


def test_what_was_kept_is_there_after_a_restart(ledger_url: str) -> None:
    """A ledger that is opened again has everything that it had."""
    first = Ledger.open(ledger_url)
    kept = first.versions.add(an_experiment()), first.versions.put_alias(an_alias())
    first.close()
    second = Ledger.open(ledger_url)
    assert second.versions.since(0) == ([kept[0]], [kept[1]])
    second.close()


@NEEDS_POSTGRES
def test_a_ledger_whose_server_is_away_can_be_prepared_later(
    postgres: PostgresServer, postgres_url: str
) -> None:
    """It is made without its server, says what is wrong when it is prepared, and is ready afterwards."""
    postgres.stop()
    try:
        ledger = Ledger(postgres_url)
        with pytest.raises(LedgerError, match="does not answer"):
            ledger.prepare()
    finally:
        postgres.start()
    ledger.prepare()
    assert ledger.versions.since(0) == ([], [])
    ledger.close()
