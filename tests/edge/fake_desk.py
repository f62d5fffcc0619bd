"""A desk without a ledger: it keeps versions in memory, and has one report, two pairs and one image."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from serve.core import edits
from serve.core.assignment import Assigner, Explanation
from serve.core.call import Call
from serve.core.designs import design_of
from serve.core.errors import ChangedError, ConflictError, NotFoundError, UnavailableError
from serve.core.experiment import Alias, Experiment, State
from serve.core.record import DisagreementRow, PairRow, Receipt
from serve.core.verdict import Verdict
from serve.experiments.editing import ActRequest
from serve.experiments.outcomes import LabelRow, OutcomeItem
from serve.experiments.reports import Headline

ENDLESS = 1_000_000
AT = 1_700_000_000.25
LABELS = ("three", "=cmd()")
DESIGN: Mapping[str, Any] = {
    "name": "se-vs-eca",
    "mode": "paired",
    "arms": [
        {"name": "se", "model": "digits_se", "version": "1", "weight": 5000},
        {"name": "eca", "model": "digits_eca", "version": "2", "weight": 5000},
    ],
    "guardrails": [{"metric": "error_rate"}],
}
REPORT: Mapping[str, Any] = {
    "experiment": "se-vs-eca",
    "version": 3,
    "at": AT,
    "verdict": "no_difference",
    "sentence": "Nothing to choose.",
    "rows": [
        {
            "metric": "accuracy",
            "arm": "eca",
            "definition": "right answers / labelled images",
            "unit": "share",
            "n": 400,
            "method": "e-McNemar",
            "estimate": 0.0,
            "low": -0.004,
            "high": None,
            "log_e": math.inf,
            "p": 1.0,
        }
    ],
}
PAIR = PairRow(
    prediction="ab" * 16,
    item=0,
    unit="cd" * 16,
    phase=0,
    at=AT,
    label="three",
    said=("three", "=cmd()"),
    confidence=(0.75, 0.5),
    latency_us=(1200, 900),
)
ALONE = replace(PAIR, item=1, label="", said=("three", ""), confidence=(0.75, math.nan), latency_us=(1200, 0))


@dataclass(frozen=True, slots=True)
class _Document:
    content: Mapping[str, Any]

    def to_json(self) -> Mapping[str, Any]:
        """As it is."""
        return self.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an experiment would need."""

    units: int
    days: float


