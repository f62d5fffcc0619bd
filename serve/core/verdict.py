"""What an experiment says at this moment: a table of verdicts and their conditions, first match wins.

The order is that of harm: users who are being hurt come before a comparison that cannot be trusted, that
before too little data. "No difference" comes before "better": a difference that is certain but smaller than
the margin is not worth acting on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """On one arm against the control, or on the whole experiment."""

    GUARDRAIL_TRIPPED = "guardrail_tripped"
    BROKEN = "broken"
    INSUFFICIENT_DATA = "insufficient_data"
    NO_DIFFERENCE = "no_difference"
    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the verdict on one arm depends on.

    Attributes:
        tripped: A guardrail of the arm has tripped.
        broken: A check of the comparison's health says that it cannot be trusted.
        enough: The primary metric's minimum of data is there.
        gain: By how much the arm is better, in the metric's unit; below 0 where it is worse.
        low: Lower end of its interval; -inf where nothing is known.
        high: Upper end; inf where nothing is known.
        margin: Smallest gain or loss worth acting on.
        proven: The e-value against "no gain and no loss" has reached 1 / alpha.
    """

    tripped: bool
    broken: bool
    enough: bool
    gain: float
    low: float
    high: float
    margin: float
    proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row of the table."""

    verdict: Verdict
    holds: Callable[[Facts], bool]


RULES: tuple[Rule, ...] = (
    Rule(verdict=Verdict.GUARDRAIL_TRIPPED, holds=lambda facts: facts.tripped),
    Rule(verdict=Verdict.BROKEN, holds=lambda facts: facts.broken),
    Rule(verdict=Verdict.INSUFFICIENT_DATA, holds=lambda facts: not facts.enough),
    Rule(
        verdict=Verdict.NO_DIFFERENCE,
        holds=lambda facts: -facts.margin < facts.low and facts.high < facts.margin,
    ),
    Rule(verdict=Verdict.BETTER, holds=lambda facts: facts.proven and facts.gain > 0),
    Rule(verdict=Verdict.WORSE, holds=lambda facts: facts.proven and facts.gain < 0),
    Rule(verdict=Verdict.UNDECIDED, holds=lambda _: True),
)

# Of several arms the one that is known least of speaks for all; once all are decided, the best news does.
LEAST_INFORMED: tuple[Verdict, ...] = (
    Verdict.GUARDRAIL_TRIPPED,
    Verdict.BROKEN,
    Verdict.INSUFFICIENT_DATA,
    Verdict.UNDECIDED,
    Verdict.BETTER,
    Verdict.NO_DIFFERENCE,
    Verdict.WORSE,
)


def decide(facts: Facts) -> Verdict:
    """The verdict on one arm: that of the first rule that holds."""
    return next(rule.verdict for rule in RULES if rule.holds(facts))


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on an experiment from those on its arms, of which there is at least one."""
    return min(verdicts, key=LEAST_INFORMED.index)
