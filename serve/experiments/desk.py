"""Desk: what people do with experiments. Both doors ask it; every act is taken down by the audit.

Changes are made to what the ledger holds at that moment; `list`, `get`, `assign` and `aliases` answer from
memory, which is as old as the last poll.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from serve.audit import Act
from serve.core.assignment import Explanation
from serve.core.call import Call
from serve.core.designs import design_of
from serve.core.errors import NotFoundError
from serve.core.experiment import Alias, Experiment
from serve.core.planning import SizePlan, size_plan
from serve.core.record import DisagreementRow, PairRow
from serve.core.sizes import Guess
from serve.experiments.desk_parts import DeskParts
from serve.experiments.editing import ActRequest, Editing
from serve.experiments.headlines import Headlines
from serve.experiments.outcomes import Answered, LabelRow, OutcomeGate, OutcomeItem, Outcomes
from serve.experiments.reports import FullReport, Headline, Reports
from serve.reporting.render import render

R = TypeVar("R")

# Rows that are fetched together: few enough to begin soon, many enough not to change threads all the time.
ROWS_AT_ONCE = 500
RENDER_TIMEOUT_S = 30.0
# Reports that are drawn at a time; others wait.
MOST_DRAWN = 2


class Desk:
    """Makes, changes, reads and reports experiments; all that it raises are ServeErrors.

    Attributes:
        editing: Makes versions.
        reports: Evaluates.
    """

    def __init__(self, parts: DeskParts) -> None:
        """Tie the parts together; nothing runs yet."""
        self._parts = parts
        self._drawing = asyncio.Semaphore(MOST_DRAWN)
        self._gate = OutcomeGate(parts.ledger, parts.threads)
        self._outcomes = Outcomes(self._gate, parts.keys, parts.clock, parts.token_life_s)
        self.editing = Editing(parts)
        self.reports = Reports(parts.ledger, parts.threads, parts.readers, parts.clock)
        self._headlines = Headlines(self.reports)

    async def create(self, document: Mapping[str, Any], reason: str, call: Call) -> Experiment:
        """Make a draft; see `Editing.create`."""
        return await self.editing.create(document, reason, call)

    async def patch(
        self, name: str, changes: Mapping[str, Any], reason: str, if_match: int | None, call: Call
    ) -> Experiment:
        """Change what is named; see `Editing.patch`."""
        return await self.editing.patch(name, changes, reason, if_match, call)

    async def act(self, name: str, act: str, request: ActRequest, call: Call) -> Experiment:
        """Do one of `serve.core.lifecycle.ACTS`; see `Editing.act`."""
        return await self.editing.act(name, act, request, call)

    async def put_alias(self, name: str, target: str, reason: str, if_match: int | None, call: Call) -> Alias:
        """Make an alias, or point it elsewhere; see `Editing.put_alias`."""
        return await self.editing.put_alias(name, target, reason, if_match, call)

    def list(self) -> tuple[Experiment, ...]:
        """Every experiment in its newest version, by name."""
        return self._parts.plans.experiments()

    async def headlines(self) -> Mapping[str, Headline]:
        """What is known of each experiment's verdict; see `Headlines.of`."""
        return await self._headlines.of(self.list())

    def get(self, name: str) -> Experiment:
        """The newest version of an experiment, in force or not yet.

        Raises:
            NotFoundError: There is no such experiment.
        """
        found = self._parts.plans.newest(name)
        if found is None:
            raise _unknown(name)
        return found

    def aliases(self) -> tuple[Alias, ...]:
        """Every alias in its newest version, by name."""
        return self._parts.plans.aliases()

    def assign(self, name: str, unit: str) -> Explanation:
        """What a unit gets now, and why; nothing is recorded.

        Raises:
            NotFoundError: There is no such experiment.
            InvalidRequestError: The unit has no UTF-8.
        """
        standing = self._parts.plans.find(name)
        if standing is None:
            raise _unknown(name)
        return standing.assigner.explain(unit)

    async def plan(self, document: Mapping[str, Any], units_per_day: float | None) -> SizePlan:
        """What a design would need; nothing is kept, and its models need not be there.

        Args:
            document: The design.
            units_per_day: Units that come a day; None: then it is not told how long it takes.

        Raises:
            InvalidRequestError: The design breaks a rule, or `units_per_day` is not above 0.
        """
        design, guess = design_of(document), Guess(units_per_day=units_per_day)
        return await asyncio.to_thread(size_plan, design, guess)

    async def report(self, name: str) -> FullReport:
        """What the ledger's sums say now, what was seen before, and all that was done.

        Raises:
            NotFoundError: There is no such experiment.
            UnavailableError: The ledger does not answer.
        """
        return await self.reports.full(self.get(name))

    async def report_html(self, name: str) -> bytes:
        """The same as one page that needs nothing else; raises as `report`."""
        report = await self.report(name)
        async with self._drawing:  # each is a process that takes a processor for a while
            return await render(report.to_json(), RENDER_TIMEOUT_S)

    async def audit(self, name: str) -> tuple[Experiment, ...]:
        """Every version, oldest first; raises as `report`."""
        return await self._parts.readers.run(self._parts.ledger.versions.history, self.get(name).name)

    async def outcomes(self, name: str, items: Sequence[OutcomeItem], call: Call) -> builtins.list[Answered]:
        """Keep labels that callers tell by their feedback tokens.

        Returns:
            For each what became of it, and why where it was not accepted. What is accepted is durable.

        Raises:
            NotFoundError: There is no such experiment.
            UnavailableError: The ledger does not answer; nothing was accepted.
            OverloadedError: Too many wait already.
        """
        return await self._outcomes.tell(self.get(name), items, call.principal)

    async def labels(self, name: str, rows: Sequence[LabelRow], call: Call) -> builtins.list[Answered]:
        """Keep labels that an operator tells by predictions' ids; as `outcomes`."""
        done = Act(name="import_labels", target=name, principal=call.principal, protocol=call.protocol)
        with self._parts.audit.recording(done):
            return await self._outcomes.label(self.get(name), rows, call.principal)

    async def pairs(self, name: str) -> AsyncGenerator[PairRow, None]:
        """Every image that arms answered, raw; raises as `report`."""
        return self._stream(self._parts.ledger.exports.pairs(self.get(name).id))

    async def disagreements(
        self,
        name: str,
        unlabelled_only: bool,  # noqa: FBT001  as the ledger has it
    ) -> AsyncGenerator[DisagreementRow, None]:
        """Images on which the arms disagree; raises as `report`."""
        return self._stream(self._parts.ledger.exports.disagreements(self.get(name).id, unlabelled_only))

    async def image(self, name: str, prediction: str, item: int) -> bytes:
        """A kept image, as it was sent.

        Raises:
            NotFoundError: There is no such experiment, or no such image is kept.
            UnavailableError: The ledger does not answer.
        """
        experiment = self.get(name)
        return await self._parts.readers.run(
            self._parts.ledger.exports.image, experiment.id, prediction, item
        )

    async def close(self, timeout_s: float) -> None:
        """Wait for outcomes that are on their way, for some time."""
        await self._gate.close(timeout_s)

    async def _stream(self, rows: Iterator[R]) -> AsyncGenerator[R, None]:
        """Rows of the ledger, fetched in threads."""
        while chunk := await self._parts.readers.run(_next_rows, rows):
            for row in chunk:
                yield row


def _next_rows(rows: Iterator[R]) -> builtins.list[R]:
    return [*islice(rows, ROWS_AT_ONCE)]


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"experiment {name!r} is not found")
