"""What batches may take: the estimator of RFC 6298, who is slow, and how fast a queue drains."""

from __future__ import annotations

import random

import pytest

from serve.core.pace import Estimate, Pace, Throughput, is_slow, patience


def pace(*samples: float, images: int = 4) -> Pace:
    """What is known after batches that took so long."""
    made = Pace()
    for sample in samples:
        made.add(images, sample)
    return made


def test_the_estimator_is_that_of_tcp() -> None:
    """RFC 6298, (2.2): SRTT = R, RTTVAR = R/2; (2.3): gains 1/8 and 1/4, RTTVAR first; SRTT + 4 RTTVAR."""
    srtt, rttvar = 0.100, 0.050
    estimate = Estimate(srtt, rttvar)
    for sample in (0.120, 0.080, 0.300):
        estimate = estimate.plus(sample)
        rttvar = (1 - 1 / 4) * rttvar + 1 / 4 * abs(srtt - sample)
        srtt = (1 - 1 / 8) * srtt + 1 / 8 * sample
    assert (estimate.mean, estimate.deviation) == pytest.approx((srtt, rttvar))
    assert estimate.upper == pytest.approx(srtt + 4 * rttvar)


def test_patience_goes_by_the_fastest_engine() -> None:
    """A slow one does not make the others wait; nothing known means no patience to lose; a floor holds."""
    fast, slow = pace(*[1.0] * 50), pace(*[20.0] * 50)
    assert patience([slow, fast], 4, 0.1) == pytest.approx(2.0, rel=0.01)
    assert patience([fast], 4, 5.0) == 5.0
    assert patience([Pace()], 4, 1.0) is None
    assert patience([], 4, 1.0) is None


def test_a_larger_batch_speaks_for_a_smaller_one() -> None:
    """The other way round twice the images take twice as long at most: an engine may hang with the first."""
    known = pace(*[1.0] * 50, images=16)
    assert patience([known], 1, 0.1) == patience([known], 9, 0.1) == pytest.approx(2.0, rel=0.01)
    assert patience([known], 17, 0.1) == pytest.approx(4.0, rel=0.01)


def test_who_is_slow() -> None:
    """Much slower than the fastest of the others on batches of the same size, and noticeably so."""
    fast, slow = pace(*[0.1] * 5), pace(*[2.0] * 5)
    assert is_slow(slow, [fast, slow], 4, 4.0)
    assert not is_slow(fast, [slow], 4, 4.0)
    assert not is_slow(slow, [], 4, 4.0), "alone it cannot be slower than others"
    assert not is_slow(slow, [pace(0.1, images=1)], 4, 4.0), "what one image takes says nothing of four"
    assert not is_slow(pace(*[0.04] * 5), [pace(*[0.001] * 5)], 4, 4.0), "nobody would notice"
    assert not is_slow(pace(2.0), [fast], 4, 4.0), "once is chance"


def test_a_queue_drains_as_fast_as_answers_come() -> None:
    """Under load: images over seconds between answers, and a quarter more to be sure."""
    throughput, now = Throughput(), 0.0
    assert throughput.wait_s(100) == 0
    rng = random.Random(7)  # noqa: S311
    for _ in range(200):
        now += rng.uniform(0.5, 1.5)
        throughput.released(16)
        throughput.ended(16, now, backlog=True)
    assert throughput.wait_s(160) == pytest.approx(12.5, rel=0.2)
    throughput.released(160)
    assert throughput.wait_s(0) == pytest.approx(12.5, rel=0.2), "what the engines have in hand comes first"


def test_a_pause_says_nothing_about_the_engines() -> None:
    """Seconds in which nothing waited are not counted."""
    throughput = Throughput()
    for now in (1.0, 2.0, 3.0):
        throughput.released(1)
        throughput.ended(1, now, backlog=now < 3.0)
    before = throughput.wait_s(1)
    throughput.released(1)
    throughput.ended(1, 1000.0, backlog=True)
    assert throughput.wait_s(1) == before
