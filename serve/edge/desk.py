"""What both doors ask about experiments; `serve.experiments.desk` answers. Errors are ServeErrors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

from serve.core.assignment import Explanation
from serve.core.call import Call
from serve.core.errors import InvalidRequestError, UnsupportedError
from serve.core.experiment import Alias, Experiment
from serve.core.record import DisagreementRow, PairRow, Receipt
from serve.edge.tensors import show
from serve.experiments.editing import ActRequest
from serve.experiments.outcomes import LabelRow, OutcomeItem
from serve.experiments.reports import Headline

DISABLED = "experiments are disabled on this gateway (experiments.enabled)"
MAX_REASON_CHARACTERS = 500


class Document(Protocol):
    """Something that knows how it looks as JSON."""

    def to_json(self) -> Mapping[str, Any]:
        """Plain values; not finite numbers may be among them."""
        ...


class Desk(Protocol):
    """Experiments, as the doors know them."""

    async def create(self, document: Mapping[str, Any], reason: str, call: Call) -> Experiment:
        """Make a draft of a design as JSON."""
        ...

    async def plan(self, document: Mapping[str, Any], units_per_day: float | None) -> object:
        """Say what a design would need; None: without saying how long that takes."""
        ...

    def list(self) -> tuple[Experiment, ...]:
        """Each in its newest version."""
        ...

    async def headlines(self) -> Mapping[str, Headline]:
        """Verdicts by name, of those that are known in good time; a draft has none."""
        ...

    def get(self, name: str) -> Experiment:
        """The newest version."""
        ...

    async def patch(
        self, name: str, changes: Mapping[str, Any], reason: str, if_match: int | None, call: Call
    ) -> Experiment:
        """Change what is named; None: whatever the newest version is."""
        ...

    async def act(self, name: str, act: str, request: ActRequest, call: Call) -> Experiment:
        """One of `serve.core.lifecycle.ACTS`."""
        ...

    async def report(self, name: str) -> Document:
        """What the ledger's sums say now."""
        ...

    async def report_html(self, name: str) -> bytes:
        """The same as a page."""
        ...

    async def audit(self, name: str) -> tuple[Experiment, ...]:
        """Every version, oldest first."""
        ...

    def assign(self, name: str, unit: str) -> Explanation:
        """What a unit would get."""
        ...

    async def outcomes(
        self, name: str, items: Sequence[OutcomeItem], call: Call
    ) -> Sequence[tuple[Receipt, str]]:
        """Keep labels told by token; one answer each, with why where it is not accepted."""
        ...

    async def labels(self, name: str, rows: Sequence[LabelRow], call: Call) -> Sequence[tuple[Receipt, str]]:
        """Keep labels told by prediction."""
        ...

    async def pairs(self, name: str) -> AsyncGenerator[PairRow, None]:
        """Every image, raw."""
        ...

    async def disagreements(
        self,
        name: str,
        unlabelled_only: bool,  # noqa: FBT001  as the ledger has it
    ) -> AsyncGenerator[DisagreementRow, None]:
        """Images on which arms disagree."""
        ...

    async def image(self, name: str, prediction: str, item: int) -> bytes:
        """A kept image, as it was sent."""
        ...

    def aliases(self) -> tuple[Alias, ...]:
        """Each in its newest version."""
        ...

    async def put_alias(self, name: str, target: str, reason: str, if_match: int | None, call: Call) -> Alias:
        """Make an alias, or point it elsewhere."""
        ...


def opened(desk: Desk | None) -> Desk:
    """The desk of a gateway that has one.

    Raises:
        UnsupportedError: Experiments are disabled.
    """
    if desk is None:
        raise UnsupportedError(DISABLED)
    return desk


def checked_reason(reason: str) -> str:
    """Check that somebody can later read why something was done; gives it without blanks around it.

    Raises:
        InvalidRequestError: It is empty or too long, or holds what no screen shows.
    """
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON_CHARACTERS:
        raise InvalidRequestError(
            f"reason: has {len(reason)} characters, must say why in 1 to {MAX_REASON_CHARACTERS}"
        )
    if not all(char.isprintable() or char in "\n\t" for char in reason):
        raise InvalidRequestError(f"reason: is {show(reason)}, must be printable text")
    return reason
