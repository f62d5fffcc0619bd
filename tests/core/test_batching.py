"""The batching policy: what leaves, when, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.core.batching import Limits, Queue, Reason, Release, Slots, Wait, choose, decide
from serve.core.hand import NEVER, Due

LIMITS = Limits(max_batch=16, max_queue_images=1000)
DUE = Due(at=10.0, images=3, way_s=0.4)
IDLE, BUSY = Slots(idle=1), Slots(idle=0, busy=1)


def queue(images: int, oldest: float = 0.0, deadline: float = math.inf) -> Queue:
    """What waits."""
    return Queue(images=images, oldest=oldest, deadline=deadline)


@pytest.mark.parametrize("images", [1, 5, 15])
def test_an_idle_worker_takes_what_there_is(images: int) -> None:
    """Without a window nobody waits for company."""
    assert decide(queue(images), IDLE, LIMITS, now=0.0) == Release(images=images, reason=Reason.IDLE)


def test_a_busy_worker_lets_the_queue_fill() -> None:
    """Less than a batch waits, without a time at which to ask again."""
    assert decide(queue(15), BUSY, LIMITS, now=99.0) == Wait(until=math.inf)


@pytest.mark.parametrize("slots", [IDLE, BUSY, Slots(idle=0, busy=2, ahead=1)])
def test_a_full_batch_leaves_while_there_is_room(slots: Slots) -> None:
    """To an idle worker, or ahead to a busy one; never more than a batch, however much waits."""
    assert decide(queue(40), slots, LIMITS, now=0.0) == Release(images=16, reason=Reason.FULL)


@pytest.mark.parametrize(
    ("slots", "prefetch"),
    [
        (Slots(idle=0), 1),
        (Slots(idle=0, busy=1, ahead=1), 1),
        (Slots(idle=0, busy=2, ahead=2), 1),
        (Slots(idle=0, busy=1), 0),
    ],
)
def test_nothing_leaves_without_room(slots: Slots, prefetch: int) -> None:
    """No worker, or as many batches ahead as allowed: even a full queue waits."""
    limits = Limits(max_batch=16, max_queue_images=1000, prefetch=prefetch)
    assert decide(queue(40), slots, limits, now=0.0) == Wait()


def test_a_window_holds_back_and_ends() -> None:
    """Before an idle worker the first in line waits for the window's length, and not longer."""
    limits = Limits(max_batch=16, max_queue_images=1000, max_queue_delay_s=0.5)
    assert decide(queue(3, oldest=10.0), IDLE, limits, now=10.2) == Wait(until=10.5)
    assert decide(queue(3, oldest=10.0), IDLE, limits, now=10.5) == Release(images=3, reason=Reason.DEADLINE)
    assert decide(queue(16, oldest=10.0), IDLE, limits, now=10.2) == Release(images=16, reason=Reason.FULL)


def test_a_window_ends_early_for_a_caller_in_a_hurry() -> None:
    """Half of the time that a caller has is left for the answer."""
    limits = Limits(max_batch=16, max_queue_images=1000, max_queue_delay_s=10.0)
    assert decide(queue(1, oldest=10.0, deadline=14.0), IDLE, limits, now=11.0) == Wait(until=12.0)
    assert decide(queue(1, oldest=10.0, deadline=10.5), IDLE, limits, now=10.4) == Release(
        images=1, reason=Reason.DEADLINE
    )


def test_who_has_waited_longest_is_asked_first() -> None:
    """Of two queues before an idle worker the older goes; an empty one is passed over."""
    queues = [queue(2, oldest=5.0), queue(3, oldest=4.0), queue(0, oldest=math.inf)]
    assert choose(queues, IDLE, LIMITS, now=6.0) == (1, Release(images=3, reason=Reason.IDLE))
    assert choose([queue(0, oldest=math.inf)], IDLE, LIMITS, now=6.0) == Wait()


def test_no_full_batch_is_handed_ahead_past_an_older_request() -> None:
    """Or the worker would never be idle, and a lone request of the other kind never served."""
    lone, full = queue(1, oldest=4.0), queue(40, oldest=5.0)
    assert choose([full, lone], BUSY, LIMITS, now=6.0) == Wait()
    younger = queue(1, oldest=7.0)
    assert choose([full, younger], BUSY, LIMITS, now=8.0) == (0, Release(images=16, reason=Reason.FULL))


