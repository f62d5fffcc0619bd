"""Reports: computed from the ledger's sums in a thread, and kept until something is written."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from serve.core.evidence import Look
from serve.core.experiment import Experiment
from serve.core.report import Report, evaluate
from serve.core.report.document import plain
from serve.core.verdict import Verdict
from serve.experiments.threads import LedgerThreads
from serve.ledger.ledger import Ledger

MOST_KEPT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """What a report says in one line; kept when the report itself no longer is."""

    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FullReport:
    """A report with what led to it.

    Attributes:
        experiment: The newest version.
        looks: Earlier evaluations, oldest first.
        history: All versions, oldest first.
        made_at: Unix time.
    """

    experiment: Experiment
    report: Report
    looks: tuple[Look, ...]
    history: tuple[Experiment, ...]
    made_at: float

    def to_json(self) -> dict[str, Any]:
        """All of it, for `json.dumps`; a page is drawn from it."""
        return {
            "report": self.report.to_json(),
            "looks": plain(self.looks),
            "history": [_version(version) for version in self.history],
            "design": self.experiment.design.model_dump(mode="json"),
            "rendered_at": self.made_at,
        }


class Reports:
    """Evaluates experiments; one that nothing was written of is not evaluated again."""

    def __init__(
        self, ledger: Ledger, threads: LedgerThreads, readers: LedgerThreads, clock: Callable[[], float]
    ) -> None:
        """Evaluate nothing yet.

        Args:
            ledger: Has the sums.
            threads: In which `activity` and `of` ask it.
            readers: In which the others do.
            clock: Gives Unix time.
        """
        self._ledger = ledger
        self._threads = threads
        self._readers = readers
        self._clock = clock
        self._kept: OrderedDict[int, tuple[tuple[int, int], Report]] = OrderedDict()
        self._headlines: dict[int, tuple[tuple[int, int], Headline]] = {}

    async def activity(self) -> Mapping[int, int]:
        """How often the ledger wrote of each experiment, by its id.

        Raises:
            UnavailableError: The ledger does not answer.
        """
        return await self._threads.run(self._activity)

    async def recent_activity(self) -> Mapping[int, int]:
        """The same for those who only read; raises as `activity`, and OverloadedError."""
        return await self._readers.run(self._activity)

    def headline(self, experiment: Experiment, writes: int) -> Headline | None:
        """What the report of that version and of so many writes says, if one was made."""
        state, headline = self._headlines.get(experiment.id, (None, None))
        return headline if state == (experiment.number, writes) else None

    def last_headline(self, experiment: Experiment) -> Headline | None:
        """What the newest report of that version says, whatever has been written since."""
        state, headline = self._headlines.get(experiment.id, ((0, 0), None))
        return headline if state[0] == experiment.number else None

    async def learn(self, experiment: Experiment, writes: int) -> None:
        """See to it that `headline` is known; raises as `recent_activity`."""
        if self.headline(experiment, writes) is None:
            await self._of(experiment, writes, self._readers)

    async def of(self, experiment: Experiment, writes: int) -> Report:
        """Evaluate an experiment.

        Args:
            experiment: A version of it.
            writes: What `activity` said of it before; the report is at least as new.

        Raises:
            UnavailableError: The ledger does not answer.
        """
        return await self._of(experiment, writes, self._threads)

    async def _of(self, experiment: Experiment, writes: int, threads: LedgerThreads) -> Report:
        state = (experiment.number, writes)
        kept = self._kept.get(experiment.id)
        if kept and kept[0] == state:
            self._kept.move_to_end(experiment.id)
            return kept[1]
        report = await threads.run(self._evaluate, experiment)
        self._headlines[experiment.id] = (
            state,
            Headline(verdict=report.verdict, sentence=report.sentence),
        )
        self._kept[experiment.id] = (state, report)
        self._kept.move_to_end(experiment.id)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return report

    async def full(self, experiment: Experiment) -> FullReport:
        """The report of an experiment with its looks and its history; raises as `of`."""
        run = self._readers.run
        writes = (await run(self._activity)).get(experiment.id, 0)
        report = await self._of(experiment, writes, self._readers)
        return FullReport(
            experiment=experiment,
            report=report,
            looks=tuple(await run(self._ledger.reading.looks, experiment.id)),
            history=await run(self._ledger.versions.history, experiment.name),
            made_at=self._clock(),
        )

    def _activity(self) -> Mapping[int, int]:
        self._ledger.prepare()  # a database may come up after us
        return self._ledger.reading.activity()

    def _evaluate(self, experiment: Experiment) -> Report:
        return evaluate(experiment, self._ledger.reading.evidence(experiment.id), self._clock())


def _version(version: Experiment) -> dict[str, Any]:
    """What the timeline needs of a version."""
    return {
        "number": version.number,
        "act": version.act,
        "state": version.state.value,
        "author": version.author,
        "reason": version.reason,
        "created_at": version.created_at,
        "effective_at": version.effective_at,
        "phase": version.phase,
        "ramp": version.design.ramp,
        "weights": list(version.design.weights),
    }
