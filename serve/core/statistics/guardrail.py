"""Whether an arm's rare events, errors above all, are more frequent than allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scipy.special import betaincc, betaln

_SMALLEST = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Of one arm.

    Attributes:
        n: Trials: attempts, each given to an arm at random.
        events: Of these, those that ended in the event.
    """

    n: int
    events: int

    def __post_init__(self) -> None:
        if not 0 <= self.events <= self.n:
            raise ValueError(f"events is {self.events} of n {self.n}, must be from 0 to n")


def rate_ratio_log_e(control: Events, arm: Events, *, max_ratio: float) -> float:
    """Log e-value against "the arm's rate is at most `max_ratio` times the control's".

    Given that an event happened, it was the arm's with a probability of at most t = w r / (w r + 1 - w),
    where w is the arm's share of the trials: a change that hits both arms cancels, and a control without any
    event is no obstacle (Lindon and Malek 2022, arXiv 2011.03567). The likelihood ratio against t is mixed
    uniformly over the shares above t.

    With the configured share as w that would be exact at all looks together. The realised share, used here
    so that nothing need be configured, keeps each look valid for itself, and moves the evidence by about the
    rate of the events: nothing for rare ones. For frequent ones (above about a tenth) the test is blunt.

    Args:
        control: Trials and events of the control.
        arm: Those of the arm; both counted over the same time and the same weights.
        max_ratio: r, the largest ratio of rates that is still allowed.

    Returns:
        0 while one of them has no trials.

    Raises:
        ValueError: `max_ratio` is not above 0.
    """
    if not max_ratio > 0:
        raise ValueError(f"max_ratio is {max_ratio}, must be above 0")
    if not control.n or not arm.n:
        return 0.0
    odds = max_ratio * arm.n / control.n
    log_share, log_rest = -math.log1p(1 / odds), -math.log1p(odds)
    after = 1 + arm.events, 1 + control.events
    against = arm.events * log_share + control.events * log_rest + log_rest
    # The integral of x^k (1 - x)^b over [t, 1] is at least t^k (1 - t)^(b + 1) / (b + 1); the tail of the
    # Beta distribution, which gives it exactly, is too small for a float when the arm is far better.
    tail = float(betaincc(*after, math.exp(log_share)))
    exact = float(betaln(*after)) + math.log(tail) - against if tail > _SMALLEST else -math.inf
    return max(exact, -math.log(after[1]))


def stratified(log_es: Iterable[float]) -> float:
    """The log e-value of several strata together, for instance of all phases: they add up."""
    return math.fsum(log_es)
