"""Looks: what was seen of an experiment over time, thinned so that weeks of it stay few rows."""

from __future__ import annotations

from serve.core.evidence import Look
from serve.core.experiment import Experiment
from serve.core.report import Report, look
from serve.experiments.threads import LedgerThreads
from serve.ledger.ledger import Ledger

# A look is kept when the one before is so much of the experiment's age ago: 200 an e-fold of its age, which
# are 2,000 in a month of looking every two seconds. One that brings another verdict need not wait so long.
PART_OF_AGE = 1 / 200
PART_OF_AGE_CHANGED = 1 / 2000


class Looks:
    """Writes to the ledger what an evaluation showed."""

    def __init__(self, ledger: Ledger, threads: LedgerThreads) -> None:
        """Write nothing yet."""
        self._ledger = ledger
        self._threads = threads
        # Experiment -> the first look and the last one; None where there is none.
        self._known: dict[int, tuple[Look, Look] | None] = {}

    async def add(self, experiment: Experiment, report: Report) -> None:
        """Keep what a report shows, where it is time.

        Raises:
            UnavailableError: The ledger does not answer.
        """
        seen = look(report)
        if experiment.id in self._known and not _is_due(seen, self._known[experiment.id]):
            return
        # Another gateway may have written meanwhile.
        earlier = await self._threads.run(self._ledger.reading.looks, experiment.id)
        known = (earlier[0], earlier[-1]) if earlier else None
        if _is_due(seen, known):
            await self._threads.run(self._ledger.reading.add_look, experiment.id, seen)
            known = (known[0] if known else seen, seen)
        self._known[experiment.id] = known

    def forget(self, experiment: Experiment) -> None:
        """Keep nothing in memory of an experiment that has ended."""
        self._known.pop(experiment.id, None)


def _is_due(seen: Look, known: tuple[Look, Look] | None) -> bool:
    if known is None:
        return True
    first, last = known
    part = PART_OF_AGE if seen.verdict == last.verdict else PART_OF_AGE_CHANGED
    return seen.at > last.at and seen.at - last.at >= part * (seen.at - first.at)
