"""What the gateway saw and what callers told afterwards, settled at once: the sums are always up to date.

All facts of one experiment are written one batch after the other, so that the figures are exact whatever
comes first, from however many gateways.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from serve.core.errors import NotFoundError
from serve.core.record import CallRecord, Dropped, Outcome, Receipt
from serve.core.settling import Settling
from serve.ledger.database import Database
from serve.ledger.settling import load, newest, save

_Fact = TypeVar("_Fact", CallRecord, Dropped, Outcome)


class Records:
    """Takes records and outcomes."""

    def __init__(self, database: Database) -> None:
        """Keep them in that database."""
        self._database = database

    def write(self, calls: Sequence[CallRecord], drops: Sequence[Dropped] = ()) -> None:
        """Keep calls of arms, and count what was lost.

        A call is named by its prediction and arm, and counts once however often it is written. What belongs
        to no experiment of this ledger is left out.

        Args:
            calls: Of any experiments, in any order.
            drops: Counted as often as they are written.

        Raises:
            LedgerError: The store does not answer. The calls may be written again; of the experiments with
                smaller ids all is written already.
        """
        by_experiment, lost = _by_experiment(calls), _by_experiment(drops)
        for identity in sorted({*by_experiment, *lost}):
            mine = by_experiment[identity]
            names = {call.prediction for call in mine}
            try:
                with self._settling(identity, names, {call.unit for call in mine}) as settling:
                    for call in mine:
                        settling.record(call)
                    for drop in lost[identity]:
                        settling.drop(drop)
            except NotFoundError:
                continue

    def outcomes(self, batch: Sequence[Outcome]) -> list[Receipt]:
        """Keep true labels; those that are accepted are durable when this returns.

        A label with a ticket counts even if nothing is recorded of its prediction (yet). One without needs
        a prediction that is recorded.

        Args:
            batch: Of any experiments; those of one image count in their order.

        Returns:
            What became of each, in their order.

        Raises:
            LedgerError: The store does not answer. They may be told again.
        """
        receipts = [Receipt.UNKNOWN_TOKEN] * len(batch)
        by_experiment: defaultdict[int, list[int]] = defaultdict(list)
        for index, outcome in enumerate(batch):
            by_experiment[outcome.experiment].append(index)
        for identity, indices in sorted(by_experiment.items()):
            mine = [batch[index] for index in indices]
            names = {outcome.prediction for outcome in mine}
            units = {outcome.ticket.unit for outcome in mine if outcome.ticket is not None}
            try:
                with self._settling(identity, names, units) as settling:
                    settled = [settling.outcome(outcome) for outcome in mine]
            except NotFoundError:
                continue
            for index, receipt in zip(indices, settled, strict=True):
                receipts[index] = receipt
        return receipts

    @contextmanager
    def _settling(self, identity: int, predictions: set[str], units: set[str]) -> Iterator[Settling]:
        """Facts that are told inside are settled and durable at the end."""
        with self._database.writing(identity) as connection:
            version = newest(connection, identity)
            settling = load(connection, version, predictions, units)
            yield settling
            save(connection, version, settling.changes())


def _by_experiment(facts: Iterable[_Fact]) -> defaultdict[int, list[_Fact]]:
    found: defaultdict[int, list[_Fact]] = defaultdict(list)
    for fact in facts:
        found[fact.experiment].append(fact)
    return found
