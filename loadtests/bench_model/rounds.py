"""Subjects measured in turns, A B C, A B C, ...: a machine that becomes slower is slower for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from loadtests.bench.goal import Spread

Timer: TypeAlias = Callable[[int], float]
"""Runs so many batches one after the other, and gives the seconds of the middle one."""

MOST_BATCHES: Final = 50
SETTLING_RUNS: Final = 3  # torch.jit specialises in the first two


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What is measured: a net in a form, with so many images in a batch."""

    net: str
    form: str
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure.

    Attributes:
        rounds: In each of them every subject has its turn.
        turn_s: How long a turn is to be; it has one batch at least.
    """

    rounds: int = 7
    turn_s: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Seconds of a batch: one figure a round, the median of the turn."""

    seconds: Mapping[Key, tuple[float, ...]]

    def __contains__(self, key: Key) -> bool:
        return key in self.seconds

    def rate(self, key: Key) -> Spread:
        """Images a second."""
        return Spread.of(key.batch / seconds for seconds in self.seconds[key])

    def ratio(self, key: Key, to: Key) -> Spread:
        """How many times as long a batch of the one takes as one of the other, in the same round."""
        pairs = zip(self.seconds[key], self.seconds[to], strict=True)
        return Spread.of(one / other for one, other in pairs)


def timer(call: Callable[[], object]) -> Timer:
    """Measure a function in this process.

    Of several calls the first does not count: the caches hold the weights of another subject. A single call,
    which then is a long one, hardly notices.
    """

    def run(batches: int) -> float:
        seconds = [_seconds(call) for _ in range(batches if batches == 1 else batches + 1)]
        return statistics.median(seconds[1:] or seconds)

    return run


def interleave(timers: Mapping[Key, Timer], plan: Plan, say: Callable[[str], None]) -> Rounds:
    """Warm every subject up, then give each its turn in every round.

    Args:
        timers: In the order of their turns; those that are compared should be neighbours.
        plan: How much.
        say: Told what is going on.
    """
    batches = {}
    for key, run in timers.items():
        say(f"{key.net}, {key.form}, batch {key.batch}: warming up")
        for _ in range(SETTLING_RUNS - 1):
            run(1)
        batches[key] = min(MOST_BATCHES, max(1, round(plan.turn_s / run(1))))
    seconds: dict[Key, list[float]] = {key: [] for key in timers}
    for number in range(plan.rounds):
        for key, run in timers.items():
            say(f"round {number + 1} of {plan.rounds}: {key.net}, {key.form}, batch {key.batch}")
            seconds[key].append(run(batches[key]))
    return Rounds(seconds={key: tuple(found) for key, found in seconds.items()})


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
