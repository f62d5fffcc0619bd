"""The ledger: all that is kept of experiments, in one SQLite file or one PostgreSQL database."""

from __future__ import annotations

from threading import Lock

from serve.ledger.database import Database
from serve.ledger.exports import Exports
from serve.ledger.migrating import migrate
from serve.ledger.purge import purge
from serve.ledger.reading import Reading
from serve.ledger.recording import Records
from serve.ledger.versions import Versions


class Ledger:
    """One database. Everything here blocks, and threads may share it.

    Attributes:
        versions: The documents, append-only.
        records: Where calls and outcomes are written.
        reading: Sums and looks, from which reports are made.
        exports: Single predictions.
    """

    def __init__(self, url: str) -> None:
        """Connect to nothing yet.

        Args:
            url: ``sqlite:///FILE`` or ``postgresql+psycopg://USER:PASSWORD@HOST/DATABASE``.

        Raises:
            LedgerError: The address cannot be used.
        """
        self._database = Database.connect(url)
        self._preparing = Lock()
        self._prepared = False
        self.versions = Versions(self._database)
        self.records = Records(self._database)
        self.reading = Reading(self._database)
        self.exports = Exports(self._database)

    @classmethod
    def open(cls, url: str) -> Ledger:
        """A ledger that is ready to be used.

        Raises:
            LedgerError: As the constructor and `prepare`.
        """
        ledger = cls(url)
        ledger.prepare()
        return ledger

    def prepare(self) -> None:
        """Create or bring up to date the tables; once is enough, again costs nothing.

        Raises:
            LedgerError: The file cannot be made, the store does not answer, or a newer program changed it.
        """
        with self._preparing:
            if not self._prepared:
                migrate(self._database)
                self._prepared = True

    def purge(self, now: float, keep_raw_days: float) -> None:
        """Remove single predictions, outcomes and images whose time is over; the sums stay.

        Args:
            now: Unix time.
            keep_raw_days: How long predictions are kept.

        Raises:
            LedgerError: The store does not answer.
        """
        self.prepare()
        purge(self._database, now, keep_raw_days)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()
