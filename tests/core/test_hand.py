"""What an engine has in hand, and when its worker needs the next batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve.core.hand import NEVER, UNFORESEEN, Due, Foresight, Hand

BATCH = Foresight(images=4, work_s=1.0, way_s=0.2)


def test_the_next_batch_is_due_one_way_before_the_answer() -> None:
    """The answer comes after work and way; what then sets out is there when the worker is done."""
    hand = Hand(workers=1)
    assert hand.due == NEVER
    hand.enter(10.0, BATCH)
    assert hand.due == Due(11.0, 4, 0.2)


def test_what_was_handed_ahead_begins_when_the_one_before_is_done() -> None:
    """Nothing more is due meanwhile; of the next one the way has been gone already."""
    hand = Hand(workers=1)
    hand.enter(10.0, BATCH)
    hand.enter(10.5, Foresight(images=2, work_s=0.7, way_s=0.2))
    assert (hand.due, hand.ahead, hand.largest) == (NEVER, 1, 4)
    hand.leave(11.25)
    assert hand.due == Due(11.25 + 0.7 - 0.2, 2, 0.2)


def test_of_several_workers_the_first_to_be_done_counts() -> None:
    """While one is idle nothing is due; one of which nothing is foreseen is done last."""
    hand = Hand(workers=2)
    hand.enter(0.0, UNFORESEEN)
    assert hand.due == NEVER
    hand.enter(0.0, BATCH)
    assert hand.due == Due(1.0, 4, 0.2)
    hand.leave(1.2)
    assert (hand.idle, hand.busy, hand.due) == (1, 1, NEVER)


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 3))
def test_nothing_is_lost_or_doubled(steps: list[bool], workers: int) -> None:
    """Whatever comes and goes: no more run than there are workers, and none waits beside an idle one."""
    hand, count = Hand(workers), 0
    for now, comes in enumerate(steps):
        if comes:
            hand.enter(float(now), BATCH)
            count += 1
        elif count:
            hand.leave(float(now))
            count -= 1
        assert hand.count == count == hand.busy + hand.ahead
        assert hand.busy + hand.idle == workers
        assert hand.busy == min(count, workers)