def test_a_full_batch_passes_one_that_waits_for_company() -> None:
    """An idle worker does not stand by while an older queue is in its window; the window is not forgotten."""
    limits = Limits(max_batch=16, max_queue_images=1000, max_queue_delay_s=2.0)
    lone, full = queue(1, oldest=4.0), queue(16, oldest=5.0)
    assert choose([lone, full], IDLE, limits, now=5.0) == (1, Release(images=16, reason=Reason.FULL))
    few = queue(2, oldest=5.0)
    assert choose([lone, few], IDLE, limits, now=5.0) == Wait(until=6.0)


@pytest.mark.parametrize("name", ["max_batch", "max_queue_images"])
def test_limits_under_which_nothing_leaves_are_refused(name: str) -> None:
    """The message names the limit, its value and the rule."""
    with pytest.raises(ValueError, match=f"{name} is 0, must be at least 1"):
        Limits(**({"max_batch": 1, "max_queue_images": 1} | {name: 0}))


def test_what_waits_sets_out_in_time_for_a_busy_worker() -> None:
    """One way before it is done; not while somebody is just coming, nor as a smaller batch than its own."""
    slots = Slots(idle=0, busy=1, due=DUE)
    assert decide(queue(3), slots, LIMITS, now=9.9) == Wait(until=10.0)
    assert decide(queue(3), slots, LIMITS, now=10.0) == Release(images=3, reason=Reason.AHEAD)
    assert decide(queue(2), slots, LIMITS, now=10.0) == Wait()
    just_came = Queue(images=3, oldest=0.0, deadline=math.inf, latest=9.95)
    assert decide(just_came, slots, LIMITS, now=10.0) == Wait(until=9.95 + 0.1)
    assert decide(queue(3), Slots(idle=0, busy=1, ahead=1, due=DUE), LIMITS, now=10.0) == Wait()
    mirrored = Queue(images=3, oldest=0.0, deadline=math.inf, urgent=False)
    assert decide(mirrored, slots, LIMITS, now=10.0) == Wait()


def test_a_window_holds_back_what_would_be_handed_ahead() -> None:
    """Whoever asks for company gets it before a busy worker, too."""
    limits = Limits(max_batch=16, max_queue_images=1000, max_queue_delay_s=5.0)
    slots = Slots(idle=0, busy=1, due=DUE)
    assert decide(queue(3, oldest=8.0), slots, limits, now=10.0) == Wait(until=13.0)
    assert decide(queue(3, oldest=8.0), slots, limits, now=13.0).images == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("slots", [IDLE, BUSY])
def test_a_learned_size_makes_a_batch_whole(slots: Slots) -> None:
    """That many leave as a full batch, however many more are allowed; never more than are."""
    waiting = Queue(images=40, oldest=0.0, deadline=math.inf, target=5)
    assert decide(waiting, slots, LIMITS, now=0.0) == Release(images=5, reason=Reason.FULL)
    greedy = Queue(images=40, oldest=0.0, deadline=math.inf, target=99)
    assert decide(greedy, slots, LIMITS, now=0.0) == Release(images=16, reason=Reason.FULL)


SLOTS = st.builds(
    Slots,
    idle=st.integers(0, 3),
    busy=st.integers(0, 3),
    ahead=st.integers(0, 6),
    due=st.one_of(st.just(NEVER), st.builds(Due, st.floats(0, 200), st.integers(0, 20), st.floats(0, 1))),
)
ANY_LIMITS = st.builds(
    Limits,
    max_batch=st.integers(1, 20),
    max_queue_images=st.integers(1, 1000),
    max_queue_delay_s=st.sampled_from([0.0, 0.01, 1.0]),
    prefetch=st.integers(0, 3),
)
QUEUES = st.builds(
    Queue,
    images=st.integers(1, 50),
    oldest=st.floats(0, 100),
    deadline=st.one_of(st.floats(0, 200), st.just(math.inf)),
    urgent=st.booleans(),
    target=st.one_of(st.none(), st.integers(1, 30)),
    latest=st.floats(0, 100),
)


