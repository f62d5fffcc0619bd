"""The retry budget holds in the long run, whatever happens when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve.core.budget import RetryBudget


def test_a_tenth_is_tried_again() -> None:
    """With the reserve used up, every ten images pay for one."""
    budget = RetryBudget(0.1, reserve=16, floor_per_s=0)
    assert budget.take(16, 0.0)
    assert not budget.take(1, 0.0)
    budget.deposit(160)
    assert budget.take(16, 0.0)
    assert not budget.take(1, 0.0)


def test_a_little_is_always_possible() -> None:
    """A gateway without traffic may try again, too, after a while."""
    budget = RetryBudget(0.1, reserve=16, floor_per_s=5)
    assert budget.take(16, 100.0)
    assert not budget.take(16, 103.0)
    assert budget.take(16, 103.5)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 64), st.floats(0, 10)), max_size=60))
def test_it_never_gives_more_than_came_in(steps: list[tuple[bool, int, float]]) -> None:
    """Repetitions are at most the reserve, the share of first attempts, and the floor for the time passed."""
    budget, now, first, again = RetryBudget(0.1, reserve=50, floor_per_s=5), 0.0, 0, 0
    for is_first, images, seconds in steps:
        now += seconds
        if is_first:
            budget.deposit(images)
            first += images
        elif budget.take(images, now):
            again += images
    assert again <= 50 + 0.1 * first + 5 * now + 1e-6
