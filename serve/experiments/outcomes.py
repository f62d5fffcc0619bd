"""True labels on their way to the ledger: checked, gathered, and acknowledged once they are durable."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import structlog

from serve.core.errors import InternalError, OverloadedError, ServeError
from serve.core.experiment import Experiment
from serve.core.feedback import UnknownTokenError
from serve.core.record import Outcome, Receipt
from serve.experiments.keys import Keys
from serve.experiments.threads import LedgerThreads
from serve.ledger.ledger import Ledger

log = structlog.get_logger(__name__)

# Calls wait so long for company: one commit for all of them costs the disk as much as one for each.
GATHER_S = 0.003
MOST_AT_ONCE = 2_000
MOST_WAITING = 20_000
# Items of one call that are checked in a thread.
MANY = 500
# Of a request; what is above cannot be an image that anybody asked about.
MOST_ITEMS = 1_000_000

Answered: TypeAlias = tuple[Receipt, str]  # and why, where it was not accepted

_PREDICTION = re.compile("[0-9a-f]{32}")
_WHY: Mapping[Receipt, str] = {
    Receipt.ACCEPTED: "",
    Receipt.DUPLICATE: "the same label was told before",
    Receipt.CONFLICT: "another label was told before, which stays",
    Receipt.UNKNOWN_TOKEN: "no prediction of this experiment is known by that name",
    Receipt.TOO_LATE: "the prediction was too long ago, its raw rows are gone",
    Receipt.INVALID: "the prediction has no such image",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeItem:
    """A true label, told by whoever was given the token.

    Attributes:
        label: The class, by the name that the control gives it.
        item: Which image of the request, from 0.
    """

    feedback_token: str
    label: str
    item: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """A true label, told by an operator who knows the prediction's id (32 hexadecimal digits)."""

    prediction: str
    label: str
    item: int = 0


class OutcomeGate:
    """Brings outcomes of concurrent calls into the ledger together, one transaction at a time."""

    def __init__(self, ledger: Ledger, threads: LedgerThreads) -> None:
        """Nothing runs before the first outcome."""
        self._ledger = ledger
        self._threads = threads
        self._waiting: deque[_Parcel] = deque()
        self._count = 0
        self._writer: asyncio.Task[None] | None = None

    async def write(self, outcomes: Sequence[Outcome]) -> list[Receipt]:
        """Write outcomes and wait until they are durable.

        Args:
            outcomes: All of them, or none, are written.

        Returns:
            One an outcome, in their order.

        Raises:
            UnavailableError: The ledger does not answer; nothing is acknowledged.
            OverloadedError: Too many wait already.
        """
        if not outcomes:
            return []
        if self._count + len(outcomes) > MOST_WAITING:
            raise OverloadedError(f"outcomes: {self._count} wait already, try again later", retry_after_s=1.0)
        loop = asyncio.get_running_loop()
        parcel = _Parcel(outcomes, loop.create_future())
        self._waiting.append(parcel)
        self._count += len(outcomes)
        if self._writer is None:
            self._writer = loop.create_task(self._work())
        return await parcel.receipts

    async def close(self, timeout_s: float) -> None:
        """Wait for those that are on their way; what then remains was never acknowledged."""
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=timeout_s)

    async def _work(self) -> None:
        try:
            await asyncio.sleep(GATHER_S)
            while self._waiting:
                await self._write(self._next())
        finally:
            self._writer = None

    def _next(self) -> list[_Parcel]:
        """As many parcels as go together, at least one."""
        taken = [self._waiting.popleft()]
        count = len(taken[0].outcomes)
        while self._waiting and count + len(self._waiting[0].outcomes) <= MOST_AT_ONCE:
            taken.append(self._waiting.popleft())
            count += len(taken[-1].outcomes)
        return taken

    async def _write(self, parcels: Sequence[_Parcel]) -> None:
        outcomes = [outcome for parcel in parcels for outcome in parcel.outcomes]
        self._count -= len(outcomes)
        try:
            receipts = iter(await self._threads.run(self._ledger.records.outcomes, outcomes))
        except ServeError as error:
            _refuse(parcels, error)
        except Exception:
            log.exception("outcomes cannot be written", outcomes=len(outcomes))
            _refuse(parcels, InternalError("the outcomes could not be written"))
        else:
            for parcel in parcels:
                parcel.answer([next(receipts) for _ in parcel.outcomes])