@settings(deadline=None)  # the machine may be busy
@given(waiting=QUEUES, slots=SLOTS, limits=ANY_LIMITS, wait=st.floats(0, 100))
def test_a_decision_is_always_allowed(waiting: Queue, slots: Slots, limits: Limits, wait: float) -> None:
    """A release fits the queue, the batch and the room; a wait has its reason and its end."""
    now = waiting.oldest + wait
    whole = min(waiting.target or limits.max_batch, limits.max_batch)
    decision = decide(waiting, slots, limits, now)
    room = waiting.urgent and slots.ahead < limits.prefetch * slots.busy
    if isinstance(decision, Release):
        assert 1 <= decision.images <= min(waiting.images, whole)
        assert slots.idle or room
        assert slots.idle or decision.images == whole or now >= slots.due.at
    elif slots.idle:
        assert now < decision.until <= waiting.oldest + limits.max_queue_delay_s
    else:
        assert now < decision.until
        assert room or decision.until == math.inf
    if slots.idle and not limits.max_queue_delay_s:
        assert isinstance(decision, Release), "an idle worker never waits"


@dataclass
class Simulation:
    """Two queues of numbered images before some workers, on a clock that the test moves."""

    limits: Limits
    workers: int
    now: float = 0.0
    came: int = 0
    waiting: tuple[list[tuple[int, float]], ...] = field(default_factory=lambda: ([], []))
    left: tuple[list[int], ...] = field(default_factory=lambda: ([], []))
    running: int = 0

    def slots(self) -> Slots:
        """Room as the pool would tell it."""
        return Slots(
            idle=max(0, self.workers - self.running),
            busy=min(self.workers, self.running),
            ahead=max(0, self.running - self.workers),
        )

    def come(self, lane: int, images: int) -> None:
        """Images arrive."""
        self.waiting[lane].extend((self.came + i, self.now) for i in range(images))
        self.came += images

    def release(self) -> float:
        """Do what the policy says until it says wait; returns until when."""
        while True:
            queues = [queue(len(lane), lane[0][1] if lane else math.inf) for lane in self.waiting]
            decision = choose(queues, self.slots(), self.limits, self.now)
            if isinstance(decision, Wait):
                return decision.until
            lane, release = decision
            assert 1 <= release.images <= self.limits.max_batch
            self.left[lane].extend(number for number, _ in self.waiting[lane][: release.images])
            del self.waiting[lane][: release.images]
            self.running += 1
            assert self.running <= self.workers * (1 + self.limits.prefetch)

    def finish(self) -> None:
        """A batch ends."""
        self.running = max(0, self.running - 1)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(0, 1), st.integers(1, 30)),
        st.tuples(st.just("finish"), st.just(0), st.just(0)),
        st.tuples(st.just("pass"), st.just(0), st.integers(0, 20)),
    ),
    max_size=60,
)


@settings(deadline=None)  # the machine may be busy
@given(events=EVENTS, limits=ANY_LIMITS, workers=st.integers(1, 3))
def test_every_image_leaves_once_and_in_order(
    events: list[tuple[str, int, int]], limits: Limits, workers: int
) -> None:
    """Whatever comes and ends in whatever order: nothing is lost, doubled, overtaken or sent without room."""
    simulation = Simulation(limits, workers)
    numbers: tuple[list[int], ...] = ([], [])
    for what, lane, number in events:
        if what == "come":
            numbers[lane].extend(range(simulation.came, simulation.came + number))
            simulation.come(lane, number)
        elif what == "finish":
            simulation.finish()
        else:
            simulation.now += number / 10
        simulation.release()
    for _ in range(sum(len(lane) for lane in simulation.waiting) + simulation.running + 1):
        simulation.finish()
        simulation.now = min(simulation.release(), simulation.now + 1.0)
        simulation.release()
    assert simulation.left == numbers


def test_what_nobody_waits_for_is_not_handed_ahead() -> None:
    """A caller who comes next would wait for it; an idle worker may have it."""
    mirrored = Queue(images=40, oldest=0.0, deadline=math.inf, urgent=False)
    assert decide(mirrored, BUSY, LIMITS, now=9.0) == Wait()
    assert decide(mirrored, IDLE, LIMITS, now=9.0) == Release(images=16, reason=Reason.FULL)


def test_what_nobody_waits_for_goes_last() -> None:
    """However long it has waited; and it does not keep callers from being handed ahead."""
    mirrored = Queue(images=40, oldest=0.0, deadline=math.inf, urgent=False)
    assert choose([mirrored, queue(3, oldest=8.0)], IDLE, LIMITS, now=9.0) == (
        1,
        Release(images=3, reason=Reason.IDLE),
    )
    assert choose([mirrored, queue(40, oldest=8.0)], BUSY, LIMITS, now=9.0) == (
        1,
        Release(images=16, reason=Reason.FULL),
    )
