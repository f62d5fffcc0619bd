"""`python -m loadtests.bench_assignment`: what it costs to assign a unit, in one thread."""

from __future__ import annotations

import statistics
import timeit
from dataclasses import replace

from serve.core.assignment import Assigner
from serve.core.designs import design_of
from serve.core.edits import Stamp, create
from serve.core.experiment import State

ROUNDS = 41
CALLS = 20_000
GOAL_NS = 5_000

ARMS = [
    {"name": "se", "model": "digits_se", "version": "1", "weight": 5000},
    {"name": "eca", "model": "digits_eca", "version": "1", "weight": 5000},
]
# Only the arm's hash matters; all four do, for a unit that is not held out, in its slot, and enrolled.
CASES = {
    "1 hash": {},
    "4 hashes": {"holdout": 1, "slots": [0, 9999], "ramp": 9999},
}


def assigner(changes: dict[str, object]) -> Assigner:
    """Of a running experiment."""
    design = design_of({"name": "bench", "mode": "split", "arms": ARMS, **changes})
    draft = create(design, Stamp(author="bench", reason="bench", created_at=0.0, effective_at=0.0))
    return Assigner(replace(draft, state=State.RUNNING))


def median_ns(changes: dict[str, object]) -> float:
    """Of one `assign`, with the loop around it, in nanoseconds."""
    assign = assigner(changes).assign
    units = [f"user-{number}" for number in range(CALLS)]

    def all_units() -> None:
        for unit in units:
            assign(unit)

    return statistics.median(timeit.repeat(all_units, number=1, repeat=ROUNDS)) / CALLS * 1e9


def main() -> None:
    """Measure and print."""
    for name, changes in CASES.items():
        print(f"assign, {name}: median {median_ns(changes):,.0f} ns (goal: below {GOAL_NS:,} ns)")  # noqa: T201


if __name__ == "__main__":
    main()