@dataclass(frozen=True, slots=True)
class _Parcel:
    """The outcomes of one call."""

    outcomes: Sequence[Outcome]
    receipts: asyncio.Future[list[Receipt]]

    def answer(self, receipts: list[Receipt]) -> None:
        if not self.receipts.done():  # the caller may have gone
            self.receipts.set_result(receipts)

    def refuse(self, error: ServeError) -> None:
        if not self.receipts.done():
            self.receipts.set_exception(error)


class Outcomes:
    """Judges what is told: whose token it is, how old, and whether there is such a class."""

    def __init__(
        self, gate: OutcomeGate, keys: Keys, clock: Callable[[], float], token_life_s: float
    ) -> None:
        """Take no outcome yet.

        Args:
            gate: Where good ones go.
            keys: Read the tokens.
            clock: Gives Unix time.
            token_life_s: How long after an answer its true label may be told, in seconds.
        """
        self._gate = gate
        self._keys = keys
        self._clock = clock
        self._token_life_s = token_life_s

    async def tell(self, experiment: Experiment, items: Sequence[OutcomeItem], source: str) -> list[Answered]:
        """Take labels from callers; raises as `OutcomeGate.write`.

        Args:
            experiment: To which they belong.
            items: What is told.
            source: The caller's name.
        """
        now = self._clock()

        def judge() -> list[Outcome | Answered]:
            return [self._judged(experiment, item, source, now) for item in items]

        # Signatures of thousands would hold up the loop.
        return await self._settle(judge() if len(items) < MANY else await asyncio.to_thread(judge))

    async def label(self, experiment: Experiment, rows: Sequence[LabelRow], source: str) -> list[Answered]:
        """Take labels from an operator; raises as `OutcomeGate.write`."""
        now = self._clock()
        return await self._settle([_checked(experiment, row, source, now) for row in rows])

    async def _settle(self, judged: Sequence[Outcome | Answered]) -> list[Answered]:
        """Write those that are good; the others have their answer already."""
        receipts = iter(await self._gate.write([one for one in judged if isinstance(one, Outcome)]))
        return [_answered(next(receipts)) if isinstance(one, Outcome) else one for one in judged]

    def _judged(
        self, experiment: Experiment, item: OutcomeItem, source: str, now: float
    ) -> Outcome | Answered:
        try:
            ticket = self._keys.tokens.read(item.feedback_token)
        except UnknownTokenError as error:
            return Receipt.UNKNOWN_TOKEN, error.message
        if ticket.experiment != experiment.id:
            return Receipt.UNKNOWN_TOKEN, "feedback_token: belongs to another experiment"
        if now - ticket.issued_at > self._token_life_s:
            age_s, life_s = round(now - ticket.issued_at), round(self._token_life_s)
            return Receipt.TOO_LATE, f"feedback_token: is {age_s} s old, may be {life_s} s old"
        if not 0 <= item.item < len(ticket.answers):
            return Receipt.INVALID, f"item: is {item.item}, the request had {len(ticket.answers)} image(s)"
        label = _indices(experiment.labels).get(item.label)
        if label is None:
            return _no_class(experiment, item.label)
        return Outcome(
            ticket=ticket,
            experiment=experiment.id,
            prediction=ticket.prediction,
            item=item.item,
            label=label,
            source=source,
            at=now,
        )


def _checked(experiment: Experiment, row: LabelRow, source: str, now: float) -> Outcome | Answered:
    label = _indices(experiment.labels).get(row.label)
    if not _PREDICTION.fullmatch(row.prediction):
        return Receipt.INVALID, f"prediction: is {row.prediction[:40]!r}, must be 32 hexadecimal digits"
    if not 0 <= row.item < MOST_ITEMS:
        return Receipt.INVALID, f"item: is {row.item}, must be from 0 to {MOST_ITEMS - 1}"
    if label is None:
        return _no_class(experiment, row.label)
    return Outcome(
        ticket=None,
        experiment=experiment.id,
        prediction=row.prediction,
        item=row.item,
        label=label,
        source=source,
        at=now,
    )


def _no_class(experiment: Experiment, label: str) -> Answered:
    return Receipt.INVALID, f"label: {label[:80]!r} is none of the control's {len(experiment.labels)}"


@lru_cache(maxsize=64)
def _indices(labels: tuple[str, ...]) -> Mapping[str, int]:
    return {label: labels.index(label) for label in labels}  # of two classes of one name, the first


def _answered(receipt: Receipt) -> Answered:
    return receipt, _WHY[receipt]


def _refuse(parcels: Sequence[_Parcel], error: ServeError) -> None:
    for parcel in parcels:
        parcel.refuse(error.again())
