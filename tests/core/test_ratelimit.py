"""Token buckets: never more than was allowed, never less than was promised."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.core.errors import OverloadedError, TooLargeError
from serve.core.ratelimit import BURST_S, Rate, RateLimiter

TEN = Rate(images_per_s=10.0)
RATES = st.floats(0.01, 5_000).map(lambda per_s: Rate(images_per_s=per_s))
# Seconds since the last request, and its size as a share of the burst.
REQUESTS = st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1)), min_size=1, max_size=60)


class Door:
    """A limiter that allows every name the same, which may change."""

    def __init__(self, rate: Rate = TEN) -> None:
        self.rate = rate
        self.limiter = RateLimiter(lambda _name: self.rate.images_per_s)

    def admits(self, images: int, now: float, name: str = "ci") -> bool:
        """Whether a request gets through."""
        try:
            self.limiter.take(name, images, now)
        except OverloadedError:
            return False
        return True

    def wait_for(self, images: int, now: float) -> float:
        """How long a request is told to wait."""
        with pytest.raises(OverloadedError) as refused:
            self.limiter.take("ci", images, now)
        assert refused.value.retry_after_s is not None
        return refused.value.retry_after_s


def passed(rate: Rate, requests: Sequence[tuple[float, float]], start: float) -> list[tuple[float, int]]:
    """The moments and sizes of those requests that get through."""
    door, now, through = Door(rate), start, []
    for pause_s, share in requests:
        now += pause_s
        images = max(1, round(share * rate.burst))
        if door.admits(images, now):
            through.append((now, images))
    return through


def test_a_new_caller_has_the_whole_burst_and_no_more() -> None:
    """Five seconds' worth at once; then one image each tenth of a second."""
    door = Door()
    assert BURST_S == 5.0
    assert door.admits(50, 100.0)
    assert not door.admits(1, 100.0)
    assert door.wait_for(1, 100.0) == pytest.approx(0.1)
    assert door.wait_for(50, 101.0) == pytest.approx(4.0)
    assert door.admits(1, 100.1)


def test_more_than_the_burst_is_refused_for_good_with_the_most() -> None:
    """No wait would help, so none is named; the message says what would."""
    with pytest.raises(TooLargeError, match=r"'ci' may send at most 50 at once: .* = 10$") as refused:
        Door().limiter.take("ci", 51, 0.0)
    assert refused.value.retry_after_s is None


@given(RATES)
def test_one_image_is_always_possible_at_some_time(rate: Rate) -> None:
    """However low the rate, its burst holds an image, and the wait for the next one is 1 / rate."""
    door = Door(rate)
    assert rate.burst >= 1
    assert door.admits(rate.burst, 0.0)
    longest = rate.burst / rate.images_per_s
    assert door.admits(1, longest + 1e-3)


@given(RATES, REQUESTS, st.floats(0, 1e6))
def test_never_more_than_rate_times_time_and_a_burst(
    rate: Rate, requests: list[tuple[float, float]], start: float
) -> None:
    """In any window, whatever the callers try, whenever they began."""
    through = passed(rate, requests, start)
    for first in range(len(through)):
        sent = 0
        for now, images in through[first:]:
            sent += images
            allowed_s = now - through[first][0] + rate.burst_s + 1e-5  # sums of floats are a little off
            assert sent <= rate.images_per_s * allowed_s


@given(RATES, REQUESTS, st.floats(0, 1e6))
def test_whoever_waits_as_told_is_admitted(
    rate: Rate, requests: list[tuple[float, float]], start: float
) -> None:
    """And not a moment earlier than needed: a little before, the same request is still refused."""
    door, now = Door(rate), start
    for pause_s, share in requests:
        now += pause_s
        images = max(1, round(share * rate.burst))
        if door.admits(images, now):
            continue
        wait_s = door.wait_for(images, now)
        if wait_s > 1e-3:
            assert not door.admits(images, now + wait_s - 1e-4)
        now += wait_s
        assert door.admits(images, now)


@pytest.mark.parametrize("step_s", [0.01, 1 / 3, 0.7])
def test_over_a_long_time_the_rate_is_the_rate(step_s: float) -> None:
    """An impatient caller gets rate x time and the first burst, to the image: nothing drifts."""
    door, steps = Door(), 30_000
    count = 0
    for step in range(steps):
        while door.admits(1, 1e5 + step * step_s):
            count += 1
    allowed = 10 * (steps - 1) * step_s + 50
    assert math.floor(allowed) - 1 <= count <= math.ceil(allowed)


def test_a_refused_request_takes_nothing() -> None:
    """Asking too often does not put off the time at which a request fits."""
    door = Door()
    assert door.admits(50, 0.0)
    assert not any(door.admits(20, now / 100) for now in range(199))
    assert door.admits(20, 2.0)


def test_names_have_buckets_of_their_own() -> None:
    """What one caller used up is not missing to another."""
    door = Door()
    assert door.admits(50, 0.0, name="greedy")
    assert not door.admits(1, 0.0, name="greedy")
    assert door.admits(50, 0.0, name="other")


def test_a_changed_rate_holds_at_once() -> None:
    """A caller that is given more need not wait out what it was given before, and the reverse."""
    door = Door()
    assert door.admits(50, 0.0)
    door.rate = Rate(images_per_s=100.0)
    assert door.wait_for(10, 0.0) == pytest.approx(0.1)
    door.rate = Rate(images_per_s=1.0)
    assert door.wait_for(5, 0.0) == pytest.approx(5.0)


def test_full_buckets_are_forgotten() -> None:
    """Names that are no longer used do not fill the memory."""
    door = Door()
    for number in range(10_000):
        assert door.admits(1, float(number), name=f"caller {number}")
    assert len(door.limiter) <= 2


def test_without_a_limit_nothing_is_counted() -> None:
    """Neither memory nor a refusal, however many images."""
    limiter = RateLimiter(lambda _name: None)
    for _ in range(100):
        limiter.take("anonymous", 10_000, 0.0)
    assert len(limiter) == 0