class FakeDesk:
    """Does what the real one does, without ledger, models and audit.

    Attributes:
        calls: Of whoever changed something.
        told: Outcomes and labels.
        pairs_given: How many pairs there are.
        closed: How many tables were let go.
        let_go: Set when an endless one is.
        unknown: Names of experiments whose verdict takes too long.
        is_down: Whether the ledger answers.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.told: list[OutcomeItem | LabelRow] = []
        self.planned: list[float | None] = []
        self.pairs_given = 2
        self.closed = 0
        self.let_go = asyncio.Event()
        self.unknown: set[str] = set()
        self.is_down = False
        self._versions: dict[str, list[Experiment]] = {}
        self._aliases: dict[str, Alias] = {}

    async def create(self, document: Mapping[str, Any], reason: str, call: Call) -> Experiment:
        """Make a draft."""
        self.calls.append(call)
        made = edits.create(design_of(document), _stamp(reason, call))
        if made.name in self._versions:
            raise ConflictError(f"name: {made.name!r} is taken")
        self._versions[made.name] = [made]
        return made

    async def plan(self, document: Mapping[str, Any], units_per_day: float | None) -> Plan:
        """Always the same."""
        design_of(document)
        self.planned.append(units_per_day)
        return Plan(units=7847, days=math.inf)

    def list(self) -> tuple[Experiment, ...]:
        """Each in its newest version."""
        return tuple(versions[-1] for versions in self._versions.values())

    async def headlines(self) -> Mapping[str, Headline]:
        """That of the only report."""
        headline = Headline(verdict=Verdict(REPORT["verdict"]), sentence=REPORT["sentence"])
        begun = {one.name for one in self.list() if one.state is not State.DRAFT}
        return dict.fromkeys(begun - self.unknown, headline)

    def get(self, name: str) -> Experiment:
        """The newest version."""
        if name not in self._versions:
            raise NotFoundError(f"experiment {name!r} is not found")
        return self._versions[name][-1]

    async def patch(
        self, name: str, changes: Mapping[str, Any], reason: str, if_match: int | None, call: Call
    ) -> Experiment:
        """Change what is named."""
        newest = self._matched(name, if_match)
        return self._keep(edits.patched(newest, changes, _stamp(reason, call)), call)

    async def act(self, name: str, act: str, request: ActRequest, call: Call) -> Experiment:
        """Do it."""
        newest = self._matched(name, request.if_match)
        labels = {arm.name: LABELS for arm in newest.design.arms} if act == "start" else None
        wanted = edits.Wanted(ramp=request.ramp, arm=request.arm, labels_of=labels)
        return self._keep(edits.moved(newest, act, _stamp(request.reason, call), wanted), call)

    async def report(self, name: str) -> _Document:
        """Always the same."""
        self.get(name)
        return _Document({"report": dict(REPORT), "looks": [], "history": []})

    async def report_html(self, name: str) -> bytes:
        """Hardly one."""
        return f"<!doctype html><title>{self.get(name).name}</title>".encode()

    async def audit(self, name: str) -> tuple[Experiment, ...]:
        """Every version."""
        self.get(name)
        return tuple(self._versions[name])

    def assign(self, name: str, unit: str) -> Explanation:
        """As the newest version has it."""
        return Assigner(self.get(name)).explain(unit)

    async def outcomes(
        self, name: str, items: Sequence[OutcomeItem], call: Call
    ) -> Sequence[tuple[Receipt, str]]:
        """Accept tokens that begin with "good"."""
        self._let_in(name, call)
        self.told += items
        return [
            (Receipt.ACCEPTED, "")
            if item.feedback_token.startswith("good")
            else (Receipt.UNKNOWN_TOKEN, "no")
            for item in items
        ]

    async def labels(self, name: str, rows: Sequence[LabelRow], call: Call) -> Sequence[tuple[Receipt, str]]:
        """Accept all."""
        self._let_in(name, call)
        self.told += rows
        return [(Receipt.ACCEPTED, "") for _ in rows]

    async def pairs(self, name: str) -> AsyncGenerator[PairRow, None]:
        """As many as there are; every second one was answered by one arm."""
        self.get(name)
        return self._rows()

    async def disagreements(
        self,
        name: str,
        unlabelled_only: bool,
    ) -> AsyncGenerator[DisagreementRow, None]:
        """One, which has a label."""
        self.get(name)
        values = {field.name: getattr(PAIR, field.name) for field in fields(PAIR)}

        async def rows() -> AsyncGenerator[DisagreementRow, None]:
            if not unlabelled_only:
                yield DisagreementRow(**values, image_kept=True)

        return rows()

    async def image(self, name: str, prediction: str, item: int) -> bytes:
        """The only one."""
        self.get(name)
        if (prediction, item) != (PAIR.prediction, PAIR.item):
            raise NotFoundError("this image is not kept")
        return b"<svg onload='alert(1)'>"

    def aliases(self) -> tuple[Alias, ...]:
        """All."""
        return tuple(self._aliases.values())

    async def put_alias(self, name: str, target: str, reason: str, if_match: int | None, call: Call) -> Alias:
        """Point it there."""
        self.calls.append(call)
        number = self._aliases[name].number if name in self._aliases else 0
        if if_match not in (None, number):
            raise ChangedError(f"alias {name!r} is at version {number}, not at {if_match}")
        made = Alias(
            name=name, number=number + 1, target=target, effective_at=AT, author=call.principal, reason=reason
        )
        self._aliases[name] = made
        return made

    async def _rows(self) -> AsyncGenerator[PairRow, None]:
        try:
            for index in range(self.pairs_given):
                if self.is_down:
                    raise UnavailableError("the experiment store does not answer")
                yield ALONE if index % 2 else PAIR
        finally:
            self.closed += 1
            if self.pairs_given > ENDLESS:
                self.let_go.set()

    def _let_in(self, name: str, call: Call) -> None:
        self.get(name)
        self.calls.append(call)
        if self.is_down:
            raise UnavailableError("the experiment store does not answer")

    def _matched(self, name: str, if_match: int | None) -> Experiment:
        newest = self.get(name)
        if if_match not in (None, newest.number):
            raise ChangedError(f"experiment {name!r} is at version {newest.number}, not at {if_match}")
        return newest

    def _keep(self, made: Experiment, call: Call) -> Experiment:
        self.calls.append(call)
        if made is not self.get(made.name):
            self._versions[made.name].append(made)
        return made


def _stamp(reason: str, call: Call) -> edits.Stamp:
    return edits.Stamp(author=call.principal, reason=reason, created_at=AT, effective_at=AT + 4)
